/* What other tools send: CloudEvents (structured, batch and binary HTTP content modes,
 * specification 1.0) and Alertmanager's webhook, version 4. */
#include <math.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/digest.h"
#include "common/mem.h"

/* The type says the record: ours ("relearn.v1.DatasetPublished"), or just its words
 * ("dataset.published"). */
static enum record record_of_type(const char *type)
{
    static const enum record OUTSIDE[] = {RECORD_DATASET_PUBLISHED, RECORD_DRIFT_DETECTED,
                                          RECORD_LABEL_OBSERVED, RECORD_OPERATOR_COMMANDED};
    static const char *const WORDS[] = {"dataset.published", "drift.detected", "label.observed",
                                        "operator.commanded"};
    for (size_t i = 0; type && i < ARRAY_LEN(OUTSIDE); i++) {
        const char *name = record_avro_name(OUTSIDE[i]);
        if (strcmp(type, name) == 0 || str_has_suffix(type, WORDS[i]))
            return OUTSIDE[i];
        size_t n = strlen(type), k = strlen(name);
        if (n > k && type[n - k - 1] == '.' && strcmp(type + n - k, name) == 0)
            return OUTSIDE[i];
    }
    return RECORD_NONE;
}

struct cloudevent {
    const char *id, *source, *type, *specversion;
    const struct json *data;
};

static int add_event(struct console *c, struct batch *b, const struct cloudevent *e,
                     struct arena *arena, struct err *err)
{
    const void *rec = NULL;
    if (!e->id || !e->source || !e->type || !e->specversion)
        return err_inval(err, "a CloudEvent has id, source, type and specversion");
    if (strcmp(e->specversion, "1.0") != 0)
        return err_inval(err, "specversion %s: only 1.0 is understood", e->specversion);
    enum record r = record_of_type(e->type);
    if (r == RECORD_NONE)
        return err_inval(err,
                         "type %s: give relearn.v1.DatasetPublished, DriftDetected, LabelObserved "
                         "or OperatorCommanded",
                         e->type);
    if (!e->data)
        return err_inval(err, "the event has no JSON data");
    if (intake_record(c, r, e->data, arena, &rec, err))
        return err_wrap(err, "data");
    char id[ID_SIZE]; /* source and id together are what is unique */
    id_from_cause(record_topic(r), e->source, e->id, id);
    return batch_add(b, r, rec, id, e->source, err);
}

static struct cloudevent structured(const struct json *j)
{
    return (struct cloudevent){
        .id = json_get_str(j, "id", NULL),
        .source = json_get_str(j, "source", NULL),
        .type = json_get_str(j, "type", NULL),
        .specversion = json_get_str(j, "specversion", NULL),
        .data = json_get(j, "data"),
    };
}

static int add_body(struct console *c, struct batch *b, struct httpd_request *rq,
                    const struct json *j, struct arena *arena, struct err *err)
{
    const char *type = httpd_header(rq, "Content-Type");
    if (type && str_has_prefix(type, "application/cloudevents-batch")) {
        if (!json_is_array(j))
            return err_inval(err, "a batch is a list of events");
        for (size_t i = 0; i < json_len(j); i++) {
            struct cloudevent e = structured(json_at(j, i));
            if (add_event(c, b, &e, arena, err))
                return err_wrap(err, "event %zu", i);
        }
        return 0;
    }
    struct cloudevent e = structured(j);
    if (!type ||
        !str_has_prefix(type, "application/cloudevents")) /* binary: attributes are headers */
        e = (struct cloudevent){
            .id = httpd_header(rq, "ce-id"),
            .source = httpd_header(rq, "ce-source"),
            .type = httpd_header(rq, "ce-type"),
            .specversion = httpd_header(rq, "ce-specversion"),
            .data = j,
        };
    return add_event(c, b, &e, arena, err);
}

