#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/httpd.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/schemareg.h"

#define WAIT_MS 20000 /* until something is there; never waited for in full */
#define SCHEMA                                                                                     \
    "{\"type\":\"record\",\"name\":\"LabelObserved\",\"fields\":[{\"name\":\"line\",\"type\":"     \
    "\"string\"}]}"

/* A registry in a thread of its own.  What GET /schemas/ids/<id> answers is told by the id. */
enum {
    ID_GOOD = 7,
    ID_OF_JSON = 8,    /* a JSON schema */
    ID_LATE = 9,       /* 404 twice, then good */
    ID_MISSING = 10,   /* 404 */
    ID_TROUBLED = 11,  /* 500 once, then good */
    ID_FORBIDDEN = 12, /* 401 */
    ID_GARBLED = 13,   /* 200 and no JSON */
    ID_HANGING = 14,   /* no answer */
    ID_COUNT
};
struct seen { /* by the registry */
    int asked[ID_COUNT], posts;
    char subject[64], authorization[64], content_type[64];
    char *schema;
};
struct fake {
    pthread_t thread;
    pthread_barrier_t ready;
    struct loop *loop;
    struct httpd *httpd;
    int port;
    pthread_mutex_t lock; /* of what follows */
    struct seen seen;
    int refuse_posts, refuse_status; /* so many are answered with this */
};

static struct seen seen_by(struct fake *f)
{
    struct seen seen;

    pthread_mutex_lock(&f->lock);
    seen = f->seen;
    pthread_mutex_unlock(&f->lock);
    return seen;
}

static void refuse(struct fake *f, int posts, int status)
{
    pthread_mutex_lock(&f->lock);
    f->refuse_posts = posts;
    f->refuse_status = status;
    pthread_mutex_unlock(&f->lock);
}

static void answer(struct httpd_request *rq, int status, const char *text)
{
    httpd_answer(rq, status, "application/vnd.schemaregistry.v1+json", slice_str(text));
}

static void on_post(struct fake *f, struct httpd_request *rq, const char *subject)
{
    CLEANUP(json_freep) struct json *j = json_parse(httpd_body(rq), "body", NULL);
    const char *authorization = httpd_header(rq, "Authorization");
    const char *content_type = httpd_header(rq, "Content-Type");
    char text[32];

    str_copy(f->seen.subject, sizeof(f->seen.subject), subject);
    str_copy(f->seen.authorization, sizeof(f->seen.authorization),
             authorization ? authorization : "");
    str_copy(f->seen.content_type, sizeof(f->seen.content_type), content_type ? content_type : "");
    free(f->seen.schema);
    f->seen.schema = xstrdup(json_get_str(j, "schema", ""));
    f->seen.posts++;
    if (f->refuse_posts > 0) {
        f->refuse_posts--;
        answer(rq, f->refuse_status,
               "{\"error_code\":409,\"message\":\"incompatible with version 3\"}");
        return;
    }
    snprintf(text, sizeof(text), "{\"id\":%d}", 100 + f->seen.posts);
    answer(rq, 200, text);
}

static void on_get(struct fake *f, struct httpd_request *rq, int id)
{
    CLEANUP(json_freep) struct json *good = json_object();
    CLEANUP(buf_fini) struct buf text = {0};
    int n = ++f->seen.asked[id];

    json_set_str(good, "schema", SCHEMA);
    json_write(good, 0, false, &text);
    if (id == ID_GARBLED)
        answer(rq, 200, "<html>");
    else if (id == ID_OF_JSON)
        answer(rq, 200, "{\"schemaType\":\"JSON\",\"schema\":\"{}\"}");
    else if (id == ID_MISSING || (id == ID_LATE && n <= 2))
        answer(rq, 404, "{\"error_code\":40403,\"message\":\"Schema not found\"}");
    else if (id == ID_TROUBLED && n == 1)
        answer(rq, 500, "");
    else if (id == ID_FORBIDDEN)
        answer(rq, 401, "{\"message\":\"who are you\"}");
    else if (id != ID_HANGING)
        answer(rq, 200, text.data);
}

