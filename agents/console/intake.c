/* HTTP in: JSON (or CSV, YAML) to records, published, and answered when the broker has
 * acknowledged.
 *
 * A member that no record has is an error that names it: what is misspelt must not be dropped in
 * silence.  An `Idempotency-Key` header makes the event's id from it, so that a client may send
 * again. */
#include <stdlib.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/digest.h"
#include "common/mem.h"

struct batch {
    struct console *c;
    struct httpd_request *rq;
    struct json *ids;
    size_t sent, done;
    bool is_complete;
    int status; /* of the answer; 0: 200 */
    struct err failure;
    char key[ID_SIZE]; /* from Idempotency-Key; "" none */
};

struct batch *batch_new(struct console *c, struct httpd_request *rq)
{
    struct batch *b = xcalloc(1, sizeof(*b));
    const char *key = httpd_header(rq, "Idempotency-Key");
    b->c = c;
    b->rq = rq;
    b->ids = json_array();
    if (key && key[0])
        id_from_cause("idempotency-key", key, httpd_path(rq), b->key);
    return b;
}

static void finish(struct batch *b)
{
    if (!b->is_complete || b->done < b->sent)
        return;
    if (b->failure.code) {
        int status = b->status ? b->status : 503;
        if (b->sent > 0 && b->status)
            httpd_answer_error(b->rq, status, "%s (%zu before it were taken)", b->failure.msg,
                               b->sent);
        else
            httpd_answer_error(b->rq, status, "%s", b->failure.msg);
        json_free(b->ids);
    } else {
        struct json *j = json_object();
        json_set_int(j, "published", (int64_t)b->sent);
        if (b->sent == 1)
            json_set_str(j, "event", json_str(json_at(b->ids, 0), ""));
        json_set(j, "events", b->ids);
        console_answer_json(b->rq, 200, j);
    }
    free_ptr(&b);
}

static void on_delivered(void *ctx, const char *id, const struct err *err)
{
    (void)id;
    struct batch *b = ctx;
    b->done++;
    if (err && !b->failure.code)
        b->failure = *err;
    finish(b);
}

int batch_add(struct batch *b, enum record r, const void *rec, const char *id, const char *source,
              struct err *err)
{
    char own[ID_SIZE], ret_id[ID_SIZE] = "";
    if (!id && b->key[0]) {
        CLEANUP_FREE char *about = xasprintf("%zu", b->sent);
        id_from_cause(record_topic(r), b->key, about, own);
        id = own;
    }
    struct publication p = {
        .record = r, .rec = rec, .id = id, .source = source, .is_bulk = r == RECORD_LABEL_OBSERVED};
    b->sent++; /* before: the callback may come at once */
    if (agent_publish(b->c->a, &p, on_delivered, b, ret_id, err)) {
        b->sent--;
        return -1;
    }
    json_add_str(b->ids, id ? id : ret_id);
    return 0;
}

void batch_send(struct batch *b)
{
    b->is_complete = true;
    finish(b);
}

void batch_refuse(struct batch *b, int status, const struct err *err)
{
    b->failure = *err;
    b->status = err->next == NEXT_RETRY ? 503 : status;
    batch_send(b);
}

/* ---- records ---- */

static void default_time(int64_t *field, struct console *c)
{
    if (*field == ABSENT_I64 || *field == 0)
        *field = agent_now_ms(c->a);
}

static int check_dataset(struct console *c, struct dataset_published *d, struct err *err)
{
    default_time(&d->published_unix_ms, c);
    if (!d->dataset || !pipeline_name_is_valid(d->dataset))
        return err_inval(
            err,
            "dataset: give a name of lower-case letters, digits, '.', '_' and '-', 64 at most");
    if (!d->uri || !(str_has_prefix(d->uri, "file://") || str_has_prefix(d->uri, "http://") ||
                     str_has_prefix(d->uri, "https://")))
        return err_inval(err, "uri: give file:///path, http:// or https://, not '%s'",
                         d->uri ? d->uri : "");
    if (d->sha256 && !digest_is_hex(d->sha256))
        return err_inval(err, "sha256: give 64 lower-case hex digits");
    return 0;
}

static int check_line(const char *line, struct err *err)
{
    char pipeline[PIPELINE_NAME_MAX + 1], segment[PIPELINE_NAME_MAX + 1];
    if (!line || !line_split(line, pipeline, segment))
        return err_inval(err, "line: give PIPELINE or PIPELINE/SEGMENT, not '%s'",
                         line ? line : "");
    return 0;
}

static int check_command(struct console *c, struct operator_commanded *o, struct err *err)
{
    default_time(&o->commanded_unix_ms, c);
    if (!o->command || !o->command[0])
        return err_inval(
            err, "command: give approve, reject, force, rollback, retrain, pause or resume");
    return check_line(o->line, err);
}

