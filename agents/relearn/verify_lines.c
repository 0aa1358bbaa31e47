/* From the spool: each pipeline's events, line by line, through the checks. */
#include "agents/relearn/verify_take_internal.h"

#include <string.h>

#include "common/line.h"
#include "common/strset.h"

struct line_of { /* a line of the pipelines in one file of the spool */
    struct verify_line *l;
    UT_hash_handle hh;
};
struct pipeline_of {
    char *name;
    struct verify_dataset *datasets;
    size_t n_datasets, cap_datasets;
    struct strset dataset_ids;
    UT_hash_handle hh;
};
struct part { /* everything in one file */
    struct material *m;
    struct codec *codec;
    struct line_of *lines;
    struct pipeline_of *pipelines;
};

static void dataset_fini(struct verify_dataset *d)
{
    for (size_t i = 0; i < d->n_lines; i++)
        free_ptr(&d->lines[i]);
    free_ptr(&d->lines);
    event_free(d->ev);
}

static void part_free(struct part *p)
{
    struct line_of *l, *next_l;
    struct pipeline_of *x, *next_x;

    HASH_ITER (hh, p->lines, l, next_l) {
        HASH_DEL(p->lines, l);
        verify_line_free(l->l);
        free_ptr(&l);
    }
    HASH_ITER (hh, p->pipelines, x, next_x) {
        HASH_DEL(p->pipelines, x);
        for (size_t i = 0; i < x->n_datasets; i++)
            dataset_fini(&x->datasets[i]);
        free_ptr(&x->datasets);
        strset_fini(&x->dataset_ids);
        free_ptr(&x->name);
        free_ptr(&x);
    }
}

static struct pipeline_of *pipeline_of(struct part *p, const char *name, size_t n)
{
    struct pipeline_of *x = NULL;

    HASH_FIND(hh, p->pipelines, name, n, x);
    if (x)
        return x;
    x = xcalloc(1, sizeof(*x));
    x->name = xstrndup(name, n);
    HASH_ADD_KEYPTR(hh, p->pipelines, x->name, n, x);
    return x;
}

static struct verify_line *line_of(struct part *p, const char *key)
{
    struct line_of *x = NULL;

    HASH_FIND_STR(p->lines, key, x);
    if (x)
        return x->l;
    x = xcalloc(1, sizeof(*x));
    x->l = verify_line_new(key);
    HASH_ADD_KEYPTR(hh, p->lines, x->l->key, strlen(x->l->key), x);
    pipeline_of(p, x->l->pipeline, strlen(x->l->pipeline));
    return x->l;
}

/* ---- events to their lines ---- */

/* A dataset's id counts once; takes ev. */
static void add_dataset(struct part *p, struct event *ev, int64_t appended_unix_ms, bool is_judged)
{
    struct pipeline_of *x = pipeline_of(p, ev->key, strlen(ev->key));

    x->datasets = xgrow(x->datasets, &x->cap_datasets, x->n_datasets + 1, sizeof(*x->datasets));
    x->datasets[x->n_datasets++] = (struct verify_dataset){
        .ev = ev, .appended_unix_ms = appended_unix_ms, .is_judged = is_judged};
}

static void add_report(struct part *p, const struct event *ev, const struct serving_line *s,
                       bool is_judged, bool is_newest)
{
    const struct serving_changed *rec = ev->rec;
    const struct verify_report r = {.at = {ev->type, ev->partition, ev->offset},
                                    .id = (char *)(uintptr_t)ev->id,
                                    .instance = (char *)(uintptr_t)rec->instance,
                                    .state = (char *)(uintptr_t)s->state,
                                    .model = (char *)(uintptr_t)s->model,
                                    .generation = s->generation,
                                    .sequence = s->sequence,
                                    .is_judged = is_judged,
                                    .is_newest = is_newest};

    verify_line_report(line_of(p, s->line), &r);
}

/* A report that is not its instance's newest: what it says of the line that it is about. */
static void add_old_report(struct part *p, const struct event *ev, bool is_judged)
{
    const struct serving_changed *rec = ev->rec;
    const struct instance *newest = NULL;

    HASH_FIND_STR(p->m->instances, rec->instance, newest);
    if (newest && newest->offset == ev->offset)
        return;
    for (size_t i = 0; i < rec->lines.n; i++)
        if (rec->changed_line && strcmp(rec->lines.items[i].line, rec->changed_line) == 0)
            add_report(p, ev, &rec->lines.items[i], is_judged, false);
}

static int add_event(struct part *p, struct slice bytes, struct err *err)
{
    struct event *ev;
    int64_t appended_unix_ms;
    bool is_judged;

    if (event_unpack(bytes, p->codec, &ev, &appended_unix_ms, &is_judged, err))
        return -1;
    if (ev->type == RECORD_DATASET_PUBLISHED) {
        add_dataset(p, ev, appended_unix_ms, is_judged);
    } else if (ev->type == RECORD_SERVING_CHANGED) {
        add_old_report(p, ev, is_judged);
        event_free(ev);
    } else {
        struct verify_line *l = line_of(p, ev->key);

        l->is_cut = material__is_cut(p->m, ev->partition);
        verify_line_add(l, ev, appended_unix_ms, is_judged);
    }
    return 0;
}

/* ---- what is in memory to its lines ---- */

static bool is_in(size_t file, const char *line)
{
    return spool_file(spool_hash((struct slice){line, strcspn(line, "/")})) == file;
}

