#include "agents/monitor/series.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

const char *measure_str(enum measure m)
{
    static const char *const words[] = {[MEASURE_WINDOW] = "window", [MEASURE_QUALITY] = "quality"};

    return words[(unsigned)m < MEASURE_COUNT ? m : MEASURE_WINDOW];
}

/* ---- windows ---- */

static struct window *window_new(struct series *s, int64_t number, int64_t offset,
                                 const char *first_row)
{
    struct window *w = xcalloc(1, sizeof(*w));
    struct windows *all = s->all;

    w->series = s;
    w->number = number;
    w->from_offset = w->to_offset = offset;
    w->first_row = xstrdup(first_row);
    w->labels_from = -1;
    w->pieces_end = &w->pieces;
    w->prev = all->last;
    *(all->last ? &all->last->next : &all->first) = w;
    all->last = w;
    all->n++;
    s->n++;
    return w;
}

static void window_free(struct window *w, bool is_judged)
{
    struct windows *all = w->series->all;

    *(w->prev ? &w->prev->next : &all->first) = w->next;
    *(w->next ? &w->next->prev : &all->last) = w->prev;
    all->n--;
    all->due_rows -= w->is_due[MEASURE_QUALITY] ? w->tracked : 0;
    w->series->n--;
    while (w->pieces) {
        struct piece *p = w->pieces;

        w->pieces = p->next;
        if (is_judged)
            join_over(all->join, p);
        else
            join_remove(all->join, p);
    }
    counts_fini(&w->counts);
    event_free(w->closed_by);
    free_ptr(&w->first_row);
    free_ptr(&w->last_row);
    free_ptr(&w);
}

static void make_due(struct window *w, enum measure m)
{
    struct series *s = w->series;

    if (w->is_due[m])
        return;
    w->is_due[m] = true;
    if (m == MEASURE_QUALITY)
        s->all->due_rows += w->tracked;
    *(s->due_last[m] ? &s->due_last[m]->next_due[m] : &s->due[m]) = w;
    s->due_last[m] = w;
}

static void look_whether_labelled(struct window *w)
{
    if (w->closed_by && w->labelled == w->tracked)
        make_due(w, MEASURE_QUALITY);
}

/* What an emission needs of its cause. */
static struct event *header_of(const struct event *ev)
{
    struct event *copy = xcalloc(1, sizeof(*copy));

    copy->type = ev->type;
    copy->id = arena_strdup(&copy->arena, ev->id);
    copy->correlation = arena_strdup(&copy->arena, ev->correlation);
    copy->trace = arena_strdup(&copy->arena, ev->trace);
    copy->seen = arena_strdup(&copy->arena, ev->seen);
    copy->time_unix_us = ev->time_unix_us;
    copy->hops = ev->hops;
    copy->partition = ev->partition;
    copy->offset = ev->offset;
    return copy;
}

/* ---- marks ---- */

static int64_t last_index(const struct health_measured *h)
{
    const char *dot = h->last_prediction ? strrchr(h->last_prediction, '.') : NULL;
    int64_t v = 0;

    return dot && str_to_i64(dot + 1, &v) == 0 ? v : 0;
}

static struct mark *find_mark(struct series *s, int64_t number)
{
    for (size_t i = 0; i < s->n_marks; i++)
        if (s->marks[i].number == number)
            return &s->marks[i];
    return NULL;
}

static int by_number(const void *x, const void *y)
{
    const struct mark *a = x, *b = y;

    return a->number < b->number ? -1 : a->number > b->number;
}

void series_init(struct series *s, int64_t generation, struct windows *all, const struct line *l,
                 const char *cluster, int partition)
{
    const struct event_list *list = &l->ev[RECORD_HEALTH_MEASURED];
    size_t cap = 0;

    *s = (struct series){.generation = generation, .all = all};
    for (size_t i = 0; i < list->n; i++) {
        const struct health_measured *h = EV_REC(list->items[i], health_measured);

        if (h->generation != generation || strcmp(h->kind, "window") != 0)
            continue;
        if (h->window >= s->next_number)
            s->next_number = h->window + 1;
        if (strcmp(h->cluster, cluster) != 0 || h->partition != partition ||
            find_mark(s, h->window))
            continue;
        s->marks = xgrow(s->marks, &cap, s->n_marks + 1, sizeof(*s->marks));
        s->marks[s->n_marks++] = (struct mark){
            .number = h->window,
            .from_offset = h->from_offset,
            .to_offset = h->to_offset,
            .last_row = last_index(h),
            .rows = h->predictions,
            .first_id = h->first_prediction,
            .last_id = h->last_prediction,
        };
    }
    if (s->n_marks)
        qsort(s->marks, s->n_marks, sizeof(*s->marks), by_number);
    for (size_t i = 0; i < list->n; i++) {
        const struct health_measured *h = EV_REC(list->items[i], health_measured);
        struct mark *m = h->generation == generation && strcmp(h->kind, "quality") == 0
                             ? find_mark(s, h->window)
                             : NULL;

        if (m && !m->judged_unix_ms)
            m->judged_unix_ms = h->measured_unix_ms > 0 ? h->measured_unix_ms : 1;
    }
}

