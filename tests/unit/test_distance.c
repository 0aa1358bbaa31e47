/* Distance of data between runs.  Values are of NumPy 2.3.5 over the same histograms:
 * sum((q - p) * log(q / p)) with shares of at least 1e-4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/console/distance.h"
#include "common/mem.h"

/* Numbers from 0 to 4 in four even bins. */
static struct profile_column numbers(char *name, const int64_t bins[4], int64_t missing,
                                     double shift)
{
    struct profile_column c = {.name = name, .missing = missing, .n_edges = 3, .mean = 2 + shift};
    c.count = missing;
    for (int i = 0; i < 4; i++) {
        c.bins[i] = bins[i];
        c.count += bins[i];
    }
    for (int i = 0; i < 3; i++)
        c.edges[i] = i + 1 + shift;
    c.min = shift;
    c.max = 4 + shift;
    return c;
}

static double psi_between(struct profile_column *a, struct profile_column *b,
                          struct snapshot *a_words, struct snapshot *b_words)
{
    struct profile p = {.n_columns = 1, .columns = a}, q = {.n_columns = 1, .columns = b};
    struct distance_part x = {&p, a_words}, y = {&q, b_words};
    CLEANUP(json_freep)
    struct json *j = distance_json(&(struct distance_data){&x, 1}, &(struct distance_data){&y, 1});
    assert_int_equal(json_len(j), 1);
    assert_string_equal(json_get_str(json_at(j, 0), "column", ""), a->name);
    return json_get_num(json_at(j, 0), "psi", NAN);
}

static void near(double v, double expected)
{
    if (!(fabs(v - expected) < 1e-9))
        fail_msg("%.12f, expected %.12f", v, expected);
}

static void the_same_data_are_not_apart(void **state)
{
    struct profile_column c = numbers((char[]){"x"}, (int64_t[]){10, 20, 30, 40}, 5, 0);
    (void)state;
    near(psi_between(&c, &c, NULL, NULL), 0);
}

static void shares_that_moved_are(void **state)
{
    struct profile_column a = numbers((char[]){"x"}, (int64_t[]){25, 25, 25, 25}, 0, 0);
    struct profile_column b = numbers((char[]){"x"}, (int64_t[]){40, 30, 20, 10}, 0, 0);
    (void)state;
    near(psi_between(&a, &b, NULL, NULL), 0.22821740957339182);
}

/* A quarter of each bin lies in the next one of the reference. */
static void bins_of_their_own_are_spread_over_the_reference(void **state)
{
    struct profile_column a = numbers((char[]){"x"}, (int64_t[]){25, 25, 25, 25}, 0, 0);
    struct profile_column b = numbers((char[]){"x"}, (int64_t[]){40, 30, 20, 10}, 0, 0.25);
    (void)state;
    /* 30, 32.5, 22.5, 15 */
    near(psi_between(&a, &b, NULL, NULL), 0.0825099729428043);
}

static void missing_values_count(void **state)
{
    struct profile_column a = numbers((char[]){"x"}, (int64_t[]){25, 25, 25, 25}, 0, 0);
    struct profile_column b = numbers((char[]){"x"}, (int64_t[]){20, 20, 20, 20}, 20, 0);
    (void)state;
    near(psi_between(&a, &b, NULL, NULL), 1.5640491119253044);
}

static void categories_go_by_name_not_by_code(void **state)
{
    char *first[] = {(char[]){"red"}, (char[]){"blue"}},
         *second[] = {(char[]){"blue"}, (char[]){"red"}};
    struct snapshot_column one = {.name = (char[]){"c"}, .categories = first, .n_categories = 2};
    struct snapshot_column two = {.name = (char[]){"c"}, .categories = second, .n_categories = 2};
    struct snapshot x = {.n_columns = 1, .columns = &one}, y = {.n_columns = 1, .columns = &two};
    struct profile_column a = {
        .name = (char[]){"c"}, .category = true, .count = 100, .n_hitters = 2};
    struct profile_column b = a;
    (void)state;
    a.hitters[1] = b.hitters[1] = 1;
    a.hitter_counts[0] = b.hitter_counts[1] = 70; /* red */
    a.hitter_counts[1] = b.hitter_counts[0] = 30;
    near(psi_between(&a, &b, &x, &y), 0);
    assert_true(psi_between(&a, &b, &x, &x) > 0.5);
}

static void a_column_that_only_one_has_is_unknown(void **state)
{
    struct profile_column a = numbers((char[]){"x"}, (int64_t[]){25, 25, 25, 25}, 0, 0);
    struct profile_column b = numbers((char[]){"y"}, (int64_t[]){25, 25, 25, 25}, 0, 0);
    (void)state;
    assert_true(isnan(psi_between(&a, &b, NULL, NULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_data_are_not_apart),
        cmocka_unit_test(shares_that_moved_are),
        cmocka_unit_test(bins_of_their_own_are_spread_over_the_reference),
        cmocka_unit_test(missing_values_count),
        cmocka_unit_test(categories_go_by_name_not_by_code),
        cmocka_unit_test(a_column_that_only_one_has_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
