/* Dead letters: what could not be taken, and the way back.  One that can be read by now (its schema
 * is known, say) is published again under its own id, with its own causes; one that still cannot is
 * not sent to be refused again. */
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/digest.h"
#include "common/mem.h"

enum { SEARCHED = 1000 }; /* newest dead letters that an original id is looked for in */

/* A row of the view as the record that it was. */
static const struct dead_lettered *record_of(const struct json *row, struct arena *arena)
{
    const void *rec = NULL;
    struct err err = {0};
    if (codec_from_json(RECORD_DEAD_LETTERED, json_get(row, "record"), arena, &rec, &err))
        return NULL;
    return rec;
}

static const char *header(const struct dead_lettered *d, const char *name, struct arena *arena)
{
    for (size_t i = 0; i < d->headers.n; i++)
        if (strcmp(d->headers.items[i].name, name) == 0 && d->headers.items[i].value.p)
            return arena_strndup(arena, d->headers.items[i].value.p, d->headers.items[i].value.n);
    return NULL;
}

void dead_say(struct json *row)
{
    struct arena arena = {0};
    CLEANUP(buf_fini) struct buf text = {0};
    const struct dead_lettered *d = record_of(row, &arena);
    if (d)
        event_say(RECORD_DEAD_LETTERED, d, json_get_str(row, "id", ""), &text);
    json_set_str(row, "says", text.data);
    arena_fini(&arena);
}

bool dead_find_original(struct console *c, const char *id, char ret_id[ID_SIZE])
{
    CLEANUP(json_freep) struct json *list = view_dead_letters(c, SEARCHED);
    bool found = false;
    for (size_t i = 0; i < json_len(list) && !found; i++) {
        const struct json *row = json_at(list, i);
        struct arena arena = {0};
        const struct dead_lettered *d = record_of(row, &arena);
        const char *own = d ? header(d, "ce_id", &arena) : NULL;
        found = own && strcmp(own, id) == 0;
        if (found)
            str_copy(ret_id, ID_SIZE, json_get_str(row, "id", ""));
        arena_fini(&arena);
    }
    return found;
}

/* For the list: everything but the bytes, which may be megabytes. */
static void add_summary(struct json *list, const struct json *row)
{
    struct arena arena = {0};
    const struct dead_lettered *d = record_of(row, &arena);
    if (d) {
        struct json *j = json_add(list, json_object());
        json_set_str(j, "id", json_get_str(row, "id", NULL));
        json_set_str(j, "time", json_get_str(row, "time", NULL));
        json_set_str(j, "topic", d->topic);
        json_set_int(j, "partition", d->partition);
        json_set_int(j, "offset", d->offset);
        json_set_str(j, "event", header(d, "ce_id", &arena));
        json_set_str(j, "agent", d->agent);
        json_set_str(j, "code", d->code);
        json_set_str(j, "reason", d->reason);
        json_set_int(j, "attempts", d->attempts);
        json_set_int(j, "bytes", (int64_t)d->value.n);
    }
    arena_fini(&arena);
}

void query_dead_letters(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    int64_t limit = CONSOLE_LIST_ROWS;
    (void)segs;
    if (!console_query_int(rq, "limit", 1, CONSOLE_LIST_MAX_ROWS, &limit))
        return;
    CLEANUP(json_freep) struct json *rows = view_dead_letters(c, limit);
    struct json *list = json_array();
    for (size_t i = 0; i < json_len(rows); i++)
        add_summary(list, json_at(rows, i));
    console_answer_json(rq, 200, list);
}

void query_dead_letter(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct json *j = view_dead_letter(c, segs[0]);
    if (!j)
        httpd_answer_error(rq, 404, "there is no dead letter %.100s", segs[0]);
    else
        console_answer_json(rq, 200, j);
}

/* ---- the way back ---- */

static int original_item(struct console *c, const struct json *row, struct arena *arena,
                         struct batch_item *ret, struct err *err)
{
    const struct dead_lettered *d = record_of(row, arena);
    const char *prefix = agent_prefix(c->a);
    if (!d || !str_has_prefix(d->topic, prefix))
        return err_inval(err, "its topic is none of this installation's");
    struct batch_item item = {.record = record_of_topic(d->topic + strlen(prefix))};
    if (item.record == RECORD_NONE)
        return err_inval(err, "there is no topic %.200s", d->topic);
    int rc = codec_decode(agent_codec(c->a), item.record, (struct slice){d->value.p, d->value.n},
                          arena, &item.rec, err);
    if (rc == 1)
        return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "its schema is being fetched: ask again");
    if (rc)
        return err_wrap(err, "it still cannot be read");
    const char *key = record_own_key(item.record, item.rec);
    if (!key || !key[0])
        return err_inval(err, "it still has no key");
    char id[ID_SIZE];
    id_from_cause(record_topic(item.record), json_get_str(row, "id", ""), "sent back", id);
    item.id = header(d, "ce_id", arena);
    if (!item.id || !id_is_valid(item.id))
        item.id = arena_strdup(arena, id);
    item.source = header(d, "ce_source", arena);
    item.cause = header(d, "ce_causationid", arena);
    item.correlation = header(d, "ce_correlationid", arena);
    const char *hops = header(d, "ce_hops", arena);
    int64_t n = 0;
    if (hops && str_to_i64(hops, &n) == 0 && n > 0 && n < INT32_MAX)
        item.hops = (int)n;
    *ret = item;
    return 0;
}

void intake_resend(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct batch_item item;
    struct batch *b = batch_new(c, rq);
    CLEANUP(json_freep) struct json *row = view_dead_letter(c, segs[0]);
    if (!row) {
        err_set(&err, ERR_NOTFOUND, NEXT_REJECT, "there is no dead letter %.100s", segs[0]);
        batch_refuse(b, 404, &err);
    } else if (original_item(c, row, batch_arena(b), &item, &err) || batch_add(b, &item, &err)) {
        batch_refuse(b, 409, &err);
    } else {
        batch_send(b);
    }
}