void foreign_cloudevents(struct console *c, struct httpd_request *rq)
{
    struct err err = {0};
    struct arena arena = {0};
    struct batch *b = batch_new(c, rq);
    CLEANUP(json_freep) struct json *j = json_parse(httpd_body(rq), "body", &err);
    if (!j || add_body(c, b, rq, j, &arena, &err))
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
    arena_fini(&arena);
}

/* ---- Alertmanager ---- */

static const char *label_of(const struct json *alert, const struct json *common, const char *name)
{
    const char *v = json_get_str(json_get(alert, "labels"), name, NULL);
    return v ? v : json_get_str(common, name, NULL);
}

static const char *line_of(const struct json *alert, const struct json *common, struct arena *arena)
{
    const char *line = label_of(alert, common, "line"),
               *pipeline = label_of(alert, common, "pipeline"),
               *segment = label_of(alert, common, "segment");
    if (line || !pipeline)
        return line;
    return segment ? arena_printf(arena, "%s/%s", pipeline, segment) : pipeline;
}

static int add_alert(struct console *c, struct batch *b, const struct json *body,
                     const struct json *alert, struct arena *arena, struct err *err)
{
    const struct json *common = json_get(body, "commonLabels"),
                      *annotations = json_get(alert, "annotations");
    const char *name = label_of(alert, common, "alertname");
    if (strcmp(json_get_str(alert, "status", json_get_str(body, "status", "firing")), "resolved") ==
        0)
        return 0; /* nothing to react to */
    const char *line = line_of(alert, common, arena);
    if (!line)
        return err_inval(
            err, "alert %s has no label `line` (or `pipeline`): add it to the alerting rule",
            name ? name : "");
    char pipeline[PIPELINE_NAME_MAX + 1], segment[PIPELINE_NAME_MAX + 1];
    if (!line_split(line, pipeline, segment))
        return err_inval(err, "alert %s: '%s' is no line", name ? name : "", line);
    const char *summary =
        json_get_str(annotations, "summary", json_get_str(annotations, "description", NULL));
    struct drift_detected d = {
        .line = line,
        .source = "alertmanager",
        .kind = "external",
        .statistic = name,
        .value = NAN,
        .threshold = NAN,
        .generation = ABSENT_I64,
        .windows = ABSENT_I64,
        .summary = summary ? summary : arena_printf(arena, "alert %s", name ? name : ""),
        .detected_unix_ms = agent_now_ms(c->a),
    };
    const char *generation = label_of(alert, common, "generation");
    if (generation && str_to_i64(generation, &d.generation))
        d.generation = ABSENT_I64;
    char id[ID_SIZE]; /* sent again every repeat_interval: the same alert is the same event */
    CLEANUP_FREE char *about =
        xasprintf("%s %s %s", json_get_str(alert, "fingerprint", name ? name : ""),
                  json_get_str(alert, "startsAt", ""), line);
    id_from_cause("drift", "alertmanager", about, id);
    return batch_add(b, RECORD_DRIFT_DETECTED, &d, id, "alertmanager", err);
}

void foreign_alertmanager(struct console *c, struct httpd_request *rq)
{
    struct err err = {0};
    struct arena arena = {0};
    struct batch *b = batch_new(c, rq);
    int rc = 0;
    CLEANUP(json_freep) struct json *j = json_parse(httpd_body(rq), "body", &err);
    const struct json *alerts = json_get(j, "alerts");
    if (j && strcmp(json_get_str(j, "version", ""), "4") != 0)
        err_inval(&err, "version: only 4 of Alertmanager's webhook is understood, not '%s'",
                  json_get_str(j, "version", ""));
    else if (j && !json_is_array(alerts))
        err_inval(&err, "alerts: a list is missing");
    for (size_t i = 0; !err.code && i < json_len(alerts); i++)
        rc = add_alert(c, b, j, json_at(alerts, i), &arena, &err);
    if (rc || err.code)
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
    arena_fini(&arena);
}
