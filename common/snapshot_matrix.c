/* Rows of several snapshots in one matrix.  First the target is settled (columns, dictionaries,
 * classes), then for each snapshot a plan says how each target column comes about, then the rows
 * are copied. */
#include "common/snapshot.h"

#include <math.h>

#include "common/mem.h"
#include "common/strset.h"

enum {
    CATEGORIES_MAX = 10000
}; /* as at ingest; numbers that become categories beyond it are missing */

enum how { HOW_MISSING = 0, HOW_COPY, HOW_TABLE, HOW_TEXT };
struct source { /* of one target column in one snapshot */
    enum how how;
    size_t column; /* of the snapshot */
    float *table;  /* HOW_TABLE: by code */
    size_t n_table;
};
struct target {
    struct snapshot_column *columns; /* without categories until the end */
    struct strset *categories;       /* one for each column */
    struct strset names;
    size_t n;
    struct strset classes;
    bool is_fixed; /* nothing may be added (like) */
};
struct loader {
    struct target t;
    struct source *sources; /* of the snapshot at hand, t.n */
    float *classes;         /* class index of the snapshot -> of the target */
    bool is_identity;       /* every column is copied from the same place */
    float *x, *y;
    uint64_t *hash;
    double *aside[ASIDE_COUNT];
    const char *aside_column[ASIDE_COUNT]; /* of the newest snapshot: what another column says is
                                              something else */
    size_t rows, cap_rows, skip;
};

/* ---- target ---- */

static void target_fini(struct target *t)
{
    for (size_t i = 0; i < t->n; i++)
        strset_fini(&t->categories[i]);
    free(t->categories);
    columns_free(t->columns, t->n);
    strset_fini(&t->names);
    strset_fini(&t->classes);
    *t = (struct target){0};
}

static void target_add_column(struct target *t, const struct snapshot_column *c, size_t max)
{
    size_t j = strset_add(&t->names, slice_str(c->name));

    if (j == t->n) {
        if (!t->columns) {
            t->columns = xcalloc(max, sizeof(*t->columns));
            t->categories = xcalloc(max, sizeof(*t->categories));
        }
        t->columns[j].name = xstrdup(c->name);
        t->n++;
    }
    t->columns[j].type = c->type; /* the newest one's stands */
    if (c->type == COLUMN_CATEGORY)
        for (size_t k = 0; k < c->n_categories; k++)
            strset_add(&t->categories[j], slice_str(c->categories[k]));
}

static void target_of_like(struct target *t, const struct matrix *like)
{
    for (size_t j = 0; j < like->n_columns; j++)
        target_add_column(t, &like->columns[j], like->n_columns);
    for (size_t k = 0; k < like->n_classes; k++)
        strset_add(&t->classes, slice_str(like->classes[k]));
    t->is_fixed = true;
}

static int target_classes(struct target *t, struct snapshot *const *snapshots, size_t n,
                          struct err *err)
{
    const struct snapshot *newest = snapshots[n - 1];
    struct strset all = {0};
    char **names;
    size_t n_names;

    for (size_t i = n; i-- > 0;) /* newest first: its order of [negative, positive] stands */
        for (size_t k = 0; k < snapshots[i]->n_classes; k++)
            strset_add(&all, slice_str(snapshots[i]->classes[k]));
    names = strset_take(&all, &n_names);
    if (newest->task == TASK_MULTICLASS)
        classes_sort(names, n_names);
    for (size_t k = 0; k < n_names; k++) {
        strset_add(&t->classes, slice_str(names[k]));
        free(names[k]);
    }
    free(names);
    if (newest->task == TASK_BINARY && n_names != 2)
        return err_inval(err,
                         "label '%s' has %zu classes over the window's snapshots; a binary "
                         "task has two",
                         newest->label_name, n_names);
    return 0;
}

static int target_of_snapshots(struct target *t, struct snapshot *const *snapshots, size_t n,
                               struct err *err)
{
    size_t max = 0;

