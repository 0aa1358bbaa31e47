/* POST /v1/events: CloudEvents 1.0 in the three content modes of its HTTP binding: structured,
 * batch and binary.  The type says the record; `id` and `source` together are the event's identity,
 * so one that is sent again counts once. */
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/digest.h"
#include "common/mem.h"

/* Ours ("relearn.v1.DatasetPublished", "DatasetPublished"), or its words ("dataset.published"). */
static enum record record_of_type(const char *type)
{
    static const struct {
        enum record record;
        const char *words;
    } OUTSIDE[] = {
        {RECORD_DATASET_PUBLISHED, "dataset.published"},
        {RECORD_DRIFT_DETECTED, "drift.detected"},
        {RECORD_LABEL_OBSERVED, "label.observed"},
        {RECORD_OPERATOR_COMMANDED, "operator.commanded"},
    };
    for (size_t i = 0; i < ARRAY_LEN(OUTSIDE); i++) {
        const char *names[] = {record_avro_name(OUTSIDE[i].record), OUTSIDE[i].words};
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            size_t n = strlen(type), w = strlen(names[k]);
            if (n >= w && strcmp(type + n - w, names[k]) == 0 && (n == w || type[n - w - 1] == '.'))
                return OUTSIDE[i].record;
        }
    }
    return RECORD_NONE;
}

struct cloudevent {
    const char *id, *source, *type, *specversion;
    const struct json *data;
};

static int add_event(struct console *c, struct batch *b, const struct cloudevent *e,
                     struct err *err)
{
    struct arena *arena = batch_arena(b);
    struct batch_item item = {.source = arena_strdup(arena, e->source)};
    if (!e->id || !e->id[0] || !e->source || !e->source[0] || !e->type || !e->specversion)
        return err_inval(err, "a CloudEvent has id, source, type and specversion");
    if (strcmp(e->specversion, "1.0") != 0)
        return err_inval(err, "specversion: only 1.0 is understood, not '%.40s'", e->specversion);
    item.record = record_of_type(e->type);
    if (item.record == RECORD_NONE)
        return err_inval(err,
                         "type: give relearn.v1.DatasetPublished, DriftDetected, LabelObserved or "
                         "OperatorCommanded, not '%.100s'",
                         e->type);
    if (!e->data)
        return err_inval(err, "data: the event has no JSON data");
    if (intake_record(c, item.record, e->data, arena, &item.rec, err))
        return err_wrap(err, "data");
    char id[ID_SIZE];
    id_from_cause(record_topic(item.record), e->source, e->id, id);
    item.id = arena_strdup(arena, id);
    return batch_add(b, &item, err);
}

static int add_structured(struct console *c, struct batch *b, const struct json *j, struct err *err)
{
    struct cloudevent e = {
        .id = json_get_str(j, "id", NULL),
        .source = json_get_str(j, "source", NULL),
        .type = json_get_str(j, "type", NULL),
        .specversion = json_get_str(j, "specversion", NULL),
        .data = json_get(j, "data"),
    };
    if (!json_is_object(j))
        return err_inval(err, "give a JSON object");
    return add_event(c, b, &e, err);
}

static int hex_of(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Attributes travel in headers percent-encoded (HTTP protocol binding, 3.1.3.2). */
static const char *attribute(const struct httpd_request *rq, const char *name, struct arena *arena)
{
    const char *v = httpd_header(rq, name);
    char *out = arena_strdup(arena, v), *to = out;
    for (; v && *v; v++) {
        int high = *v == '%' ? hex_of(v[1]) : -1, low = high >= 0 ? hex_of(v[2]) : -1;
        bool is_coded = low >= 0 && (high || low);
        *to++ = is_coded ? (char)(high * 16 + low) : *v;
        v += is_coded ? 2 : 0;
    }
    if (to)
        *to = '\0';
    return out;
}

static int add_binary(struct console *c, struct batch *b, const struct httpd_request *rq,
                      const struct json *j, struct err *err)
{
    struct arena *arena = batch_arena(b);
    struct cloudevent e = {
        .id = attribute(rq, "ce-id", arena),
        .source = attribute(rq, "ce-source", arena),
        .type = attribute(rq, "ce-type", arena),
        .specversion = attribute(rq, "ce-specversion", arena),
        .data = j,
    };
    return add_event(c, b, &e, err);
}

static int add_list(struct console *c, struct batch *b, const struct json *j, struct err *err)
{
    if (!json_is_array(j))
        return err_inval(err, "a batch is a list of events");
    for (size_t i = 0; i < json_len(j); i++)
        if (add_structured(c, b, json_at(j, i), err))
            return err_wrap(err, "event %zu", i);
    return 0;
}

void intake_cloudevents(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct batch *b = batch_new(c, rq);
    const struct json *j = batch_json(b, &err);
    int rc = -1;
    (void)segs;
    if (j && intake_is_type(rq, "application/cloudevents-batch"))
        rc = add_list(c, b, j, &err);
    else if (j && intake_is_type(rq, "application/cloudevents"))
        rc = add_structured(c, b, j, &err);
    else if (j)
        rc = add_binary(c, b, rq, j, &err);
    if (rc)
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
}
