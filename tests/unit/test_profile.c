/* Expected values: NumPy 2.4.6 (mean, std, sort, searchsorted, unique). */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/profile.h"

enum { ROWS = 10000, BIG_ROWS = 200000 };

static const char *const NAMES[] = {"even", "spike", "offset", "group", "same"};
static const bool CATEGORY[] = {false, false, false, true, false};
enum { COLUMNS = 5 };

static void fill(float *row, int64_t i)
{
    row[0] = (float)((i * 7919 + 13) % 10007) / 8;
    row[1] = i % 10 < 8 ? 0 : (float)((i * 31) % 97);
    row[2] = i % 7 == 0 ? NAN : (float)(1e9 + (double)((i * 17) % 1000) * 64);
    row[3] = (float)((i * i) % 41);
    row[4] = 5;
}

static struct profile *profile_of(int64_t rows, size_t chunk)
{
    struct profiler *p = profiler_new(NAMES, CATEGORY, COLUMNS, 1);
    float *data = xmalloc((size_t)rows * COLUMNS * sizeof(*data));

    for (int64_t i = 0; i < rows; i++)
        fill(data + i * COLUMNS, i);
    for (size_t at = 0; at < (size_t)rows; at += chunk)
        profiler_add(p, data + at * COLUMNS, (size_t)rows - at < chunk ? (size_t)rows - at : chunk);
    free(data);
    return profiler_finish(p);
}

static void assert_near(double got, double want, double relative)
{
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("got %.17g, want %.17g", got, want);
}

static void moments_are_those_of_numpy(void **state)
{
    struct profile *p = profile_of(ROWS, 997);

    (void)state;
    assert_int_equal(p->rows, ROWS);
    assert_int_equal(p->n_columns, COLUMNS);
    assert_string_equal(p->columns[0].name, "even");
    assert_near(p->columns[0].mean, 625.4560875, 1e-13);
    assert_near(p->columns[0].stddev, 361.11682910642617, 1e-12);
    assert_true(p->columns[0].min == 0 && p->columns[0].max == 1250.75);
    assert_near(p->columns[1].mean, 9.5972, 1e-13);
    assert_near(p->columns[1].stddev, 22.918790372966892, 1e-12);
    assert_int_equal(p->columns[2].count, ROWS);
    assert_int_equal(p->columns[2].missing, ROWS - 8571);
    assert_near(p->columns[2].mean, 1000031963.3069654, 1e-14);
    assert_near(p->columns[2].stddev, 18474.3618346973,
                1e-9); /* the offset is 54,000 times as large */
    profile_free(p);
}