static void on_request(void *ctx, struct httpd_request *rq)
{
    struct fake *f = ctx;
    const char *part;
    int64_t id;

    pthread_mutex_lock(&f->lock);
    if (httpd_match(rq, "/api/v7/subjects/{}/versions", &part, 1))
        on_post(f, rq, part);
    else if (httpd_match(rq, "/api/v7/schemas/ids/{}", &part, 1) && str_to_i64(part, &id) == 0 &&
             id < ID_COUNT)
        on_get(f, rq, (int)id);
    else
        httpd_answer_error(rq, 404, "no such path");
    pthread_mutex_unlock(&f->lock);
}

static void *fake_main(void *arg)
{
    struct fake *f = arg;
    struct err err = {0};

    BUG_ON(loop_new(&f->loop, &err) != 0);
    BUG_ON(httpd_open(f->loop, "127.0.0.1:0", 1 << 20, on_request, f, &f->httpd, &err) != 0);
    f->port = httpd_port(f->httpd);
    pthread_barrier_wait(&f->ready);
    loop_run(f->loop);
    httpd_close(f->httpd);
    loop_free(f->loop);
    return NULL;
}

static void stop(void *ctx)
{
    loop_stop(ctx);
}

struct fixture {
    struct fake fake;
    struct loop *loop;
    struct schemareg *registry;
    struct codec *codec;
    struct err err;
    char *url;
    int32_t id; /* looked up by is_known */
    int rc;
    const char *text;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    pthread_barrier_init(&f->fake.ready, NULL, 2);
    pthread_mutex_init(&f->fake.lock, NULL);
    assert_int_equal(pthread_create(&f->fake.thread, NULL, fake_main, &f->fake), 0);
    pthread_barrier_wait(&f->fake.ready);
    f->url = xasprintf("http://127.0.0.1:%d/api/v7/", f->fake.port);
    assert_int_equal(loop_new(&f->loop, &f->err), 0);
    assert_int_equal(codec_new(&f->codec, &f->err), 0);
    assert_int_equal(schemareg_open(f->loop, f->url, NULL, &f->registry, &f->err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    schemareg_close(f->registry);
    schemareg_close(NULL);
    loop_free(f->loop);
    codec_free(f->codec);
    loop_post(f->fake.loop, stop, f->fake.loop);
    pthread_join(f->fake.thread, NULL);
    pthread_barrier_destroy(&f->fake.ready);
    pthread_mutex_destroy(&f->fake.lock);
    free(f->fake.seen.schema);
    free(f->url);
    free(f);
    return 0;
}

static bool is_known(void *ctx)
{
    struct fixture *f = ctx;

    f->err = (struct err){0};
    f->rc = schemareg_lookup(f->registry, f->id, &f->text, &f->err);
    return f->rc != 1;
}

/* Asks until there is an answer: 0 or -1. */
static int look_up(struct fixture *f, int32_t id)
{
    f->id = id;
    if (!loop_until(f->loop, is_known, f, WAIT_MS))
        fail_msg("no answer about schema %d", id);
    return f->rc;
}

static int register_records(struct fixture *f, const char *prefix, const enum record *records,
                            size_t n, int64_t timeout_ms)
{
    f->err = (struct err){0};
    return schemareg_register(f->registry, f->codec, prefix, records, n, timeout_ms, &f->err);
}

static void schemas_are_registered_as_they_were_written_and_their_ids_used(void **state)
{
    static const enum record records[] = {RECORD_DRIFT_DETECTED, RECORD_LABEL_OBSERVED};
    const struct label_observed label = {.line = "l"};
    CLEANUP(buf_fini) struct buf out = {0};
    struct fixture *f = *state;

    assert_int_equal(register_records(f, "a/b c.", records, 2, WAIT_MS), 0);
    assert_int_equal(seen_by(&f->fake).posts, 2);
    assert_string_equal(seen_by(&f->fake).subject,
                        "a/b c.labels-value"); /* one part of the path: it was escaped */
    assert_string_equal(seen_by(&f->fake).content_type, "application/vnd.schemaregistry.v1+json");
    assert_string_equal(seen_by(&f->fake).schema, codec_schema_text(RECORD_LABEL_OBSERVED));
    assert_string_equal(seen_by(&f->fake).authorization, "");
    assert_int_equal(codec_encode(f->codec, RECORD_LABEL_OBSERVED, &label, &out, &f->err), 0);
    assert_memory_equal(out.data, "\0\0\0\0\x66", 5); /* 102 */
}

static void a_registry_that_is_starting_is_waited_for(void **state)
{
    static const enum record records[] = {RECORD_LABEL_OBSERVED};
    struct fixture *f = *state;

    refuse(&f->fake, 2, 503);
    assert_int_equal(register_records(f, "", records, 1, WAIT_MS), 0);
    assert_int_equal(seen_by(&f->fake).posts, 3);
}

/* Apicurio answers so when two agents register the same at the same time. */
static void a_conflict_may_pass(void **state)
{
    static const enum record records[] = {RECORD_DEAD_LETTERED};
    struct fixture *f = *state;

    refuse(&f->fake, 2, 409);
    assert_int_equal(register_records(f, "p.", records, 1, WAIT_MS), 0);
    assert_int_equal(seen_by(&f->fake).posts, 3);
}

static void a_schema_that_is_refused_ends_the_start(void **state)
{
    static const enum record records[] = {RECORD_LABEL_OBSERVED};
    static const int statuses[] = {401, 404, 409, 422}, posts[] = {1, 1, 4, 1};
    struct fixture *f = *state;
    int expected = 0;

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        refuse(&f->fake, posts[i], statuses[i]);
        expected += posts[i];
        assert_int_equal(register_records(f, "p.", records, 1, WAIT_MS), -1);
        assert_int_equal(f->err.next, NEXT_FATAL);
        assert_non_null(strstr(f->err.msg, "register p.labels-value: HTTP 4"));
        assert_non_null(strstr(f->err.msg, "incompatible with version 3"));
    }
    assert_int_equal(seen_by(&f->fake).posts, expected);
}

static void a_registry_that_never_comes_is_given_up_with_its_last_error(void **state)
{
    static const enum record records[] = {RECORD_LABEL_OBSERVED};
    struct fixture *f = *state;

    refuse(&f->fake, 1000, 503);
    assert_int_equal(register_records(f, "", records, 1, 300), -1);
    assert_int_equal(f->err.next, NEXT_RETRY);
    assert_true(seen_by(&f->fake).posts >= 1);
}

static void a_schema_is_fetched_once(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(schemareg_lookup(f->registry, ID_GOOD, &f->text, &f->err), 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(look_up(f, ID_GOOD), 0);
        assert_string_equal(f->text, SCHEMA);
    }
    assert_int_equal(seen_by(&f->fake).asked[ID_GOOD], 1);
}

static void an_unknown_id_is_asked_for_again_before_it_is_rejected(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(look_up(f, ID_LATE), 0);
    assert_int_equal(seen_by(&f->fake).asked[ID_LATE], 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(look_up(f, ID_MISSING), -1);
        assert_int_equal(f->err.next, NEXT_REJECT);
        assert_int_equal(f->err.code, ERR_CODEC);
    }
    assert_int_equal(seen_by(&f->fake).asked[ID_MISSING], 4);
}

static void trouble_of_the_registry_is_no_fault_of_the_record(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(look_up(f, ID_TROUBLED), -1);
    assert_int_equal(f->err.next, NEXT_RETRY);
    assert_non_null(strstr(f->err.msg, "id 11: HTTP 500"));
    assert_int_equal(look_up(f, ID_TROUBLED), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(look_up(f, ID_FORBIDDEN), -1);
        assert_int_equal(f->err.next, NEXT_RETRY);
        assert_non_null(strstr(f->err.msg, "who are you"));
    }
    assert_int_equal(seen_by(&f->fake).asked[ID_FORBIDDEN], 2);
}

static void what_is_no_avro_schema_is_rejected_and_not_asked_for_again(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(look_up(f, ID_OF_JSON), -1);
        assert_int_equal(f->err.next, NEXT_REJECT);
        assert_int_equal(look_up(f, ID_GARBLED), -1);
        assert_int_equal(f->err.next, NEXT_REJECT);
    }
    assert_int_equal(seen_by(&f->fake).asked[ID_OF_JSON], 1);
    assert_int_equal(seen_by(&f->fake).asked[ID_GARBLED], 1);
}

