/* Dead letters: what could not be taken, and the way back.  One that can be read by now (its schema
 * is known, say) goes back byte for byte, under its own id; one that still cannot is not sent to be
 * refused again.
 *
 * Behind each that was sent back stands a note in the same topic, caused by it: the log itself says
 * what has become of it.  waiting: nothing; sent back: a note; answered: an event of its id is in
 * its topic. (Of labels and progress console keeps no ids: there it is the note alone.)  Killed
 * between the two, it is sent back again, and the id counts once. */
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

/* Under which every reader knows the event: its header's id, else what readers derive from it. */
static const char *own_id(const struct dead_lettered *d, struct arena *arena)
{
    char hex[DIGEST_HEX_SIZE], id[ID_SIZE];
    const char *said = header(d, "ce_id", arena);
    if (said && id_is_valid(said))
        return said;
    digest_bytes(d->value.p, d->value.n, hex);
    id_from_cause(d->topic, arena_strndup(arena, d->key.n ? d->key.p : "", d->key.n), hex, id);
    return arena_strdup(arena, id);
}

static enum record record_of_letter(const struct console *c, const struct dead_lettered *d)
{
    const char *prefix = agent_prefix(c->a);
    return str_has_prefix(d->topic, prefix) ? record_of_topic(d->topic + strlen(prefix))
                                            : RECORD_NONE;
}

static bool is_answered(struct console *c, const struct dead_lettered *d, struct arena *arena)
{
    struct view_prediction p;
    enum record r = record_of_letter(c, d);
    const char *id = own_id(d, arena);
    return r == RECORD_PREDICTION_SERVED ? view_find_prediction(c, id, &p)
                                         : r != RECORD_NONE && view_has(c, r, id);
}

static const char *state_of(struct console *c, const char *id, const struct dead_lettered *d,
                            struct arena *arena)
{
    CLEANUP(json_freep) struct json *notes = view_dead_notes(c, id);
    return is_answered(c, d, arena) ? "answered" : json_len(notes) ? "sent back" : "waiting";
}

struct search {
    const char *id;
    char *ret_id;
    bool found;
};

static bool look_for_original(struct console *c, const struct json *row, void *ctx)
{
    struct search *s = ctx;
    struct arena arena = {0};
    const struct dead_lettered *d = record_of(row, &arena);
    (void)c;
    s->found = d && strcmp(own_id(d, &arena), s->id) == 0;
    if (s->found)
        str_copy(s->ret_id, ID_SIZE, json_get_str(row, "id", ""));
    arena_fini(&arena);
    return !s->found;
}

bool dead_find_original(struct console *c, const char *id, char ret_id[ID_SIZE])
{
    struct search s = {.id = id, .ret_id = ret_id};
    view_each_dead_letter(c, &(struct view_dead_query){.limit = SEARCHED}, look_for_original, &s);
    return s.found;
}

/* ---- list and one ---- */

struct listing {
    struct json *list;
    const char *reason, *state; /* NULL: any */
    int64_t limit;
};

/* For the list: everything but the bytes, which may be megabytes. */
static void add_summary(struct listing *l, const struct json *row, const struct dead_lettered *d,
                        const char *state, struct arena *arena)
{
    struct json *j = json_add(l->list, json_object());
    json_set_str(j, "id", json_get_str(row, "id", NULL));
    json_set_str(j, "time", json_get_str(row, "time", NULL));
    json_set_str(j, "state", state);
    json_set_str(j, "topic", d->topic);
    json_set_int(j, "partition", d->partition);
    json_set_int(j, "offset", d->offset);
    json_set_str(j, "event", own_id(d, arena));
    json_set_str(j, "agent", d->agent);
    json_set_str(j, "code", d->code);
    json_set_str(j, "reason", d->reason);
    json_set_int(j, "attempts", d->attempts);
    json_set_int(j, "bytes", (int64_t)d->value.n);
}

