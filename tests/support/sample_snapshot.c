#include "tests/support/sample_snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/mem.h"

static void put_npy(const struct artifacts *a, enum npy_type type, size_t ndim, size_t rows,
                    size_t cols, const void *data, char digest[DIGEST_HEX_SIZE])
{
    struct err err = {0};
    CLEANUP_FREE char *tmp = artifacts_tmp(a, "sample", &err);

    if (!tmp || npy_write(tmp, type, ndim, rows, cols, data, &err) ||
        artifacts_put_file(a, tmp, digest, &err))
        fail_msg("sample snapshot: %s", err.msg);
}

static char **copy_strings(const char *const *from, size_t *ret_n)
{
    size_t n = 0;
    char **to;

    while (from && from[n])
        n++;
    to = xcalloc(n + 1, sizeof(*to));
    for (size_t i = 0; i < n; i++)
        to[i] = xstrdup(from[i]);
    *ret_n = n;
    return to;
}

struct snapshot *sample_snapshot_put(const struct artifacts *a, const struct sample_snapshot *spec)
{
    struct snapshot *s = xcalloc(1, sizeof(*s));
    CLEANUP_FREE uint8_t *split = xcalloc(spec->rows + 1, sizeof(*split));
    CLEANUP_FREE uint64_t *hash = xcalloc(spec->rows + 1, sizeof(*hash));
    struct err err = {0};

    s->line = xstrdup(spec->line ? spec->line : "sample");
    s->dataset = xstrdup("sample");
    s->version = xstrdup("1");
    s->pipeline_sha256 = xstrdup("");
    s->task = spec->task;
    s->label_name = xstrdup(spec->label ? spec->label : "y");
    s->classes = copy_strings(spec->classes, &s->n_classes);
    s->rows = spec->rows;
    s->n_columns = spec->n_columns;
    s->columns = xcalloc(spec->n_columns, sizeof(*s->columns));
    for (size_t j = 0; j < spec->n_columns; j++) {
        s->columns[j].name = xstrdup(spec->columns[j].name);
        s->columns[j].type = spec->columns[j].type;
        s->columns[j].categories =
            copy_strings(spec->columns[j].categories, &s->columns[j].n_categories);
    }
    for (size_t i = 0; i < spec->rows; i++) {
        split[i] = spec->split ? spec->split[i] : ROW_TRAIN;
        s->split_rows[split[i]]++;
        hash[i] = spec->first_hash + i;
    }
    put_npy(a, NPY_F32, 2, spec->rows, spec->n_columns, spec->x, s->features);
    put_npy(a, NPY_F32, 1, spec->rows, 1, spec->y, s->label);
    put_npy(a, NPY_U8, 1, spec->rows, 1, split, s->split);
    put_npy(a, NPY_U64, 1, spec->rows, 1, hash, s->row_hash);
    if (artifacts_put(a, "{}", 2, s->profile, &err) || snapshot_put(a, s, &err))
        fail_msg("sample snapshot: %s", err.msg);
    return s;
}