static void edges_without_ties_are_order_statistics(void **state)
{
    static const double want[] = {78.25,   156.375, 234.5,    312.75,   391.0,
                                  469.125, 547.375, 625.625,  703.75,   781.875,
                                  860.125, 938.25,  1016.375, 1094.625, 1172.75};
    struct profile *p = profile_of(ROWS, ROWS);
    const struct profile_column *c = &p->columns[0];

    (void)state;
    assert_int_equal(c->n_edges, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_true(c->edges[i] == want[i]);
    for (size_t i = 0; i <= ARRAY_LEN(want); i++)
        assert_int_equal(c->bins[i], 625);
    profile_free(p);
}

static void a_spike_has_one_bin_and_the_rest_share_the_others(void **state)
{
    struct profile *p = profile_of(ROWS, ROWS);
    const struct profile_column *c = &p->columns[1];
    int64_t sum = 0;

    (void)state;
    assert_int_equal(c->n_edges, 15);
    assert_true(c->edges[0] > 0);
    assert_in_range((uintmax_t)c->bins[0], 8000,
                    8040); /* the zeros, and no more than a few with them */
    for (size_t b = 0; b <= c->n_edges; b++) {
        sum += c->bins[b];
        if (b > 0)
            assert_in_range((uintmax_t)c->bins[b], 80,
                            190); /* 1,980 others over 15 bins: 132 each */
    }
    assert_int_equal(sum, ROWS);
    profile_free(p);
}

static void bins_are_the_counts_of_bin_of(void **state)
{
    struct profile *p = profile_of(ROWS, 64);

    (void)state;
    for (size_t j = 0; j < COLUMNS; j++) {
        const struct profile_column *c = &p->columns[j];
        int64_t counts[PROFILE_HITTERS + 1] = {0}, want[PROFILE_HITTERS + 1] = {0};

        for (int64_t i = 0; i < ROWS; i++) {
            float row[COLUMNS];

            fill(row, i);
            if (!isnan(row[j]))
                counts[profile_bin_of(c, (double)row[j])]++;
        }
        profile_reference(c, want);
        for (size_t b = 0; b < profile_bin_count(c); b++)
            assert_int_equal(counts[b], want[b]);
    }
    profile_free(p);
}

static void a_constant_has_bins_beside_it(void **state)
{
    struct profile *p = profile_of(ROWS, ROWS);
    const struct profile_column *c = &p->columns[4];

    (void)state;
    assert_int_equal(profile_bin_count(c), 3);
    assert_int_equal(profile_bin_of(c, 5), 1);
    assert_int_equal(profile_bin_of(c, 4.999), 0);
    assert_int_equal(profile_bin_of(c, 5.001), 2);
    assert_int_equal(c->bins[1], ROWS);
    profile_free(p);
}

static void hitters_are_the_most_frequent_codes(void **state)
{
    static const struct {
        double code;
        int64_t count;
    } want[] = {{2, 488}, {5, 488}, {8, 488}, {10, 488}, {18, 488}, {20, 488}};
    struct profile *p = profile_of(ROWS, 100);
    const struct profile_column *c = &p->columns[3];
    int64_t sum = 0, counts[PROFILE_HITTERS + 1];

    (void)state;
    assert_int_equal(c->n_hitters, 21);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(c->hitters[i] == want[i].code);
        assert_int_equal(c->hitter_counts[i], want[i].count);
    }
    profile_reference(c, counts);
    for (size_t b = 0; b < profile_bin_count(c); b++)
        sum += counts[b];
    assert_int_equal(sum, ROWS);
    assert_int_equal(profile_bin_of(c, 3), 21); /* the rest */
    profile_free(p);
}

static void rare_codes_do_not_push_out_frequent_ones(void **state)
{
    const char *names[] = {"c"};
    const bool category[] = {true};
    struct profiler *p = profiler_new(names, category, 1, 1);
    struct profile *got;

    (void)state;
    for (int i = 0; i < 2000; i++) /* codes 0..999 twice, then 5 and 999 more often */
        profiler_add(p, &(float){(float)(i % 1000)}, 1);
    for (int i = 0; i < 10; i++)
        profiler_add(p, &(float){i < 7 ? 999 : 5}, 1);
    got = profiler_finish(p);
    assert_int_equal(got->columns[0].n_hitters, PROFILE_HITTERS);
    assert_true(got->columns[0].hitters[0] == 999);
    assert_int_equal(got->columns[0].hitter_counts[0], 9);
    assert_true(got->columns[0].hitters[1] == 5);
    assert_int_equal(got->columns[0].hitter_counts[1], 5);
    profile_free(got);
}