void series_fini(struct series *s)
{
    struct window *w = s->all ? s->all->first : NULL, *next;

    for (; w; w = next) {
        next = w->next;
        if (w->series == s)
            window_free(w, false);
    }
    free_ptr(&s->marks);
    *s = (struct series){0};
}

/* The mark that row i of the record at this offset belongs to: NULL: it is newer than all of them;
 * *ret_skip: it lies between two and counts nowhere. */
static struct mark *mark_of(struct series *s, int64_t offset, int64_t row, bool *ret_skip)
{
    *ret_skip = false;
    for (; s->mark_at < s->n_marks; s->mark_at++) {
        struct mark *m = &s->marks[s->mark_at];

        if (offset < m->to_offset || (offset == m->to_offset && row <= m->last_row)) {
            *ret_skip = offset < m->from_offset;
            return m;
        }
        if (m->window && !m->window->closed_by) { /* its end was not in the log any more */
            window_free(m->window, false);
            m->window = NULL;
        }
    }
    return NULL;
}

/* ---- rows ---- */

struct taking {
    struct series *s;
    const struct event *ev;
    const struct prediction_served *r;
    series_piece_fn on_piece;
    void *ctx;
};

static char *row_id(const struct prediction_served *r, size_t row)
{
    return xasprintf("%s.%zu", r->prediction, row);
}

static void add_piece(struct taking *t, struct window *w, size_t from, size_t n)
{
    const struct prediction_served *r = t->r;
    struct piece *p = join_add(t->s->all->join, r->prediction, from, n, (size_t)r->rows,
                               (size_t)r->outputs_per_row, r->outputs.items);

    p->window = w;
    p->served_unix_ms = r->served_unix_ms;
    *w->pieces_end = p;
    w->pieces_end = &p->next;
    w->tracked += n;
    if (t->on_piece)
        t->on_piece(t->ctx, w, p);
}

/* Row `last` was the last one. */
static void close_window(struct taking *t, struct window *w, size_t last)
{
    w->to_offset = t->ev->offset;
    free_ptr(&w->last_row);
    w->last_row = row_id(t->r, last);
    w->closed_by = header_of(t->ev);
    if (!w->is_done[MEASURE_WINDOW])
        make_due(w, MEASURE_WINDOW);
    look_whether_labelled(w);
}

/* Rows from `from` on that belong to a window of the health table; returns how many they are. */
static size_t take_measured(struct taking *t, struct mark *m, size_t from)
{
    size_t rows = (size_t)t->r->rows;
    bool is_end = t->ev->offset == m->to_offset && m->last_row < (int64_t)rows;
    size_t upto = is_end ? (size_t)m->last_row + 1 : rows;

    if (m->judged_unix_ms) {
        join_note(t->s->all->join, t->r->prediction, m->judged_unix_ms);
        return upto - from;
    }
    if (!m->window) {
        m->window = window_new(t->s, m->number, m->from_offset, m->first_id);
        m->window->rows = m->rows;
        m->window->is_done[MEASURE_WINDOW] = true;
    }
    m->window->last_served_unix_ms = t->r->served_unix_ms;
    add_piece(t, m->window, from, upto - from);
    if (is_end) {
        close_window(t, m->window, upto - 1);
        m->window = NULL; /* from here on it lives by itself */
    }
    return upto - from;
}

static size_t take_open(struct taking *t, size_t from, int64_t window_rows)
{
    const struct prediction_served *r = t->r;
    struct series *s = t->s;
    struct window *w = s->open;
    size_t n = (size_t)r->rows - from;
    int64_t room;

    if (!w) {
        CLEANUP_FREE char *first = row_id(r, from);

        w = s->open = window_new(s, s->next_number++, t->ev->offset, first);
        w->reference = s->reference;
        counts_init(&w->counts, w->reference);
    }
    room = window_rows > w->rows ? window_rows - w->rows
                                 : 1; /* the window was declared smaller meanwhile */
    if ((int64_t)n > room)
        n = (size_t)room;
    for (size_t i = from; i < from + n; i++)
        counts_add(&w->counts, w->reference, r->features.items + i * (size_t)r->features_per_row,
                   r->outputs.items + i * (size_t)r->outputs_per_row);
    w->rows += (int64_t)n;
    w->last_served_unix_ms = r->served_unix_ms;
    w->to_offset = t->ev->offset;
    add_piece(t, w, from, n);
    if (w->rows >= window_rows) {
        s->open = NULL;
        close_window(t, w, from + n - 1);
    }
    return n;
}

