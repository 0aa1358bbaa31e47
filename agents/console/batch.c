/* Records of one request.  Nothing is published before all of them were found right; then as many
 * are given to the bus as its queue takes, the rest as acknowledgements come; the request is
 * answered when the last one is acknowledged.  Ids come from the `Idempotency-Key` header when
 * there is one, so that a client that got no answer may send again. */
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/digest.h"
#include "common/mem.h"

enum { LISTED_IDS = 1000 }; /* an answer with the ids of a million labels helps nobody */

struct batch {
    struct console *c;
    struct batch *next;
    struct httpd_request *rq;
    struct arena arena;
    struct json *body;
    struct json *ids; /* in the order of the request; of the first LISTED_IDS alone */
    struct batch_item *items;
    size_t n, cap, sent, done, acknowledged;
    size_t notes;       /* of the items */
    struct err failure; /* of the bus */
    struct err skipped; /* the first record that is left out */
    char key[ID_SIZE];  /* from Idempotency-Key; "" none */
    bool is_pumping;
};

struct batch *batch_new(struct console *c, struct httpd_request *rq)
{
    struct batch *b = xcalloc(1, sizeof(*b));
    const char *key = httpd_header(rq, "Idempotency-Key");
    b->c = c;
    b->rq = rq;
    b->ids = json_array();
    b->next = c->batches;
    c->batches = b;
    if (key && key[0])
        id_from_cause("idempotency-key", key, httpd_path(rq), b->key);
    return b;
}

static void batch_free(struct batch *b)
{
    for (struct batch **at = &b->c->batches; *at; at = &(*at)->next)
        if (*at == b) {
            *at = b->next;
            break;
        }
    json_free(b->body);
    json_free(b->ids);
    arena_fini(&b->arena);
    free_ptr(&b->items);
    free_ptr(&b);
}

struct arena *batch_arena(struct batch *b)
{
    return &b->arena;
}

const struct json *batch_json(struct batch *b, struct err *err)
{
    if (!httpd_body(b->rq).n)
        err_inval(err, "the body is empty: give JSON");
    else
        b->body = json_parse(httpd_body(b->rq), "body", err);
    return b->body;
}

int batch_add(struct batch *b, const struct batch_item *item, struct err *err)
{
    if (b->n == CONSOLE_BATCH_MAX_RECORDS)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "more than %d records in one request",
                       CONSOLE_BATCH_MAX_RECORDS);
    b->items = xgrow(b->items, &b->cap, b->n + 1, sizeof(*b->items));
    b->items[b->n++] = *item;
    b->notes += item->is_note;
    return 0;
}

void batch_skip(struct batch *b, const struct err *err)
{
    if (!b->skipped.code)
        b->skipped = *err;
}

/* ---- the answer ---- */

static void answer_published(struct batch *b)
{
    struct json *j = json_object();
    json_set_int(j, "published", (int64_t)(b->n - b->notes));
    if (b->n - b->notes == 1)
        json_set_str(j, "event", json_str(json_at(b->ids, 0), ""));
    if (b->n <= LISTED_IDS)
        json_set(j, "events", TAKE(b->ids));
    console_answer_json(b->rq, 200, j);
}

static void finish(struct batch *b)
{
    if (b->done < b->sent || (b->sent < b->n && !b->failure.code))
        return;
    if (b->failure.code)
        httpd_answer_error(b->rq, b->failure.next == NEXT_RETRY ? 503 : 500,
                           "%s; %zu of %zu were published: send all of them again, with an "
                           "Idempotency-Key they count once",
                           b->failure.msg, b->acknowledged, b->n);
    else if (b->skipped.code)
        httpd_answer_error(b->rq, 400, "%s (the %zu others of the request were published)",
                           b->skipped.msg, b->n);
    else
        answer_published(b);
    batch_free(b);
}

/* ---- out ---- */

static void pump(struct batch *b);

static void on_delivered(void *ctx, const char *id, const struct err *err)
{
    struct batch *b = ctx;
    (void)id;
    b->done++;
    b->acknowledged += !err;
    if (err && !b->failure.code)
        b->failure = *err;
    pump(b);
}

static int publish(struct batch *b, const struct batch_item *item, struct err *err)
{
    char id[ID_SIZE] = "";
    struct publication p = {.record = item->record,
                            .rec = item->rec,
                            .key = item->key,
                            .id = item->id,
                            .source = item->source,
                            .cause = item->cause,
                            .correlation = item->correlation,
                            .is_bulk = item->record == RECORD_LABEL_OBSERVED};
    if (!p.id && b->key[0]) {
        CLEANUP_FREE char *about = xasprintf("%zu", b->sent);
        id_from_cause(record_topic(item->record), b->key, about, id);
        p.id = id;
    }
    b->sent++; /* before: the acknowledgement may come at once */
    if (item->dead ? agent_send_back(b->c->a, item->dead, item->key, p.id, on_delivered, b, err)
                   : agent_publish(b->c->a, &p, on_delivered, b, p.id ? NULL : id, err)) {
        b->sent--;
        return -1;
    }
    if (b->sent <= LISTED_IDS && !item->is_note)
        json_add_str(b->ids, p.id ? p.id : id);
    return 0;
}

static void pump(struct batch *b)
{
    if (b->is_pumping)
        return;
    b->is_pumping = true;
    while (b->sent < b->n && !b->failure.code) {
        struct err err = {0};
        if (b->items[b->sent].is_note && b->done < b->sent)
            break; /* with the last acknowledgement before it */
        if (publish(b, &b->items[b->sent], &err) == 0)
            continue;
        if (err.next == NEXT_RETRY && b->done < b->sent)
            break; /* the queue is full: it goes on with the next acknowledgement */
        b->failure = err;
    }
    b->is_pumping = false;
    finish(b);
}

void batch_send(struct batch *b)
{
    pump(b);
}

void batch_refuse(struct batch *b, int status, const struct err *err)
{
    bool may_get_better = err->next == NEXT_RETRY;
    httpd_answer_error(b->rq,
                       may_get_better                                ? 503
                       : err->code == ERR_LIMIT && status / 100 == 4 ? 413
                                                                     : status,
                       "%s", err->msg);
    batch_free(b);
}

/* The process stops: what is on its way may or may not arrive. */
void batches_close(struct console *c)
{
    while (c->batches) {
        struct batch *b = c->batches;
        httpd_answer_error(b->rq, 503,
                           "the console stops; %zu of %zu were published: send all of them again",
                           b->acknowledged, b->n);
        batch_free(b);
    }
}