static void many_rows_are_sampled_evenly(void **state)
{
    static const double want[] = {781.25,  1562.5, 2343.75, 3125, 3906.25,  4687.5,  5468.75,  6250,
                                  7031.25, 7812.5, 8593.75, 9375, 10156.25, 10937.5, 11718.875};
    const char *names[] = {"rising", "mixed"};
    const bool category[] = {false, false};
    struct profiler *p = profiler_new(names, category, 2, 7);
    struct profile *got;

    (void)state;
    for (int64_t i = 0; i < BIG_ROWS; i++)
        profiler_add(p, (float[]){(float)i, (float)((i * 7919 + 13) % 200003) / 16}, 1);
    got = profiler_finish(p);
    assert_near(got->columns[0].mean, 99999.5, 1e-12); /* exact, however many are sampled */
    for (size_t j = 0; j < 2; j++) {
        const struct profile_column *c = &got->columns[j];
        int64_t sum = 0;

        assert_int_equal(c->n_edges, 15);
        for (size_t b = 0; b <= c->n_edges; b++)
            sum += c->bins[b];
        assert_int_equal(sum, BIG_ROWS);
        for (size_t i = 0; i < c->n_edges;
             i++) { /* four standard errors of a share: 0.8 % of the range */
            double edge = j == 0 ? 12500.0 * (double)(i + 1) : want[i];

            assert_true(fabs(c->edges[i] - edge) < 0.008 * (j == 0 ? 200000 : 12500));
        }
    }
    profile_free(got);
}

static void the_same_rows_give_the_same_profile(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk <= 1000; chunk *= 10) {
        struct profile *a = profile_of(3000, 3000), *b = profile_of(3000, chunk);

        for (size_t j = 0; j < COLUMNS; j++) {
            assert_int_equal(a->columns[j].n_edges, b->columns[j].n_edges);
            assert_memory_equal(a->columns[j].edges, b->columns[j].edges,
                                sizeof(a->columns[j].edges));
            assert_memory_equal(a->columns[j].bins, b->columns[j].bins, sizeof(a->columns[j].bins));
        }
        profile_free(a);
        profile_free(b);
    }
}

static void nothing_and_all_missing_have_no_numbers(void **state)
{
    const char *names[] = {"x"};
    const bool category[] = {false};
    struct profile *none = profiler_finish(profiler_new(names, category, 1, 1)), *missing;
    struct profiler *p = profiler_new(names, category, 1, 1);

    (void)state;
    profiler_add(p, (float[]){NAN, INFINITY, -INFINITY}, 3);
    missing = profiler_finish(p);
    assert_int_equal(none->rows, 0);
    assert_true(isnan(none->columns[0].mean) && isnan(none->columns[0].max));
    assert_int_equal(missing->columns[0].missing, 3);
    assert_true(isnan(missing->columns[0].mean) && isnan(missing->columns[0].min));
    assert_int_equal(profile_bin_count(&missing->columns[0]), 1);
    profile_free(none);
    profile_free(missing);
}

static void json_keeps_everything(void **state)
{
    struct profile *p = profile_of(ROWS, ROWS), *back;
    struct json *j = profile_to_json(p), *parsed;
    struct buf text = {0};
    struct err err;

    (void)state;
    json_write(j, 0, false, &text);
    parsed = json_parse(buf_slice(&text), "profile", &err);
    assert_non_null(parsed);
    assert_int_equal(profile_from_json(parsed, &back, &err), 0);
    assert_int_equal(back->rows, p->rows);
    assert_int_equal(back->n_columns, p->n_columns);
    for (size_t i = 0; i < p->n_columns; i++) {
        struct profile_column a = p->columns[i], b = back->columns[i];

        assert_string_equal(a.name, b.name);
        assert_true(a.mean == b.mean && a.stddev == b.stddev && a.min == b.min && a.max == b.max);
        a.name = b.name = NULL;
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.edges, b.edges, sizeof(a.edges));
        assert_memory_equal(a.bins, b.bins, sizeof(a.bins));
        assert_memory_equal(a.hitters, b.hitters, sizeof(a.hitters));
        assert_memory_equal(a.hitter_counts, b.hitter_counts, sizeof(a.hitter_counts));
    }
    profile_free(p);
    profile_free(back);
    json_free(j);
    json_free(parsed);
    buf_fini(&text);
}

