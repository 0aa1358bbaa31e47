/* Profiles from anywhere: one by which any value can be counted, written again as the same, or an
 * error. */
#include <float.h>
#include <math.h>

#include "common/mem.h"
#include "common/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void count_values(const struct profile_column *c)
{
    static const double values[] = {0,   -0.0,    1,        -1,       0.5,
                                    1e9, DBL_MAX, -DBL_MAX, INFINITY, -INFINITY};
    size_t bins = profile_bin_count(c);
    CLEANUP_FREE int64_t *counts = xcalloc(bins + 1, sizeof(*counts));

    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        BUG_ON(profile_bin_of(c, values[i]) >= bins);
    for (size_t i = 0; i < c->n_edges; i++)
        BUG_ON(profile_bin_of(c, c->edges[i]) >= bins);
    for (size_t i = 0; i < c->n_hitters; i++)
        BUG_ON(profile_bin_of(c, c->hitters[i]) >= bins);
    profile_reference(c, counts);
    for (size_t i = 0; i < bins; i++)
        BUG_ON(counts[i] < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(buf_fini) struct buf once = {0}, twice = {0};
    CLEANUP(json_freep) struct json *j = NULL, *written = NULL, *again = NULL;
    struct profile *p = NULL, *back = NULL;
    struct err err = {0};

    j = json_parse((struct slice){(const char *)data, n}, "fuzz", &err);
    if (!j)
        return 0;
    if (profile_from_json(j, &p, &err)) {
        BUG_ON(p || err.code != ERR_CODEC || err.next != NEXT_REJECT);
        return 0;
    }
    for (size_t i = 0; i < p->n_columns; i++)
        count_values(&p->columns[i]);
    written = profile_to_json(p);
    json_write(written, 1, false, &once);
    BUG_ON(profile_from_json(written, &back, &err));
    again = profile_to_json(back);
    json_write(again, 1, false, &twice);
    BUG_ON(!slice_eq(buf_slice(&once), buf_slice(&twice)));
    profile_free(back);
    profile_free(p);
    return 0;
}
