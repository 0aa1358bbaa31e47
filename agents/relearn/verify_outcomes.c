/* Datasets against the outcomes of one pipeline's lines.  What is owed is what ingest promises:
 * every version published since the pipeline was first declared, and of the older ones the newest.
 */
#include <string.h>

#include "agents/relearn/verify_internal.h"
#include "common/strset.h"

static bool is_older(const struct verify_pipeline *p, size_t i)
{
    return p->datasets[i].ev->time_unix_us / 1000 < p->first_declared_unix_ms;
}

static bool is_owed(const struct verify_pipeline *p, size_t i)
{
    for (size_t k = i + 1; is_older(p, i) && k < p->n_datasets; k++)
        if (is_older(p, k))
            return false; /* there is a newer one among the older ones */
    return true;
}

static void refute(struct findings *f, const struct verify_event *e, const char *line,
                   const char *todo, const char *what)
{
    const struct finding_of of = {.check = VERIFY_OUTCOMES,
                                  .at = {e->ev->type, e->ev->partition, e->ev->offset},
                                  .id = e->ev->id,
                                  .line = line,
                                  .todo = todo};

    if (e->is_judged)
        findings_add(f, &of, "%s", what);
}

/* Each line has at most one outcome of a dataset event; those that have one. */
static void outcomes_of(const struct verify_pipeline *p, const char *dataset_event,
                        struct strset *ret_lines, struct findings *f)
{
    for (size_t i = 0; i < p->n_lines; i++) {
        struct verify_group g =
            verify__answers(p->lines[i], RECORD_DATASET_INGESTED, dataset_event);
        CLEANUP_FREE char *what = NULL;

        if (g.n)
            strset_add(ret_lines, slice_str(p->lines[i]->key));
        if (g.n < 2)
            continue;
        what = xasprintf("is a second outcome of dataset %s for this line: the first is %s "
                         "(snapshots[%d]@%lld)",
                         dataset_event, g.items[0]->ev->id, g.items[0]->ev->partition,
                         (long long)g.items[0]->ev->offset);
        refute(f, g.items[1], p->lines[i]->key,
               "find out who wrote it: an outcome has one id, whoever made it", what);
    }
}

static void missing(const struct verify_pipeline *p, const struct verify_dataset *d,
                    const struct verify_clock *c, const char *line, struct findings *f)
{
    struct check check = {.clock = c, .f = f};
    int64_t since =
        d->appended_unix_ms > p->declared_unix_ms ? d->appended_unix_ms : p->declared_unix_ms;
    const struct finding_of of = {.check = VERIFY_OUTCOMES,
                                  .at = {d->ev->type, d->ev->partition, d->ev->offset},
                                  .id = d->ev->id,
                                  .line = line,
                                  .todo = "look whether ingest runs: `relearn status`; it takes "
                                          "what is owed when it is started"};

    if (!verify__is_over(&check, since))
        f->open[VERIFY_OUTCOMES]++;
    else
        findings_add(f, &of, "was neither accepted nor rejected for %s", line);
}

static void dataset(const struct verify_pipeline *p, size_t i, const struct verify_clock *c,
                    struct findings *f)
{
    const struct verify_dataset *d = &p->datasets[i];
    CLEANUP(strset_fini) struct strset lines = {0};

    f->looked[VERIFY_OUTCOMES] += d->is_judged;
    outcomes_of(p, d->ev->id, &lines, f);
    if (!d->is_judged || !is_owed(p, i))
        return;
    if (!lines.n && !d->n_lines)
        missing(p, d, c, p->name, f);
    for (size_t k = 0; k < d->n_lines; k++)
        if (strset_find(&lines, slice_str(d->lines[k])) == STRSET_NONE)
            missing(p, d, c, d->lines[k], f);
}

/* What an outcome says for itself. */
static void outcome(const struct verify_line *l, const struct verify_event *e, struct findings *f)
{
    const struct dataset_ingested *s = e->ev->rec;
    bool is_accepted = verify__is(s->status, "accepted");
    CLEANUP_FREE char *what = NULL;

    f->looked[VERIFY_OUTCOMES] += e->is_judged;
    if (!verify__is(s->dataset_event, e->ev->cause)) {
        what = xasprintf("is of dataset event %s and was caused by %s",
                         verify__short(s->dataset_event), verify__short(e->ev->cause));
        refute(f, e, l->key, "find out who wrote it", what);
    }
    if (is_accepted ? !s->snapshot : !s->reason || !s->reason[0])
        refute(f, e, l->key, "publish the dataset again",
               is_accepted ? "is accepted and names no snapshot"
                           : "is rejected and gives no reason");
}

void verify_outcomes(const struct verify_pipeline *p, const struct verify_clock *c,
                     struct findings *f)
{
    for (size_t i = 0; p->dataset && i < p->n_datasets; i++)
        dataset(p, i, c, f);
    for (size_t i = 0; i < p->n_lines; i++) {
        const struct verify_list *list = &p->lines[i]->ev[RECORD_DATASET_INGESTED];

        for (size_t k = 0; k < list->n; k++)
            if (verify__counts(&list->items[k]))
                outcome(p->lines[i], &list->items[k], f);
    }
}
