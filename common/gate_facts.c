/* Facts about a candidate that are no metrics of its answers: what the events of its run and of its
 * data say. */
#include <math.h>
#include <string.h>

#include "common/gate_internal.h"

struct told { /* what there is to tell from; NULL: not in the log */
    const struct model_evaluated *e;
    const struct training_finished *run;
    const struct event *data; /* the newest snapshot that the run learned from */
    int64_t now_unix_ms;
};

static const struct dataset_ingested *data_of(const struct told *t)
{
    return t->data ? t->data->rec : NULL;
}

static double share(int64_t part, int64_t rest)
{
    return part + rest > 0 ? (double)part / (double)(part + rest) : NAN;
}

static double of_run(const struct told *t, const char *name)
{
    const struct training_finished *f = t->run;
    if (!f)
        return NAN;
    if (strcmp(name, "trained_rows") == 0)
        return (double)f->trained_rows;
    if (strcmp(name, "valid_rows") == 0)
        return (double)f->valid_rows;
    if (strcmp(name, "train_seconds") == 0)
        return f->seconds;
    if (strcmp(name, "train_cpu_seconds") == 0)
        return f->cpu_seconds;
    return strcmp(name, "train_memory") == 0 ? (double)f->max_rss_bytes : NAN;
}

static double of_data(const struct told *t, const char *name)
{
    const struct dataset_ingested *d = data_of(t);
    if (!d)
        return NAN;
    if (strcmp(name, "data_rows") == 0)
        return (double)d->rows;
    if (strcmp(name, "data_age_hours") == 0)
        return ((double)t->now_unix_ms - (double)t->data->time_unix_us / 1000) / 3600000;
    if (strcmp(name, "data_violations") == 0)
        return (double)d->violations.n;
    if (strcmp(name, "quarantined_share") == 0)
        return share(d->rows_quarantined, d->rows);
    return strcmp(name, "seen_before_share") == 0
               ? share(d->rows_seen_before, d->rows - d->rows_seen_before)
               : NAN;
}

double gate__fact(const struct judgement_case *c, const char *name, const char **ret_why)
{
    struct told t = {.e = c->e, .now_unix_ms = c->now_unix_ms};
    bool is_of_data = strncmp(name, "data_", 5) == 0 || strstr(name, "_share");
    const struct event *ev =
        c->l ? line_find(c->l, RECORD_TRAINING_FINISHED, c->e->model_event) : NULL;
    t.run = ev ? ev->rec : NULL;
    if (t.run && t.run->snapshots.n) /* oldest first */
        t.data = line_find(c->l, RECORD_DATASET_INGESTED,
                           t.run->snapshots.items[t.run->snapshots.n - 1].event);
    *ret_why = !t.run                  ? "the log has no result of this run"
               : is_of_data && !t.data ? "the log has no snapshot that this run learned from"
                                       : "not a finite number";
    if (strcmp(name, "evaluated_rows") == 0)
        return (double)c->e->rows;
    return is_of_data ? of_data(&t, name) : of_run(&t, name);
}