void series_take(struct series *s, const struct event *ev, int64_t window_rows,
                 series_piece_fn on_piece, void *ctx)
{
    struct taking t = {.s = s, .ev = ev, .r = ev->rec, .on_piece = on_piece, .ctx = ctx};

    for (size_t at = 0; at < (size_t)t.r->rows;) {
        bool skip;
        struct mark *m = mark_of(s, ev->offset, (int64_t)at, &skip);

        if (skip)
            at = (size_t)t.r->rows;
        else
            at += m ? take_measured(&t, m, at) : take_open(&t, at, window_rows);
    }
}

bool series_fits(const struct prediction_served *r, const struct reference *ref,
                 const char **ret_why)
{
    enum { MOST_ROWS = 1000000, MOST_WIDTH = 1 << 16 };

    *ret_why = NULL;
    if (r->rows < 1 || r->rows > MOST_ROWS || r->features_per_row < 0 ||
        r->features_per_row > MOST_WIDTH || r->outputs_per_row < 1 ||
        r->outputs_per_row > MOST_WIDTH)
        *ret_why = "its counts are out of range";
    else if (r->features.n != (size_t)(r->rows * r->features_per_row) ||
             r->outputs.n != (size_t)(r->rows * r->outputs_per_row))
        *ret_why = "its lists are not as long as its counts say";
    else if (!r->prediction || !r->prediction[0])
        *ret_why = "it has no id";
    else if (ref && ref->model &&
             ((size_t)r->features_per_row != ref->n_features ||
              (size_t)r->outputs_per_row != ref->n_outputs))
        *ret_why = "it does not have the features and outputs of its model";
    return !*ret_why;
}

/* ---- labels ---- */

enum label_fate series_label(struct piece *p, size_t row, const struct label *l,
                             int64_t lateness_ms)
{
    struct window *w = p->window;
    const struct reference *ref = w->reference ? w->reference : w->series->reference;
    double y = ref && ref->model ? model_label(ref->model, l->value) : NAN;

    if (p->state[row] != ROW_OPEN)
        return LABEL_REPEATED;
    if (w->is_due[MEASURE_QUALITY] || (l->observed_unix_ms != ABSENT_I64 &&
                                       l->observed_unix_ms - p->served_unix_ms > lateness_ms))
        return LABEL_LATE;
    p->state[row] = isnan(y) ? ROW_UNUSABLE : ROW_LABELLED;
    p->y[row] = (float)y;
    w->labelled++;
    if (w->labels_from < 0 || l->offset < w->labels_from)
        w->labels_from = l->offset;
    look_whether_labelled(w);
    return LABEL_COUNTED;
}

void series_expire(struct series *s, int64_t now_unix_ms, int64_t lateness_ms, int64_t *ret_next_ms)
{
    *ret_next_ms = INT64_MAX;
    for (struct window *w = s->all->first; w; w = w->next) {
        int64_t end_ms = w->last_served_unix_ms + lateness_ms;

        if (w->series != s || !w->closed_by || w->is_due[MEASURE_QUALITY])
            continue;
        if (end_ms <= now_unix_ms)
            make_due(w, MEASURE_QUALITY);
        else if (end_ms < *ret_next_ms)
            *ret_next_ms = end_ms;
    }
}

struct window *windows_hurry(struct windows *all)
{
    for (struct window *w = all->first; w; w = w->next) {
        if (!w->closed_by || w->is_due[MEASURE_QUALITY])
            continue;
        w->is_hurried = true;
        make_due(w, MEASURE_QUALITY);
        return w;
    }
    return NULL;
}

/* ---- the end of a window ---- */

void series_done(struct series *s, enum measure m)
{
    struct window *w = s->due[m];

    s->due[m] = w->next_due[m];
    if (!s->due[m])
        s->due_last[m] = NULL;
    w->is_done[m] = true;
    if (w->is_done[MEASURE_WINDOW] && w->is_done[MEASURE_QUALITY])
        window_free(w, true);
}

int64_t series_drop_open(struct series *s)
{
    struct window *w = s->open;
    int64_t rows = w ? w->rows : 0;

    s->open = NULL;
    if (w)
        window_free(w, true);
    return rows;
}

/* ---- positions ---- */

int64_t windows_predictions_from(const struct windows *all)
{
    int64_t from = -1;

    for (const struct window *w = all->first; w; w = w->next)
        if (from < 0 || w->from_offset < from)
            from = w->from_offset;
    return from;
}

int64_t windows_labels_from(const struct windows *all)
{
    int64_t from = -1;

    for (const struct window *w = all->first; w; w = w->next)
        if (w->labels_from >= 0 && (from < 0 || w->labels_from < from))
            from = w->labels_from;
    return from;
}