static bool list_one(struct console *c, const struct json *row, void *ctx)
{
    struct listing *l = ctx;
    struct arena arena = {0};
    const struct dead_lettered *d = record_of(row, &arena);
    if (d && (!l->reason || strcmp(d->code, l->reason) == 0 || strcasestr(d->reason, l->reason))) {
        const char *state = state_of(c, json_get_str(row, "id", ""), d, &arena);
        if (!l->state || strcmp(state, l->state) == 0)
            add_summary(l, row, d, state, &arena);
    }
    arena_fini(&arena);
    return (int64_t)json_len(l->list) < l->limit;
}

void query_dead_letters(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    int64_t since_ms = 0;
    struct listing l = {.limit = CONSOLE_LIST_ROWS,
                        .reason = httpd_query(rq, "reason"),
                        .state = httpd_query(rq, "state")};
    const char *topic = httpd_query(rq, "topic"), *prefix = agent_prefix(c->a);
    (void)segs;
    if (!console_query_int(rq, "limit", 1, CONSOLE_LIST_MAX_ROWS, &l.limit) ||
        !console_query_int(rq, "since_ms", 0, INT64_MAX / 1000, &since_ms))
        return;
    CLEANUP_FREE char *full = !topic                          ? NULL
                              : str_has_prefix(topic, prefix) ? xstrdup(topic)
                                                              : xasprintf("%s%s", prefix, topic);
    l.list = json_array();
    view_each_dead_letter(
        c,
        &(struct view_dead_query){.topic = full,
                                  .since_us = since_ms * 1000,
                                  .is_open = l.state && strcmp(l.state, "waiting") == 0,
                                  .limit = INT64_MAX},
        list_one, &l);
    console_answer_json(rq, 200, l.list);
}

static void add_hex(struct json *j, const char *key, const struct bytes *b)
{
    enum { SHOWN_BYTES = 4096 }; /* all of them are in the record, in base64 */
    CLEANUP(buf_fini) struct buf hex = {0};
    for (size_t i = 0; i < b->n && i < SHOWN_BYTES; i++)
        buf_addf(&hex, "%02x", ((const unsigned char *)b->p)[i]);
    json_set_str(j, key, hex.data ? hex.data : "");
}

/* What people can read of it. */
static void add_readable(struct console *c, struct json *j, const struct dead_lettered *d,
                         struct arena *arena)
{
    enum record r = record_of_letter(c, d);
    struct err why = {0};
    const void *rec = NULL;
    struct json *headers = json_set(j, "headers", json_object());
    for (size_t i = 0; i < d->headers.n; i++)
        json_set_str(headers, d->headers.items[i].name, header(d, d->headers.items[i].name, arena));
    json_set_str(j, "event", own_id(d, arena));
    json_set_str(j, "key_text", arena_strndup(arena, d->key.n ? d->key.p : "", d->key.n));
    add_hex(j, "value_hex", &d->value);
    if (r == RECORD_NONE || !d->value.p)
        return;
    int rc = codec_decode(agent_codec(c->a), r, (struct slice){d->value.p, d->value.n}, arena, &rec,
                          &why);
    if (rc == 0)
        json_set(j, "decoded", codec_to_json(r, rec));
    else
        json_set_str(j, "unreadable", rc == 1 ? "its schema is being fetched" : why.msg);
}

void query_dead_letter(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct arena arena = {0};
    struct json *j = view_dead_letter(c, segs[0]);
    const struct dead_lettered *d = j ? record_of(j, &arena) : NULL;
    if (d) {
        json_set_str(j, "state", state_of(c, segs[0], d, &arena));
        json_set(j, "sent_back", view_dead_notes(c, segs[0]));
        add_readable(c, j, d, &arena);
    }
    arena_fini(&arena);
    if (!j)
        httpd_answer_error(rq, 404, "there is no dead letter %.100s", segs[0]);
    else
        console_answer_json(rq, 200, j);
}

/* ---- the way back ---- */