static void the_codec_decodes_with_what_was_fetched(void **state)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    struct fixture *f = *state;
    const struct slice framed = {.p = "\0\0\0\0\7\4hi", .n = 8};
    const void *rec;

    codec_set_lookup(f->codec, schemareg_lookup, f->registry);
    assert_int_equal(codec_decode(f->codec, RECORD_LABEL_OBSERVED, framed, &arena, &rec, &f->err),
                     1);
    assert_int_equal(look_up(f, ID_GOOD), 0);
    assert_int_equal(codec_decode(f->codec, RECORD_LABEL_OBSERVED, framed, &arena, &rec, &f->err),
                     0);
    assert_string_equal(((const struct label_observed *)rec)->line, "hi");
}

static void user_and_token_are_sent_and_never_shown(void **state)
{
    static const enum record records[] = {RECORD_LABEL_OBSERVED};
    struct fixture *f = *state;
    CLEANUP_FREE char *url = xasprintf("http://me:se%%40cret@127.0.0.1:%d/api/v7", f->fake.port);

    schemareg_close(f->registry);
    assert_int_equal(schemareg_open(f->loop, url, NULL, &f->registry, &f->err), 0);
    assert_int_equal(register_records(f, "", records, 1, WAIT_MS), 0);
    assert_string_equal(seen_by(&f->fake).authorization, "Basic bWU6c2VAY3JldA=="); /* me:se@cret */
    refuse(&f->fake, 1, 401);
    assert_int_equal(register_records(f, "", records, 1, WAIT_MS), -1);
    assert_null(strstr(f->err.msg, "cret"));
    schemareg_close(f->registry);
    assert_int_equal(schemareg_open(f->loop, f->url, "t0ken", &f->registry, &f->err), 0);
    assert_int_equal(register_records(f, "", records, 1, WAIT_MS), 0);
    assert_string_equal(seen_by(&f->fake).authorization, "Bearer t0ken");
}

