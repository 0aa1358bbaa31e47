/* What an event says, as a number: see verify_content in verify_ids.h. */
#include <string.h>

#include "agents/relearn/verify_ids.h"
#include "common/codec.h"
#include "common/line.h"
#include "common/mem.h"

/* ---- what agents say: what it is about ---- */

static void identity(const struct event *ev, struct buf *out)
{
    const struct training_planned *p = ev->rec;
    const struct training_finished *f = ev->rec;
    const struct model_evaluated *m = ev->rec;
    const struct gate_decided *g = ev->rec;
    const struct deployment_changed *d = ev->rec;
    const struct health_measured *h = ev->rec;
    const struct dataset_ingested *s = ev->rec;
    const struct serving_changed *v = ev->rec;

    buf_addf(out, "%s|", ev->cause ? ev->cause : "");
    switch (ev->type) {
    case RECORD_DATASET_INGESTED:
        buf_addf(out, "%s|%s", s->line, s->dataset_event);
        break;
    case RECORD_TRAINING_PLANNED:
        buf_addf(out, "%s|%s|%lld", p->line, p->kind, (long long)p->base);
        break;
    case RECORD_TRAINING_FINISHED:
        buf_addf(out, "%s|%s", f->line, f->run);
        break;
    case RECORD_MODEL_EVALUATED:
        buf_addf(out, "%s|%s|%s|%lld", m->line, m->run, m->model_event, (long long)m->against);
        break;
    case RECORD_GATE_DECIDED: /* a refusal stands in no chain */
        buf_addf(out, "%s|%lld", g->line,
                 strcmp(g->verdict, "refused") == 0 ? -1 : (long long)g->base);
        break;
    case RECORD_DEPLOYMENT_CHANGED:
        buf_addf(out, "%s|%s|%lld", d->line, d->kind, (long long)d->base);
        break;
    case RECORD_HEALTH_MEASURED:
        buf_addf(out, "%s|%s|%lld|%lld", h->line, h->kind, (long long)h->generation,
                 (long long)h->window);
        break;
    case RECORD_SERVING_CHANGED:
        buf_addf(out, "%s|%s", v->instance, v->changed_line ? v->changed_line : "");
        break;
    default:
        buf_addf(out, "%s", ev->key);
        break;
    }
}

/* ---- what others say ---- */

static struct slice payload(struct slice value)
{
    enum { CONFLUENT_BYTES = 5, SINGLE_OBJECT_BYTES = 10 };
    size_t n = value.n && value.p[0] == 0 ? CONFLUENT_BYTES : SINGLE_OBJECT_BYTES;

    return value.n > n ? (struct slice){value.p + n, value.n - n} : value;
}

static bool is_said_by_agents(const struct event *ev)
{
    switch (ev->type) {
    case RECORD_PIPELINE_DECLARED:
    case RECORD_DATASET_PUBLISHED:
    case RECORD_OPERATOR_COMMANDED:
    case RECORD_LABEL_OBSERVED:
        return false;
    case RECORD_DRIFT_DETECTED: {
        const char *source = EV_REC(ev, drift_detected)->source;
        return source && strcmp(source, "monitor") == 0;
    }
    default:
        return true;
    }
}

/* What people and other tools say, but for when: an intake that is asked again with the same
 * Idempotency-Key fills in the time anew. */
static void statement(const struct event *ev, struct buf *out)
{
    static const char *const TIMES[] = {"declared_unix_ms", "first_declared_unix_ms",
                                        "published_unix_ms", "commanded_unix_ms",
                                        "detected_unix_ms"};
    const struct label_observed *l = ev->rec;
    struct json *j;

    if (ev->type == RECORD_LABEL_OBSERVED) { /* of these there are millions */
        buf_addf(out, "%s|%s|%s|%s", l->line, l->prediction, l->value, l->by ? l->by : "");
        return;
    }
    j = codec_to_json(ev->type, ev->rec);
    for (size_t i = 0; i < ARRAY_LEN(TIMES); i++)
        json_set_null(j, TIMES[i]);
    json_write(j, 0, false, out);
    json_free(j);
}

uint64_t verify_content(const struct event *ev, struct slice value)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (ev->type == RECORD_PREDICTION_SERVED) /* made once, and there are many */
        return spool_hash(payload(value));
    if (is_said_by_agents(ev))
        identity(ev, &text);
    else
        statement(ev, &text);
    return spool_hash(buf_slice(&text));
}