static int check_drift(struct console *c, struct drift_detected *d, struct err *err)
{
    default_time(&d->detected_unix_ms, c);
    if (!d->source || !d->source[0])
        d->source = "http";
    if (!d->kind || !d->kind[0])
        d->kind = "external";
    if (!d->summary || !d->summary[0])
        d->summary = "an alert from outside";
    return check_line(d->line, err);
}

static int check_label(struct console *c, struct label_observed *l, struct err *err)
{
    default_time(&l->observed_unix_ms, c);
    if (!l->prediction || !l->prediction[0])
        return err_inval(err, "prediction: give the id that the prediction's answer named");
    if (!l->value || !l->value[0])
        return err_inval(err, "value: give the label as text");
    return check_line(l->line, err);
}

int intake_record(struct console *c, enum record r, const struct json *j, struct arena *arena,
                  const void **ret, struct err *err)
{
    const void *rec = NULL;
    if (!json_is_object(j))
        return err_inval(err, "give a JSON object");
    if (codec_from_json(r, j, arena, &rec, err))
        return -1;
    void *own = arena_memdup(arena, rec, record_struct_size(r));
    int rc = 0;
    if (r == RECORD_DATASET_PUBLISHED)
        rc = check_dataset(c, own, err);
    else if (r == RECORD_OPERATOR_COMMANDED)
        rc = check_command(c, own, err);
    else if (r == RECORD_DRIFT_DETECTED)
        rc = check_drift(c, own, err);
    else if (r == RECORD_LABEL_OBSERVED)
        rc = check_label(c, own, err);
    if (!rc)
        *ret = own;
    return rc;
}

int intake_pipeline(struct console *c, struct slice yaml, struct arena *arena, const void **ret,
                    struct err *err)
{
    struct pipeline *p = NULL;
    if (pipeline_parse(yaml, "pipeline", &p, err))
        return -1;
    struct pipeline_declared *d = arena_alloc(arena, sizeof(*d));
    const struct event *before = agent_pipeline_event(c->a, p->name);
    *d = (struct pipeline_declared){
        .name = arena_strdup(arena, p->name),
        .yaml = arena_strndup(arena, yaml.p, yaml.n),
        .sha256 = arena_strdup(arena, p->sha256),
        .by = "http",
        .declared_unix_ms = agent_now_ms(c->a),
    };
    d->first_declared_unix_ms =
        before ? EV_REC(before, pipeline_declared)->first_declared_unix_ms : d->declared_unix_ms;
    pipeline_free(p);
    char digest[DIGEST_HEX_SIZE];
    if (artifacts_put(agent_artifacts(c->a), yaml.p, yaml.n, digest, err)) /* bytes before words */
        return -1;
    *ret = d;
    return 0;
}

/* ---- paths ---- */

static void take_one(struct console *c, struct httpd_request *rq, enum record r)
{
    struct err err = {0};
    struct arena arena = {0};
    const void *rec = NULL;
    struct batch *b = batch_new(c, rq);
    CLEANUP(json_freep) struct json *j = json_parse(httpd_body(rq), "body", &err);
    if (!j || intake_record(c, r, j, &arena, &rec, &err) || batch_add(b, r, rec, NULL, NULL, &err))
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
    arena_fini(&arena);
}

static void take_pipeline(struct console *c, struct httpd_request *rq)
{
    struct err err = {0};
    struct arena arena = {0};
    const void *rec = NULL;
    struct batch *b = batch_new(c, rq);
    if (httpd_body(rq).n > PIPELINE_MAX_BYTES)
        err_set(&err, ERR_LIMIT, NEXT_REJECT, "the pipeline is larger than %zu bytes",
                PIPELINE_MAX_BYTES);
    if (err.code || intake_pipeline(c, httpd_body(rq), &arena, &rec, &err) ||
        batch_add(b, RECORD_PIPELINE_DECLARED, rec, NULL, NULL, &err))
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
    arena_fini(&arena);
}

static void withdraw_pipeline(struct console *c, struct httpd_request *rq, const char *name)
{
    struct err err = {0};
    struct batch *b = batch_new(c, rq);
    struct publication p = {.record = RECORD_PIPELINE_DECLARED, .key = name};
    b->sent++;
    if (!agent_pipeline_event(c->a, name)) {
        b->sent--;
        err_set(&err, ERR_NOTFOUND, NEXT_REJECT, "no pipeline %s is declared", name);
        batch_refuse(b, 404, &err);
    } else if (agent_publish(c->a, &p, on_delivered, b, NULL, &err)) {
        b->sent--;
        batch_refuse(b, 503, &err);
    } else {
        batch_send(b);
    }
}