static void a_url_or_token_that_is_none_is_refused(void **state)
{
    static const struct {
        const char *url, *token;
    } rows[] = {{NULL, NULL},
                {"", NULL},
                {"localhost:8081", NULL},
                {"file:///etc/passwd", NULL},
                {"http://a b/", NULL},
                {"http://a\r\nX: y/", NULL},
                {"http://a/", "x\r\nX: y"},
                {"http://a/", "a b"}};
    struct fixture *f = *state;
    struct schemareg *r = NULL;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(schemareg_open(f->loop, rows[i].url, rows[i].token, &r, &f->err), -1);
        assert_int_equal(f->err.code, ERR_INVAL);
        assert_null(r);
    }
}

static bool is_asked(void *ctx)
{
    return seen_by(ctx).asked[ID_HANGING] > 0;
}

static void closing_does_not_wait_for_an_answer(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(schemareg_lookup(f->registry, ID_HANGING, &f->text, &f->err), 1);
    assert_true(loop_until(f->loop, is_asked, &f->fake, WAIT_MS));
    schemareg_close(f->registry); /* the teardown frees the loop, the last answer the registry */
    f->registry = NULL;
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(schemas_are_registered_as_they_were_written_and_their_ids_used),
        TEST(a_registry_that_is_starting_is_waited_for),
        TEST(a_conflict_may_pass),
        TEST(a_schema_that_is_refused_ends_the_start),
        TEST(a_registry_that_never_comes_is_given_up_with_its_last_error),
        TEST(a_schema_is_fetched_once),
        TEST(an_unknown_id_is_asked_for_again_before_it_is_rejected),
        TEST(trouble_of_the_registry_is_no_fault_of_the_record),
        TEST(what_is_no_avro_schema_is_rejected_and_not_asked_for_again),
        TEST(the_codec_decodes_with_what_was_fetched),
        TEST(user_and_token_are_sent_and_never_shown),
        TEST(a_url_or_token_that_is_none_is_refused),
        TEST(closing_does_not_wait_for_an_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
