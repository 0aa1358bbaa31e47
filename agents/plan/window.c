#include "agents/plan/window.h"

bool window_can_use(const struct pipeline *p, const struct dataset_ingested *d)
{
    return d->status && strcmp(d->status, "accepted") == 0 && d->snapshot && d->dataset &&
           strcmp(d->dataset, p->dataset) == 0;
}

static int by_digest(const void *a, const void *b)
{
    const struct dataset_ingested *x = (*(const struct event *const *)a)->rec;
    const struct dataset_ingested *y = (*(const struct event *const *)b)->rec;

    return strcmp(x->snapshot, y->snapshot);
}

/* Are there two of the same bytes among these?  Rare, so the common case is one sort. */
static bool has_repeats(const struct event *const *events, size_t n, struct arena *arena)
{
    const struct event **sorted = arena_alloc(arena, (n + 1) * sizeof(*sorted));

    memcpy(sorted, events, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_digest);
    for (size_t i = 1; i < n; i++)
        if (by_digest(&sorted[i - 1], &sorted[i]) == 0)
            return true;
    return false;
}

/* Drops every later (older) one of the same bytes; newest first. */
static size_t drop_repeats(const struct event **events, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        size_t j = 0;

        while (j < kept && by_digest(&events[j], &events[i]) != 0)
            j++;
        if (j == kept)
            events[kept++] = events[i];
    }
    return kept;
}

/* Usable snapshots, newest first, each bytes once. */
static size_t candidates(const struct line *l, const struct pipeline *p, size_t max,
                         struct arena *arena, const struct event ***ret)
{
    const struct event_list *all = &l->ev[RECORD_DATASET_INGESTED];
    const struct event **found =
        arena_alloc(arena, (all->n < max ? all->n : max) * sizeof(*found) + sizeof(*found));
    size_t n = 0;

    for (size_t i = all->n; i-- > 0;) {
        if (!window_can_use(p, all->items[i]->rec))
            continue;
        found[n++] = all->items[i];
        if (n == max && !has_repeats(found, n, arena))
            break;
        if (n == max)
            n = drop_repeats(found, n);
    }
    if (has_repeats(found, n, arena))
        n = drop_repeats(found, n);
    *ret = found;
    return n;
}

void window_choose(const struct line *l, const struct pipeline *p, size_t max, struct arena *arena,
                   struct window *ret)
{
    const struct event **events;
    size_t want = p->window == WINDOW_SNAPSHOTS && (size_t)p->window_size < max
                      ? (size_t)p->window_size
                      : max;
    size_t n = candidates(l, p, want, arena, &events);
    struct snapshot_ref *refs = arena_alloc(arena, (n + 1) * sizeof(*refs));
    int64_t rows = 0;
    size_t taken = 0;

    while (taken < n && (p->window != WINDOW_ROWS || rows < p->window_size)) {
        const struct dataset_ingested *d = events[taken]->rec;

        rows += d->train_rows;
        refs[n - 1 - taken] = (struct snapshot_ref){
            .snapshot = d->snapshot, .event = events[taken]->id, .rows = d->train_rows};
        taken++;
    }
    *ret = (struct window){.snapshots = {refs + (n - taken), taken}, .rows = rows};
}