    for (size_t i = 0; i < n; i++)
        max += snapshots[i]->n_columns;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < snapshots[i]->n_columns; j++)
            target_add_column(t, &snapshots[i]->columns[j], max);
    return target_classes(t, snapshots, n, err);
}

/* ---- plan for one snapshot ---- */

static float number_of_text(const char *text, enum column_type type)
{
    double v;

    if (type == COLUMN_BOOL) {
        if (strcmp(text, "true") == 0)
            return 1;
        return strcmp(text, "false") == 0 ? 0 : NAN;
    }
    return type != COLUMN_DATE && str_to_double(text, &v) == 0 ? (float)v : NAN;
}

static bool text_of_number(float v, enum column_type type, char out[32])
{
    if (type == COLUMN_DATE || isnan(v))
        return false;
    if (type == COLUMN_BOOL) {
        snprintf(out, 32, "%s", v != 0 ? "true" : "false");
        return true;
    }
    for (int digits = 6; digits <= 9; digits++) { /* nine always read back as the same float32 */
        double back;

        snprintf(out, 32, "%.*g", digits, (double)v);
        if (str_to_double(out, &back) == 0 && (float)back == v)
            break;
    }
    return true;
}

static void plan_table(struct source *src, const struct snapshot_column *from,
                       const struct snapshot_column *to, const struct strset *dictionary)
{
    src->how = HOW_TABLE;
    src->n_table = from->n_categories;
    src->table = xcalloc(src->n_table ? src->n_table : 1, sizeof(*src->table));
    for (size_t k = 0; k < src->n_table; k++) {
        size_t code;

        if (to->type != COLUMN_CATEGORY) {
            src->table[k] = number_of_text(from->categories[k], to->type);
            continue;
        }
        code = strset_find(dictionary, slice_str(from->categories[k]));
        src->table[k] = code == STRSET_NONE ? NAN : (float)code;
    }
}

static void plan_clear(struct loader *l)
{
    for (size_t j = 0; l->sources && j < l->t.n; j++)
        free(l->sources[j].table);
    free(l->sources);
    free(l->classes);
    l->sources = NULL;
    l->classes = NULL;
}

static void plan_classes(struct loader *l, const struct snapshot *s)
{
    l->classes = xcalloc(s->n_classes ? s->n_classes : 1, sizeof(*l->classes));
    for (size_t k = 0; k < s->n_classes; k++) {
        size_t at = strset_find(&l->t.classes, slice_str(s->classes[k]));

        l->classes[k] = at == STRSET_NONE ? NAN : (float)at;
    }
}

static void plan_snapshot(struct loader *l, const struct snapshot *s)
{
    l->sources = xcalloc(l->t.n, sizeof(*l->sources));
    l->is_identity = s->n_columns == l->t.n;
    for (size_t c = 0; c < s->n_columns; c++) {
        const struct snapshot_column *from = &s->columns[c];
        size_t j = strset_find(&l->t.names, slice_str(from->name));
        struct source *src;

        if (j == STRSET_NONE) {
            l->is_identity = false;
            continue;
        }
        src = &l->sources[j];
        free(src->table); /* a manifest that names a column twice: the last one stands */
        *src = (struct source){.column = c};
        if (from->type == COLUMN_CATEGORY)
            plan_table(src, from, &l->t.columns[j], &l->t.categories[j]);
        else
            src->how = l->t.columns[j].type == COLUMN_CATEGORY ? HOW_TEXT : HOW_COPY;
        l->is_identity &= src->how == HOW_COPY && c == j;
    }
    plan_classes(l, s);
}

/* ---- rows ---- */

static float code_of_number(struct loader *l, size_t j, float v, enum column_type type)
{
    struct strset *dictionary = &l->t.categories[j];
    char text[32];
    size_t code;

    if (!text_of_number(v, type, text))
        return NAN;
    code = strset_find(dictionary, slice_str(text));
    if (code == STRSET_NONE && !l->t.is_fixed && dictionary->n < CATEGORIES_MAX)
        code = strset_add(dictionary, slice_str(text));
    return code == STRSET_NONE ? NAN : (float)code;
}

