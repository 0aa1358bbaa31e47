#include "tests/support/sample_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/profile.h"
#include "common/xgb.h"

static char **words(const char *text, const char *separators, size_t *ret_n)
{
    CLEANUP_FREE char *copy = xstrdup(text);
    char **list = xcalloc(strlen(text) + 1, sizeof(*list)), *rest = NULL;

    *ret_n = 0;
    for (char *w = strtok_r(copy, separators, &rest); w; w = strtok_r(NULL, separators, &rest))
        list[(*ret_n)++] = xstrdup(w);
    return list;
}

static void take_column(char *text, struct snapshot_column *c)
{
    char *type = strchr(text, ':') + 1, *open = strchr(type, '(');
    int t = COLUMN_FLOAT;

    if (open) {
        c->categories = words(open + 1, ",)", &c->n_categories);
        *open = '\0';
    }
    while (t < COLUMN_TYPE_COUNT && strcmp(type, column_type_str((enum column_type)t)) != 0)
        t++;
    assert_int_not_equal(t, COLUMN_TYPE_COUNT);
    c->type = (enum column_type)t;
    c->name = xstrndup(text, (size_t)(type - 1 - text));
}

struct model *sample_model(const char *columns, const char *classes)
{
    struct model *m = xcalloc(1, sizeof(*m));
    size_t n;
    char **list = words(columns, " ", &n);

    m->shape.columns = xcalloc(n + 1, sizeof(*m->shape.columns));
    m->shape.n_columns = n;
    for (size_t i = 0; i < n; i++) {
        take_column(list[i], &m->shape.columns[i]);
        free(list[i]);
    }
    free(list);
    m->shape.classes = words(classes, " ", &m->shape.n_classes);
    m->task = m->shape.n_classes == 0   ? TASK_REGRESSION
              : m->shape.n_classes == 2 ? TASK_BINARY
                                        : TASK_MULTICLASS;
    m->format = xstrdup("ubj");
    m->trainer = xstrdup("xgboost");
    memset(m->digest, 'd', DIGEST_HEX_SIZE - 1);
    return m;
}

static void train(const struct model *m, const struct sample_training *t, struct buf *out)
{
    static const char *const names[] = {"max_depth", "eta"}, *const values[] = {"3", "0.5"};
    struct xgb_params params = {.names = names,
                                .values = values,
                                .n = ARRAY_LEN(names),
                                .rounds = 5 + (int)(t->seed % 3),
                                .metric = m->task == TASK_REGRESSION ? "rmse"
                                          : m->task == TASK_BINARY   ? "logloss"
                                                                     : "mlogloss",
                                .seed = t->seed,
                                .threads = 1};
    struct matrix data = m->shape, none = m->shape;
    struct err err = {0};
    int rounds;
    double best;

    data.rows = t->rows;
    data.x = (float *)(uintptr_t)t->x;
    data.y = (float *)(uintptr_t)t->y;
    if (xgb_train(&data, &none, m->task, &params, NULL, NULL, out, &rounds, &best, &err))
        fail_msg("sample model: %s", err.msg);
}

static struct profile *profile_of(const struct model *m, const struct sample_training *t,
                                  struct xgb *x)
{
    size_t n = m->shape.n_columns, k = xgb_outputs(x);
    CLEANUP_FREE const char **names = xcalloc(n + 1, sizeof(*names));
    CLEANUP_FREE bool *is_category = xcalloc(n + 1, sizeof(*is_category));
    CLEANUP_FREE float *rows = xcalloc(t->rows * (n + 1), sizeof(*rows));
    CLEANUP_FREE double *out = xcalloc(t->rows * k, sizeof(*out));
    struct profiler *p;
    struct err err = {0};

    if (xgb_predict(x, t->x, t->rows, out, &err))
        fail_msg("sample model: %s", err.msg);
    for (size_t i = 0; i < n; i++) {
        names[i] = m->shape.columns[i].name;
        is_category[i] = m->shape.columns[i].type == COLUMN_CATEGORY;
    }
    names[n] = "prediction";
    is_category[n] = m->task == TASK_MULTICLASS;
    for (size_t r = 0; r < t->rows; r++) {
        memcpy(rows + r * (n + 1), t->x + r * n, n * sizeof(*rows));
        rows[r * (n + 1) + n] = (float)model_prediction_scalar(m->task, out + r * k, k);
    }
    p = profiler_new(names, is_category, n + 1, 0);
    profiler_add(p, rows, t->rows);
    return profiler_finish(p);
}

static void put(const struct artifacts *a, const struct buf *b, char digest[DIGEST_HEX_SIZE])
{
    struct err err = {0};

    if (artifacts_put(a, b->data, b->len, digest, &err))
        fail_msg("sample model: %s", err.msg);
}

struct model *sample_model_train(const struct artifacts *a, const struct sample_training *t)
{
    struct model *m = sample_model(t->columns, t->classes);
    CLEANUP(buf_fini) struct buf booster = {0}, text = {0};
    struct xgb *x = NULL;
    struct profile *p;
    struct json *j;
    struct err err = {0};

    m->line = xstrdup(t->line);
    m->run = xasprintf("run-%llu", (unsigned long long)t->seed);
    m->pipeline = xstrndup(t->line, strcspn(t->line, "/"));
    m->pipeline_sha256 = xstrdup("");
    m->snapshots = xcalloc(1, sizeof(char *));
    train(m, t, &booster);
    put(a, &booster, m->file);
    m->file_bytes = (int64_t)booster.len;
    if (xgb_load(buf_slice(&booster), &x, &err))
        fail_msg("sample model: %s", err.msg);
    p = profile_of(m, t, x);
    j = profile_to_json(p);
    json_write(j, 0, false, &text);
    put(a, &text, m->profile);
    json_free(j);
    profile_free(p);
    xgb_free(x);
    m->trained_rows = (int64_t)t->rows;
    if (model_put(a, m, NULL, &err))
        fail_msg("sample model: %s", err.msg);
    return m;
}
