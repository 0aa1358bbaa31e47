/* POST /v1/alerts/alertmanager: the webhook of Prometheus' Alertmanager, version 4.  Each firing
 * alert with a label `line` (or `pipeline` and perhaps `segment`) becomes a drift event.  It is
 * sent again every repeat_interval: the same alert is the same event.  One that names no line is
 * said in the answer and does not hold up the others, since Alertmanager does not send again after
 * a 400. */
#include <math.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/digest.h"
#include "common/mem.h"

struct alert {
    const struct json *body, *alert;
    const char *name;
};

static const char *label_of(const struct alert *x, const char *name)
{
    const char *v = json_get_str(json_get(x->alert, "labels"), name, NULL);
    return v ? v : json_get_str(json_get(x->body, "commonLabels"), name, NULL);
}

static const char *annotation_of(const struct alert *x, const char *name)
{
    const char *v = json_get_str(json_get(x->alert, "annotations"), name, NULL);
    return v ? v : json_get_str(json_get(x->body, "commonAnnotations"), name, NULL);
}

static int line_of(const struct alert *x, struct arena *arena, const char **ret, struct err *err)
{
    const char *line = label_of(x, "line"), *pipeline = label_of(x, "pipeline"),
               *segment = label_of(x, "segment");
    if (!line && pipeline)
        line = segment ? arena_printf(arena, "%s/%s", pipeline, segment) : pipeline;
    if (!line)
        return err_inval(err,
                         "alert %.100s has no label `line` (or `pipeline`): add it to the "
                         "alerting rule",
                         x->name);
    *ret = line;
    return intake_line(line, err) ? err_wrap(err, "alert %.100s", x->name) : 0;
}

static int add_alert(struct console *c, struct batch *b, const struct alert *x, struct err *err)
{
    struct arena *arena = batch_arena(b);
    const char *summary = annotation_of(x, "summary"), *generation = label_of(x, "generation");
    struct drift_detected *d = arena_alloc(arena, sizeof(*d));
    *d = (struct drift_detected){
        .source = "alertmanager",
        .kind = "external",
        .statistic = x->name,
        .value = NAN,
        .threshold = NAN,
        .generation = ABSENT_I64,
        .windows = ABSENT_I64,
        .summary = summary ? summary : annotation_of(x, "description"),
        .detected_unix_ms = agent_now_ms(c->a),
    };
    if (line_of(x, arena, &d->line, err))
        return -1;
    if (!d->summary)
        d->summary = arena_printf(arena, "alert %s", x->name);
    if (generation && str_to_i64(generation, &d->generation))
        return err_inval(err, "alert %.100s: label generation: '%.40s' is no number", x->name,
                         generation);
    const char *about =
        arena_printf(arena, "%s %s %s", json_get_str(x->alert, "fingerprint", x->name),
                     json_get_str(x->alert, "startsAt", ""), d->line);
    char id[ID_SIZE];
    id_from_cause("drift", "alertmanager", about, id);
    struct batch_item item = {.record = RECORD_DRIFT_DETECTED,
                              .rec = d,
                              .id = arena_strdup(arena, id),
                              .source = "alertmanager"};
    return batch_add(b, &item, err);
}

static void add_alerts(struct console *c, struct batch *b, const struct json *body)
{
    const struct json *list = json_get(body, "alerts");
    for (size_t i = 0; i < json_len(list); i++) {
        struct err err = {0};
        struct alert x = {.body = body, .alert = json_at(list, i)};
        const char *name = label_of(&x, "alertname");
        const char *status =
            json_get_str(x.alert, "status", json_get_str(body, "status", "firing"));
        x.name = name ? name : "without a name";
        if (strcmp(status, "resolved") == 0) /* nothing to react to */
            continue;
        if (add_alert(c, b, &x, &err))
            batch_skip(b, &err);
    }
}

void intake_alertmanager(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct batch *b = batch_new(c, rq);
    const struct json *j = batch_json(b, &err);
    (void)segs;
    if (j && strcmp(json_get_str(j, "version", ""), "4") != 0)
        err_inval(&err, "version: only 4 of Alertmanager's webhook is understood, not '%.40s'",
                  json_get_str(j, "version", ""));
    else if (j && !json_is_array(json_get(j, "alerts")))
        err_inval(&err, "alerts: must be a list");
    if (err.code) {
        batch_refuse(b, 400, &err);
        return;
    }
    add_alerts(c, b, j);
    batch_send(b);
}