static float from_table(const struct source *src, float code)
{
    return code >= 0 && code < (float)src->n_table ? src->table[(size_t)code] : NAN;
}

static void copy_row(struct loader *l, const struct snapshot *s, const float *row, float *to)
{
    if (l->is_identity) {
        memcpy(to, row, l->t.n * sizeof(*to));
        return;
    }
    for (size_t j = 0; j < l->t.n; j++) {
        const struct source *src = &l->sources[j];

        if (src->how == HOW_COPY)
            to[j] = row[src->column];
        else if (src->how == HOW_TABLE)
            to[j] = from_table(src, row[src->column]);
        else if (src->how == HOW_TEXT)
            to[j] = code_of_number(l, j, row[src->column], s->columns[src->column].type);
        else
            to[j] = NAN;
    }
}

static float label_of(const struct loader *l, const struct snapshot *s, float y)
{
    if (s->task == TASK_REGRESSION)
        return y;
    return y >= 0 && y < (float)s->n_classes ? l->classes[(size_t)y] : NAN;
}

static void copy_asides(struct loader *l, const struct snapshot *s, const double *row)
{
    for (size_t i = 0, at = 0; i < ASIDE_COUNT; i++) {
        bool has =
            row && s->asides[i] && l->aside[i] && strcmp(s->asides[i], l->aside_column[i]) == 0;

        if (l->aside[i])
            l->aside[i][l->rows] = has ? row[at] : (double)NAN;
        at += s->asides[i] != NULL;
    }
}

static int load_snapshot(struct loader *l, const struct artifacts *a, const struct snapshot *s,
                         enum split want, struct err *err)
{
    CLEANUP(snapshot_unmap) struct snapshot_data d = {0};
    const uint8_t *split;

    if (s->split_rows[want] <= l->skip) {
        l->skip -= s->split_rows[want];
        return 0;
    }
    if (snapshot_map(a, s, &d, err))
        return -1;
    plan_snapshot(l, s);
    split = d.split.data;
    for (size_t i = 0; i < s->rows; i++) {
        if (split[i] != (uint8_t)want)
            continue;
        if (l->skip > 0) {
            l->skip--;
            continue;
        }
        if (l->rows == l->cap_rows)
            break;
        copy_row(l, s, (const float *)d.features.data + i * s->n_columns, l->x + l->rows * l->t.n);
        copy_asides(l, s, s->n_asides ? (const double *)d.aside.data + i * s->n_asides : NULL);
        l->y[l->rows] = label_of(l, s, ((const float *)d.label.data)[i]);
        l->hash[l->rows++] = ((const uint64_t *)d.row_hash.data)[i];
    }
    plan_clear(l);
    return 0;
}

static int check_alike(struct snapshot *const *snapshots, size_t n, struct err *err)
{
    const struct snapshot *newest = snapshots[n - 1];

    for (size_t i = 0; i < n; i++) {
        if (snapshots[i]->task != newest->task)
            return err_inval(err, "snapshot %.12s is for a %s task, the newest one for %s",
                             snapshots[i]->digest, task_str(snapshots[i]->task),
                             task_str(newest->task));
        if (strcmp(snapshots[i]->label_name, newest->label_name) != 0)
            return err_inval(err, "snapshot %.12s has the label '%s', the newest one '%s'",
                             snapshots[i]->digest, snapshots[i]->label_name, newest->label_name);
    }
    return 0;
}

static int count_rows(struct loader *l, struct snapshot *const *snapshots, size_t n,
                      enum split want, size_t max_rows, struct err *err)
{
    size_t total = 0, cap = MATRIX_MAX_BYTES / (l->t.n * sizeof(float));