static void the_profile_of_the_largest_constant_can_be_read(void **state)
{
    static const char *const names[] = {"a"};
    static const bool category[] = {false};
    static const float rows[] = {FLT_MAX, FLT_MAX};
    struct profiler *r = profiler_new(names, category, 1, 1);
    struct profile *p, *back = NULL;
    struct json *j;
    struct err err;

    (void)state;
    profiler_add(r, rows, 2);
    p = profiler_finish(r);
    j = profile_to_json(p);
    assert_int_equal(profile_from_json(j, &back, &err), 0);
    assert_int_equal(profile_bin_of(&back->columns[0], (double)FLT_MAX), 1);
    assert_int_equal(back->columns[0].bins[1], 2);
    json_free(j);
    profile_free(p);
    profile_free(back);
}

static void damaged_json_is_an_error(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"format\":\"relearn/profile/1\"}",
        "{\"format\":\"relearn/profile/1\",\"columns\":[{}]}",
        "{\"format\":\"relearn/profile/"
        "1\",\"columns\":[{\"name\":\"a\",\"kind\":\"x\",\"count\":1,\"missing\":0}]}",
        "{\"format\":\"relearn/profile/"
        "1\",\"columns\":[{\"name\":\"a\",\"kind\":\"number\",\"count\":1,\"missing\":2}]}",
        "{\"format\":\"relearn/profile/"
        "1\",\"columns\":[{\"name\":\"a\",\"kind\":\"number\",\"count\":1,"
        "\"missing\":0,\"edges\":[2,1],\"bins\":[1,0,0]}]}",
        "{\"format\":\"relearn/profile/"
        "1\",\"columns\":[{\"name\":\"a\",\"kind\":\"number\",\"count\":1,"
        "\"missing\":0,\"edges\":[1],\"bins\":[1]}]}",
        "{\"format\":\"relearn/profile/"
        "1\",\"columns\":[{\"name\":\"a\",\"kind\":\"category\",\"count\":1,"
        "\"missing\":0,\"hitters\":[1],\"hitter_counts\":[]}]}",
        /* more values than there are, so many that their sum has no room */
        "{\"format\":\"relearn/profile/"
        "1\",\"columns\":[{\"name\":\"a\",\"kind\":\"category\",\"count\":9,"
        "\"missing\":0,\"hitters\":[1,2],\"hitter_counts\":[9223372036854775807,"
        "9223372036854775807]}]}",
        "{\"format\":\"relearn/profile/"
        "1\",\"columns\":[{\"name\":\"a\",\"kind\":\"number\",\"count\":9,"
        "\"missing\":2,\"edges\":[1],\"bins\":[4,4]}]}",
        "{\"format\":\"relearn/profile/1\",\"rows\":-1,\"columns\":[]}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err err;
        struct json *j = json_parse(slice_str(texts[i]), "t", &err);
        struct profile *p = NULL;

        assert_non_null(j);
        assert_int_equal(profile_from_json(j, &p, &err), -1);
        assert_int_equal(err.code, ERR_CODEC);
        assert_null(p);
        json_free(j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_those_of_numpy),
        cmocka_unit_test(edges_without_ties_are_order_statistics),
        cmocka_unit_test(a_spike_has_one_bin_and_the_rest_share_the_others),
        cmocka_unit_test(bins_are_the_counts_of_bin_of),
        cmocka_unit_test(a_constant_has_bins_beside_it),
        cmocka_unit_test(hitters_are_the_most_frequent_codes),
        cmocka_unit_test(rare_codes_do_not_push_out_frequent_ones),
        cmocka_unit_test(many_rows_are_sampled_evenly),
        cmocka_unit_test(the_same_rows_give_the_same_profile),
        cmocka_unit_test(nothing_and_all_missing_have_no_numbers),
        cmocka_unit_test(json_keeps_everything),
        cmocka_unit_test(the_profile_of_the_largest_constant_can_be_read),
        cmocka_unit_test(damaged_json_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