/* An instance that is there and says nothing of a line whose pipeline is declared. */
static void add_silence(struct part *p, const struct event *ev, const struct strset *told,
                        bool is_judged)
{
    struct line_of *l, *next;

    HASH_ITER (hh, p->lines, l, next) {
        const struct declared *d = NULL;

        HASH_FIND_STR(p->m->declared, l->l->pipeline, d);
        if (!d || strset_find(told, slice_str(l->l->key)) != STRSET_NONE)
            continue;
        add_report(p, ev, &(struct serving_line){.line = l->l->key}, is_judged, true);
    }
}

static int add_instance(struct part *p, size_t file, const struct instance *x, struct err *err)
{
    CLEANUP(strset_fini) struct strset told = {0};
    int64_t appended_unix_ms;
    bool is_judged;
    struct event *ev;
    const struct serving_changed *rec;

    if (event_unpack(buf_slice(&x->report), p->codec, &ev, &appended_unix_ms, &is_judged, err))
        return -1;
    rec = ev->rec;
    for (size_t i = 0; i < rec->lines.n; i++) {
        if (!is_in(file, rec->lines.items[i].line))
            continue;
        add_report(p, ev, &rec->lines.items[i], is_judged, x->is_there);
        strset_add(&told, slice_str(rec->lines.items[i].line));
    }
    if (x->is_there)
        add_silence(p, ev, &told, is_judged);
    event_free(ev);
    return 0;
}

static int add_instances(struct part *p, size_t file, struct err *err)
{
    struct instance *x, *next;

    HASH_ITER (hh, p->m->instances, x, next)
        if (add_instance(p, file, x, err))
            return -1;
    return 0;
}

static void add_answers(struct part *p, size_t file)
{
    struct answered *x, *next;

    HASH_ITER (hh, p->m->answered, x, next)
        if (is_in(file, x->line))
            verify_line_answer(line_of(p, x->line), &x->a);
}

/* ---- checks ---- */

static int by_offset(const void *a, const void *b)
{
    const struct verify_dataset *x = a, *y = b;

    return (x->ev->offset > y->ev->offset) - (x->ev->offset < y->ev->offset);
}

/* In log order, each id once. */
static void sort_datasets(struct pipeline_of *x)
{
    size_t kept = 0;

    if (x->n_datasets > 1)
        qsort(x->datasets, x->n_datasets, sizeof(*x->datasets), by_offset);
    for (size_t i = 0; i < x->n_datasets; i++) {
        if (strset_add(&x->dataset_ids, slice_str(x->datasets[i].ev->id)) == kept)
            x->datasets[kept++] = x->datasets[i];
        else
            dataset_fini(&x->datasets[i]);
    }
    x->n_datasets = kept;
}

/* Which lines a segmented dataset has is known from the result alone that ingest left of it. */
static void read_lines(struct part *p, const char *pipeline, struct verify_dataset *d)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *root = NULL;
    const struct json *lines;
    struct err none = {0};
    char run[ID_SIZE];

    id_from_cause("ingest", d->ev->id, pipeline, run); /* as ingest calls it */
    if (artifacts_get_run(p->m->conf.artifacts, run, &text, &none) == 0)
        root = json_parse(buf_slice(&text), run, &none);
    lines = json_get(root, "lines");
    if (!json_len(lines))
        return;
    d->lines = xcalloc(json_len(lines), sizeof(*d->lines));
    for (size_t i = 0; i < json_len(lines); i++)
        d->lines[d->n_lines++] = xstrdup(json_get_str(json_at(lines, i), "line", pipeline));
}

static void check_outcomes(struct part *p, struct pipeline_of *x)
{
    struct verify_line **lines = xcalloc(HASH_COUNT(p->lines) + 1, sizeof(*lines));
    const struct declared *d = NULL;
    struct line_of *l, *next;
    struct verify_pipeline vp = {.name = x->name, .lines = lines};

    HASH_FIND_STR(p->m->declared, x->name, d);
    sort_datasets(x);
    HASH_ITER (hh, p->lines, l, next)
        if (strcmp(l->l->pipeline, x->name) == 0)
            lines[vp.n_lines++] = l->l;
    if (d) {
        vp.dataset = d->dataset;
        vp.is_segmented = d->is_segmented;
        vp.first_declared_unix_ms = d->first_declared_unix_ms;
        vp.declared_unix_ms = d->declared_unix_ms;
    }
    for (size_t i = 0; vp.is_segmented && i < x->n_datasets; i++)
        read_lines(p, x->name, &x->datasets[i]);
    vp.datasets = x->datasets;
    vp.n_datasets = x->n_datasets;
    verify_outcomes(&vp, &p->m->conf.clock, p->m->conf.f);
    free_ptr(&lines);
}

static int check_part(struct part *p, size_t file, struct buf *bytes, struct err *err)
{
    struct pipeline_of *x, *next_x;
    struct line_of *l, *next_l;
    struct slice s;

    if (spool_load(p->m->lines, file, bytes, err))
        return -1;
    for (size_t at = 0; spool_next(bytes, &at, &s);)
        if (add_event(p, s, err))
            return -1;
    if (add_instances(p, file, err))
        return -1;
    add_answers(p, file);
    HASH_ITER (hh, p->lines, l, next_l)
        verify_line_seal(l->l);
    HASH_ITER (hh, p->pipelines, x, next_x)
        check_outcomes(p, x);
    HASH_ITER (hh, p->lines, l, next_l)
        verify_line_check(l->l, &p->m->conf.clock, p->m->conf.f);
    return 0;
}

int material__check_lines(struct material *m, struct codec *codec, struct err *err)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    int rc = 0;

    for (size_t file = 0; file < SPOOL_FILES && !rc; file++) {
        struct part p = {.m = m, .codec = codec};

        rc = check_part(&p, file, &bytes, err);
        part_free(&p);
    }
    return rc;
}