/* Can it be read by now, and where does it belong? */
static int check_letter(struct console *c, const struct dead_lettered *d, struct arena *arena,
                        const char **ret_key, struct err *err)
{
    const void *rec = NULL;
    enum record r = d ? record_of_letter(c, d) : RECORD_NONE;
    if (!d || !str_has_prefix(d->topic, agent_prefix(c->a)))
        return err_inval(err, "its topic is none of this installation's");
    if (r == RECORD_NONE)
        return err_inval(err, "there is no topic %.200s", d->topic);
    int rc = codec_decode(agent_codec(c->a), r, (struct slice){d->value.p, d->value.n}, arena, &rec,
                          err);
    if (rc == 1)
        return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "its schema is being fetched: ask again");
    if (rc)
        return err_wrap(err, "it still cannot be read");
    *ret_key = record_own_key(r, rec);
    if (!*ret_key || !(*ret_key)[0])
        return err_inval(err, "it still has no key");
    return 0;
}

static int check_state(struct console *c, const char *id, const struct dead_lettered *d,
                       struct arena *arena, struct err *err)
{
    const char *state = state_of(c, id, d, arena);
    if (strcmp(state, "waiting") == 0)
        return 0;
    return err_set(err, ERR_CONFLICT, NEXT_REJECT,
                   "%s: it was sent back before; with again it is sent once more (an event counts "
                   "once all the same)",
                   state);
}

static void make_note(struct console *c, struct httpd_request *rq, const char *id,
                      const struct dead_lettered *d, struct arena *arena, struct batch_item *ret)
{
    CLEANUP(json_freep) struct json *before = view_dead_notes(c, id);
    const char *by = httpd_query(rq, "by");
    struct dead_lettered *note = arena_alloc(arena, sizeof(*note));
    char note_id[ID_SIZE];
    id_from_cause("deadletters", id, arena_printf(arena, "sent back %zu", json_len(before) + 1),
                  note_id);
    *note = (struct dead_lettered){
        .topic = d->topic,
        .partition = d->partition,
        .offset = d->offset,
        .agent = "console",
        .code = "sent_back",
        .reason = arena_printf(arena, "sent back by %.100s", by && by[0] ? by : "somebody"),
        .attempts = (int64_t)json_len(before) + 1,
        .failed_unix_ms = agent_now_ms(c->a)};
    *ret = (struct batch_item){.record = RECORD_DEAD_LETTERED,
                               .rec = note,
                               .id = arena_strdup(arena, note_id),
                               .cause = arena_strdup(arena, id),
                               .correlation = arena_strdup(arena, id),
                               .is_note = true};
}

static bool is_asked(struct httpd_request *rq, const char *name)
{
    const char *value = httpd_query(rq, name);
    return value && (strcmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

void intake_resend(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct batch *b = batch_new(c, rq);
    struct arena *arena = batch_arena(b);
    struct batch_item item = {0}, note;
    CLEANUP(json_freep) struct json *row = view_dead_letter(c, segs[0]);
    const struct dead_lettered *d = row ? record_of(row, arena) : NULL;
    if (!row) {
        err_set(&err, ERR_NOTFOUND, NEXT_REJECT, "there is no dead letter %.100s", segs[0]);
        batch_refuse(b, 404, &err);
    } else if (check_letter(c, d, arena, &item.key, &err) ||
               (!is_asked(rq, "again") && check_state(c, segs[0], d, arena, &err))) {
        batch_refuse(b, 409, &err);
    } else if (is_asked(rq, "dry_run")) {
        batch_send(b); /* nothing */
    } else {
        item.record = record_of_letter(c, d);
        item.id = own_id(d, arena);
        item.dead = d;
        make_note(c, rq, segs[0], d, arena, &note);
        if (batch_add(b, &item, &err) || batch_add(b, &note, &err))
            batch_refuse(b, 409, &err);
        else
            batch_send(b);
    }
}
