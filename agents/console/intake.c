/* HTTP in: JSON (or YAML) to records.
 *
 * A member that no record has is an error that names it: what is misspelt must not be dropped in
 * silence.  What only other agents can know (is there such a line?) is not asked here: the answer
 * of the agent that the event is for says it. */
#include <string.h>
#include <strings.h>

#include "agents/console/console_internal.h"
#include "common/digest.h"
#include "common/fault.h"
#include "common/mem.h"

static void default_time(int64_t *field, struct console *c)
{
    if (*field == ABSENT_I64 || *field == 0)
        *field = agent_now_ms(c->a);
}

static bool is_any_of(const char *s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(s, words[i]) == 0)
            return true;
    return false;
}

static int check_dataset(struct console *c, struct dataset_published *d, struct err *err)
{
    static const char *const FORMATS[] = {"csv", "npy", "npz"};
    default_time(&d->published_unix_ms, c);
    if (!d->dataset || !pipeline_name_is_valid(d->dataset))
        return err_inval(err, "dataset: give a name of lower-case letters, digits, '.', '_' and "
                              "'-', 64 at most");
    if (!d->uri || !(str_has_prefix(d->uri, "file://") || str_has_prefix(d->uri, "http://") ||
                     str_has_prefix(d->uri, "https://")))
        return err_inval(err, "uri: give file:///path, http:// or https://, not '%.200s'",
                         d->uri ? d->uri : "");
    if (d->format && !is_any_of(d->format, FORMATS, ARRAY_LEN(FORMATS)))
        return err_inval(err, "format: give csv, npy or npz, not '%.40s'", d->format);
    if (d->sha256 && !digest_is_hex(d->sha256))
        return err_inval(err, "sha256: give 64 lower-case hex digits");
    if (d->size_bytes != ABSENT_I64 && d->size_bytes < 0)
        return err_inval(err, "size_bytes: give 0 or more");
    if (d->rows != ABSENT_I64 && d->rows < 0)
        return err_inval(err, "rows: give 0 or more");
    return 0;
}

int intake_line(const char *line, struct err *err)
{
    char pipeline[PIPELINE_NAME_MAX + 1], segment[PIPELINE_NAME_MAX + 1];
    if (!line || !line_split(line, pipeline, segment))
        return err_inval(err, "line: give PIPELINE or PIPELINE/SEGMENT, not '%.200s'",
                         line ? line : "");
    return 0;
}

static int check_command(struct console *c, struct operator_commanded *o, struct err *err)
{
    default_time(&o->commanded_unix_ms, c);
    if (!o->command || !o->command[0])
        return err_inval(
            err, "command: give approve, reject, force, rollback, retrain, pause or resume");
    return intake_line(o->line, err);
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
    return intake_line(d->line, err);
}

int intake_label(struct console *c, struct label_observed *l, struct err *err)
{
    default_time(&l->observed_unix_ms, c);
    if (!l->prediction || !l->prediction[0])
        return err_inval(err, "prediction: give the id that the prediction's answer named");
    if (!l->value || !l->value[0])
        return err_inval(err, "value: give the label");
    return intake_line(l->line, err);
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
        rc = intake_label(c, own, err);
    if (!rc)
        *ret = own;
    return rc;
}

bool intake_is_type(const struct httpd_request *rq, const char *type)
{
    const char *given = httpd_header(rq, "Content-Type");
    size_t n = strlen(type);
    return given && strncasecmp(given, type, n) == 0 &&
           (given[n] == '\0' || given[n] == ';' || given[n] == ' ' || given[n] == '+');
}

/* ---- one record ---- */

static void take_one(struct console *c, struct httpd_request *rq, enum record r)
{
    struct err err = {0};
    struct batch *b = batch_new(c, rq);
    struct batch_item item = {.record = r};
    const struct json *j = batch_json(b, &err);
    if (!j || intake_record(c, r, j, batch_arena(b), &item.rec, &err) || batch_add(b, &item, &err))
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
}

void intake_dataset(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    (void)segs;
    take_one(c, rq, RECORD_DATASET_PUBLISHED);
}

void intake_command(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    (void)segs;
    take_one(c, rq, RECORD_OPERATOR_COMMANDED);
}

void intake_alert(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    (void)segs;
    take_one(c, rq, RECORD_DRIFT_DETECTED);
}

/* ---- pipelines ---- */

static int pipeline_record(struct console *c, struct slice yaml, const char *by,
                           struct arena *arena, const void **ret, struct err *err)
{
    struct pipeline *p = NULL;
    if (yaml.n > PIPELINE_MAX_BYTES)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "the pipeline is larger than %zu bytes",
                       PIPELINE_MAX_BYTES);
    if (pipeline_parse(yaml, "pipeline", &p, err))
        return -1;
    const struct event *before = agent_pipeline_event(c->a, p->name);
    struct pipeline_declared *d = arena_alloc(arena, sizeof(*d));
    *d = (struct pipeline_declared){
        .name = arena_strdup(arena, p->name),
        .yaml = arena_strndup(arena, yaml.p, yaml.n),
        .sha256 = arena_strdup(arena, p->sha256),
        .by = by && by[0] ? arena_strdup(arena, by) : "http",
        .declared_unix_ms = agent_now_ms(c->a),
    };
    d->first_declared_unix_ms =
        before ? EV_REC(before, pipeline_declared)->first_declared_unix_ms : d->declared_unix_ms;
    pipeline_free(p);
    char digest[DIGEST_HEX_SIZE];
    if (EFFECT(store, "console.declare.put", FAULT_ERR(err), /* bytes before words */
               artifacts_put(agent_artifacts(c->a), yaml.p, yaml.n, digest, err)))
        return -1;
    *ret = d;
    return 0;
}

void intake_pipeline(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct batch *b = batch_new(c, rq);
    struct batch_item item = {.record = RECORD_PIPELINE_DECLARED};
    (void)segs;
    if (pipeline_record(c, httpd_body(rq), httpd_query(rq, "by"), batch_arena(b), &item.rec,
                        &err) ||
        batch_add(b, &item, &err))
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
}

void intake_withdraw(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct batch *b = batch_new(c, rq);
    struct batch_item item = {.record = RECORD_PIPELINE_DECLARED,
                              .key = arena_strdup(batch_arena(b), segs[0])};
    if (!agent_pipeline_event(c->a, segs[0])) {
        err_set(&err, ERR_NOTFOUND, NEXT_REJECT, "no pipeline %.100s is declared", segs[0]);
        batch_refuse(b, 404, &err);
    } else if (batch_add(b, &item, &err)) {
        batch_refuse(b, 400, &err);
    } else {
        batch_send(b);
    }
}