/* Labels: one object, or {"line": L, "labels": [{"prediction", "value"}, ...]}, lines may be said
 * in each. */
static int add_labels(struct console *c, struct batch *b, const struct json *j, struct arena *arena,
                      struct err *err)
{
    const struct json *list = json_get(j, "labels");
    const char *line = json_get_str(j, "line", NULL);
    const void *rec = NULL;
    if (!list)
        return intake_record(c, RECORD_LABEL_OBSERVED, j, arena, &rec, err) ||
                       batch_add(b, RECORD_LABEL_OBSERVED, rec, NULL, NULL, err)
                   ? -1
                   : 0;
    if (!json_is_array(list))
        return err_inval(err, "labels: give a list");
    struct label_observed l;
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *item = json_at(list, i);
        l = (struct label_observed){
            .line = json_get_str(item, "line", line),
            .prediction = json_get_str(item, "prediction", NULL),
            .value = json_get_str(item, "value", NULL),
            .by = json_get_str(item, "by", NULL),
            .observed_unix_ms = json_get_int(item, "observed_unix_ms", ABSENT_I64),
        };
        if (check_label(c, &l, err) || batch_add(b, RECORD_LABEL_OBSERVED, &l, NULL, NULL, err))
            return err_wrap(err, "labels[%zu]", i);
    }
    return 0;
}

/* "prediction,value" lines, with or without that header; ?line= names the line. */
static int add_label_csv(struct console *c, struct batch *b, struct slice text, const char *line,
                         struct arena *arena, struct err *err)
{
    size_t number = 0;
    for (size_t at = 0; at < text.n;) {
        const char *from = text.p + at, *end = memchr(from, '\n', text.n - at);
        size_t n = end ? (size_t)(end - from) : text.n - at;
        at += n + 1;
        number++;
        if (n && from[n - 1] == '\r')
            n--;
        const char *comma = memchr(from, ',', n);
        if (!n || (number == 1 && n == 16 && memcmp(from, "prediction,value", 16) == 0))
            continue;
        if (!comma)
            return err_inval(err, "line %zu: give prediction,value", number);
        struct label_observed l = {
            .line = line,
            .observed_unix_ms = ABSENT_I64,
            .prediction = arena_strndup(arena, from, (size_t)(comma - from)),
            .value = arena_strndup(arena, comma + 1, n - (size_t)(comma + 1 - from)),
        };
        if (check_label(c, &l, err) || batch_add(b, RECORD_LABEL_OBSERVED, &l, NULL, NULL, err))
            return err_wrap(err, "line %zu", number);
    }
    return 0;
}

static void take_labels(struct console *c, struct httpd_request *rq)
{
    struct err err = {0};
    struct arena arena = {0};
    struct batch *b = batch_new(c, rq);
    const char *type = httpd_header(rq, "Content-Type");
    int rc;
    if (type && str_has_prefix(type, "text/csv")) {
        rc = add_label_csv(c, b, httpd_body(rq), httpd_query(rq, "line"), &arena, &err);
    } else {
        CLEANUP(json_freep) struct json *j = json_parse(httpd_body(rq), "body", &err);
        rc = j ? add_labels(c, b, j, &arena, &err) : -1;
    }
    if (rc)
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
    arena_fini(&arena);
}

bool intake_handle(struct console *c, struct httpd_request *rq)
{
    const char *path = httpd_path(rq), *segs[1];
    if (strcmp(httpd_method(rq), "DELETE") == 0 && httpd_match(rq, "/v1/pipelines/{}", segs, 1)) {
        withdraw_pipeline(c, rq, segs[0]);
        return true;
    }
    if (strcmp(httpd_method(rq), "POST") != 0)
        return false;
    if (strcmp(path, "/v1/datasets") == 0)
        take_one(c, rq, RECORD_DATASET_PUBLISHED);
    else if (strcmp(path, "/v1/commands") == 0)
        take_one(c, rq, RECORD_OPERATOR_COMMANDED);
    else if (strcmp(path, "/v1/alerts") == 0)
        take_one(c, rq, RECORD_DRIFT_DETECTED);
    else if (strcmp(path, "/v1/labels") == 0)
        take_labels(c, rq);
    else if (strcmp(path, "/v1/pipelines") == 0)
        take_pipeline(c, rq);
    else if (strcmp(path, "/v1/events") == 0)
        foreign_cloudevents(c, rq);
    else if (strcmp(path, "/v1/alerts/alertmanager") == 0)
        foreign_alertmanager(c, rq);
    else
        return false;
    return true;
}
