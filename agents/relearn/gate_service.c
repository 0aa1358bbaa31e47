#include "agents/relearn/gate_service.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void gate_service_fini(struct gate_service *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->items[i].decision);
        for (size_t k = 0; k < GATE_SERVICE_METRICS; k++)
            free(s->items[i].metrics[k]);
    }
    free(s->items);
    *s = (struct gate_service){0};
}

static struct generation_service *at(struct gate_service *s, int64_t generation)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].generation == generation)
            return &s->items[i];
    s->items = xgrow(s->items, &s->cap, s->n + 1, sizeof(*s->items));
    s->items[s->n] = (struct generation_service){.generation = generation};
    return &s->items[s->n++];
}

void gate_service_deployment(struct gate_service *s, const struct deployment_changed *d)
{
    if (!d->kind || strcmp(d->kind, "changed") != 0 || !d->decision)
        return;
    struct generation_service *g = at(s, d->generation);
    if (!g->decision)
        g->decision = xstrdup(d->decision);
}

void gate_service_health(struct gate_service *s, const struct health_measured *h)
{
    if (!h->kind || strcmp(h->kind, "quality") != 0 || h->labels <= 0)
        return;
    struct generation_service *g = at(s, h->generation);
    g->labels += h->labels;
    for (size_t i = 0; i < h->quality.n; i++) {
        const struct named_value *v = &h->quality.items[i];
        size_t k = 0;
        while (k < GATE_SERVICE_METRICS && g->metrics[k] && strcmp(g->metrics[k], v->name) != 0)
            k++;
        if (k == GATE_SERVICE_METRICS)
            continue;
        if (!g->metrics[k])
            g->metrics[k] = xstrdup(v->name);
        g->sums[k] += v->value * (double)h->labels;
    }
}

const struct generation_service *gate_service_generation(const struct gate_service *s,
                                                         int64_t generation)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].generation == generation)
            return &s->items[i];
    return NULL;
}

const struct generation_service *gate_service_of(const struct gate_service *s, const char *decision)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].decision && strcmp(s->items[i].decision, decision) == 0)
            return &s->items[i];
    return NULL;
}

double generation_service_value(const struct generation_service *g, size_t metric)
{
    return g && g->labels && metric < GATE_SERVICE_METRICS && g->metrics[metric]
               ? g->sums[metric] / (double)g->labels
               : NAN;
}

void generation_service_str(const struct generation_service *g, struct buf *out)
{
    if (!g || !g->labels) {
        buf_add_str(out, "no labels came");
        return;
    }
    for (size_t k = 0; k < GATE_SERVICE_METRICS && g->metrics[k]; k++)
        buf_addf(out, "%s%s %.5g", k ? ", " : "", g->metrics[k], generation_service_value(g, k));
    buf_addf(out, " over %lld labels", (long long)g->labels);
}
