/* Messages to events, as the runtime of the agents makes them, and to the spool and back. */
#include "agents/relearn/verify_take_internal.h"

#include <string.h>

#include "common/clk.h"
#include "common/digest.h"

static const char *header(struct arena *arena, const struct bus_message *msg, const char *name)
{
    for (size_t i = 0; i < msg->n_headers; i++)
        if (strcmp(msg->headers[i].name, name) == 0 && msg->headers[i].value)
            return arena_strndup(arena, msg->headers[i].value, msg->headers[i].n);
    return NULL;
}

/* Of an outside producer that gave none: the same bytes are the same event. */
static const char *derived_id(struct arena *arena, const struct bus_message *msg)
{
    char hex[DIGEST_HEX_SIZE], id[ID_SIZE];
    CLEANUP_FREE char *key = xstrndup(msg->key_n ? msg->key : "", msg->key_n);

    digest_bytes(msg->value, msg->value_n, hex);
    id_from_cause(msg->topic, key, hex, id);
    return arena_strdup(arena, id);
}

void event_of_message(enum record r, const struct bus_message *msg, struct event *ret)
{
    struct arena *mem = &ret->arena;
    const char *id = header(mem, msg, "ce_id"), *time = header(mem, msg, "ce_time");

    ret->type = r;
    ret->partition = msg->partition;
    ret->offset = msg->offset;
    ret->key = arena_strndup(mem, msg->key_n ? msg->key : "", msg->key_n);
    ret->id = id && id_is_valid(id) ? id : derived_id(mem, msg);
    ret->cause = header(mem, msg, "ce_causationid");
    ret->seen = header(mem, msg, "ce_seen");
    if (!time || clk_parse(time, &ret->time_unix_us))
        ret->time_unix_us = clk_us_of_ms(msg->timestamp_ms);
}

struct packed { /* then key, id, cause with a NUL each, then the value */
    int64_t offset, time_unix_us, appended_unix_ms;
    int32_t partition;
    uint8_t record, is_judged, has_cause;
};

void event_pack(const struct taken *t, const char *key, struct buf *out)
{
    const struct event *ev = &t->ev;
    const struct packed p = {.offset = ev->offset,
                             .time_unix_us = ev->time_unix_us,
                             .appended_unix_ms = t->appended_unix_ms,
                             .partition = ev->partition,
                             .record = (uint8_t)ev->type,
                             .is_judged = t->is_judged,
                             .has_cause = ev->cause != NULL};
    const char *const texts[] = {key, ev->id, ev->cause ? ev->cause : ""};

    buf_reset(out);
    buf_add(out, &p, sizeof(p));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        buf_add(out, texts[i], strlen(texts[i]) + 1);
    buf_add(out, t->value.p, t->value.n);
}

int event_unpack(struct slice bytes, struct codec *codec, struct event **ret,
                 int64_t *ret_appended_unix_ms, bool *ret_is_judged, struct err *err)
{
    struct event *ev = xcalloc(1, sizeof(*ev));
    const char *at = bytes.p + sizeof(struct packed), *texts[3];
    struct packed p;

    memcpy(&p, bytes.p, sizeof(p));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        texts[i] = arena_strdup(&ev->arena, at);
        at += strlen(at) + 1;
    }
    ev->type = (enum record)p.record;
    ev->partition = p.partition;
    ev->offset = p.offset;
    ev->time_unix_us = p.time_unix_us;
    ev->key = texts[0];
    ev->id = texts[1];
    ev->cause = p.has_cause ? texts[2] : NULL;
    *ret_appended_unix_ms = p.appended_unix_ms;
    *ret_is_judged = p.is_judged;
    if (codec_decode(codec, ev->type, (struct slice){at, bytes.n - (size_t)(at - bytes.p)},
                     &ev->arena, &ev->rec, err)) {
        event_free(ev);
        return -1;
    }
    *ret = ev;
    return 0;
}