    for (size_t i = 0; i < n; i++)
        total += snapshots[i]->split_rows[want];
    l->cap_rows = max_rows && max_rows < total ? max_rows : total;
    l->skip = total - l->cap_rows;
    if (l->cap_rows > cap)
        return err_set(err, ERR_LIMIT, NEXT_REJECT,
                       "%zu rows of %zu columns are more than the %zu GiB that are held in memory",
                       l->cap_rows, l->t.n, MATRIX_MAX_BYTES >> 30);
    return 0;
}

static void take_matrix(struct loader *l, struct matrix *ret)
{
    for (size_t j = 0; j < l->t.n; j++)
        if (l->t.columns[j].type == COLUMN_CATEGORY)
            l->t.columns[j].categories =
                strset_take(&l->t.categories[j], &l->t.columns[j].n_categories);
    *ret = (struct matrix){
        .rows = l->rows,
        .n_columns = l->t.n,
        .columns = TAKE(l->t.columns),
        .x = TAKE(l->x),
        .y = TAKE(l->y),
        .hash = TAKE(l->hash),
    };
    for (size_t i = 0; i < ASIDE_COUNT; i++)
        ret->aside[i] = TAKE(l->aside[i]);
    ret->classes = strset_take(&l->t.classes, &ret->n_classes);
}

static void loader_fini(struct loader *l)
{
    plan_clear(l);
    target_fini(&l->t);
    free(l->x);
    free(l->y);
    free(l->hash);
    for (size_t i = 0; i < ASIDE_COUNT; i++)
        free(l->aside[i]);
}

static void open_asides(struct loader *l, struct snapshot *const *snapshots, size_t n)
{
    for (size_t i = 0; i < ASIDE_COUNT; i++)
        for (size_t k = n; k-- > 0 && !l->aside[i];) {
            if (!snapshots[k]->asides[i])
                continue;
            l->aside[i] = xmalloc((l->cap_rows + 1) * sizeof(double));
            l->aside_column[i] = snapshots[k]->asides[i];
        }
}

int matrix_load(const struct artifacts *a, struct snapshot *const *snapshots, size_t n,
                enum split want, size_t max_rows, const struct matrix *like, struct matrix *ret,
                struct err *err)
{
    CLEANUP(loader_fini) struct loader l = {0};

    if (n == 0)
        return err_inval(err, "no snapshot to load rows from");
    if (check_alike(snapshots, n, err))
        return -1;
    if (like)
        target_of_like(&l.t, like);
    if (like ? like->n_classes == 0 && target_classes(&l.t, snapshots, n, err)
             : target_of_snapshots(&l.t, snapshots, n, err))
        return -1;
    if (l.t.n == 0)
        return err_inval(err, "no feature column to load");
    if (count_rows(&l, snapshots, n, want, max_rows, err))
        return -1;
    l.x = xmalloc((l.cap_rows ? l.cap_rows : 1) * l.t.n * sizeof(*l.x));
    l.y = xmalloc((l.cap_rows ? l.cap_rows : 1) * sizeof(*l.y));
    l.hash = xmalloc((l.cap_rows ? l.cap_rows : 1) * sizeof(*l.hash));
    if (want == ROW_TEST)
        open_asides(&l, snapshots, n);
    for (size_t i = 0; i < n; i++)
        if (load_snapshot(&l, a, snapshots[i], want, err))
            return err_wrap(err, "snapshot %.12s", snapshots[i]->digest);
    take_matrix(&l, ret);
    return 0;
}

void matrix_fini(struct matrix *m)
{
    if (!m)
        return;
    columns_free(m->columns, m->n_columns);
    for (size_t k = 0; k < m->n_classes; k++)
        free(m->classes[k]);
    free(m->classes);
    free(m->x);
    free(m->y);
    free(m->hash);
    for (size_t i = 0; i < ASIDE_COUNT; i++)
        free(m->aside[i]);
    *m = (struct matrix){0};
}
