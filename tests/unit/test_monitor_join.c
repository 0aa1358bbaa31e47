/* Rows and labels find each other, in whatever order they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "agents/monitor/quality.h"
#include "common/mem.h"
#include "common/rng.h"

static const double OUTPUTS[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0};

static void ids_are_split(void **state)
{
    static const struct {
        const char *text, *base;
        int64_t row;
    } rows[] = {
        {"abc", "abc", -1},     {"abc.0", "abc", 0},
        {"abc.17", "abc", 17},  {"abc:1000.5", "abc", 1005},
        {"abc:7", "abc", 7},    {"abc.", "abc.", -1},
        {"abc.x", "abc.x", -1}, {"", "", -1},
        {".5", ".5", -1},       {"5", "5", -1},
        {"a.b.3", "a.b", 3},    {"abc.12345678901", "abc.12345678901", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice base;
        int64_t row;

        join_row_id(rows[i].text, &base, &row);
        if (!slice_eq_str(base, rows[i].base) || row != rows[i].row)
            fail_msg("%s: %.*s %lld", rows[i].text, (int)base.n, base.p, (long long)row);
    }
}

static enum join_found find(struct join *j, const char *row, size_t *ret_row)
{
    struct piece *p = NULL;

    return join_find(j, row, 0, &p, ret_row);
}

static void rows_are_found_by_every_name_they_have(void **state)
{
    struct join *j = join_new(10, 10);
    size_t row = 99;

    (void)state;
    join_add(j, "one", 0, 1, 1, 1, OUTPUTS);
    join_add(j, "many", 0, 4, 10, 1, OUTPUTS);
    join_add(j, "many", 4, 6, 10, 1, OUTPUTS);
    join_add(j, "many:10", 0, 3, 3, 1, OUTPUTS);
    assert_int_equal(find(j, "one", &row), JOIN_ROW);
    assert_int_equal(row, 0);
    assert_int_equal(find(j, "one.0", &row), JOIN_ROW);
    assert_int_equal(find(j, "one.1", &row), JOIN_NO_ROW);
    assert_int_equal(find(j, "many", &row), JOIN_NO_ROW); /* which one? */
    assert_int_equal(find(j, "many.5", &row), JOIN_ROW);
    assert_int_equal(row, 1);
    assert_int_equal(find(j, "many.11", &row), JOIN_ROW); /* counted through the request */
    assert_int_equal(row, 1);
    assert_int_equal(find(j, "many:10.2", &row), JOIN_ROW);
    assert_int_equal(row, 2);
    assert_int_equal(find(j, "many.13", &row), JOIN_NO_ROW);
    assert_int_equal(find(j, "nobody.0", &row), JOIN_NONE);
    assert_int_equal(join_rows(j), 14);
    join_free(j);
}

static void outputs_are_kept_with_their_rows(void **state)
{
    struct join *j = join_new(10, 10);
    struct piece *p = join_add(j, "r", 1, 2, 5, 2, OUTPUTS);

    (void)state;
    assert_true(p->p[0] == 0.3 && p->p[1] == 0.4 && p->p[3] == 0.6);
    assert_true(isnan(p->y[0]) && p->state[1] == ROW_OPEN);
    join_remove(j, p);
    assert_int_equal(join_rows(j), 0);
    join_free(j);
}

static void what_was_judged_is_remembered_for_a_while(void **state)
{
    struct join *j = join_new(10, 3);
    size_t row;

    (void)state;
    join_over(j, join_add(j, "a", 0, 1, 1, 1, OUTPUTS));
    assert_int_equal(find(j, "a", &row), JOIN_OVER);
    assert_true(join_knows(j, "a"));
    for (int i = 0; i < 100; i++) {
        char id[16];

        snprintf(id, sizeof(id), "id-%d", i);
        join_note(j, id, 0);
        assert_true(join_knows(j, id));
    }
    assert_false(join_knows(j, "a"));
    assert_false(join_knows(j, "id-96"));
    assert_true(join_knows(j, "id-97"));
    join_over(j, join_add(j, "c:1000", 2, 1, 4, 1, OUTPUTS));
    assert_true(join_knows(j, "c:1000"));
    join_free(j);
}

static void labels_of_an_earlier_life_are_not_late(void **state)
{
    struct join *j = join_new(10, 10);
    struct piece *p;
    size_t row;

    (void)state;
    join_note(j, "a", 5000);
    assert_int_equal(join_find(j, "a.0", 4000, &p, &row), JOIN_BEFORE);
    assert_int_equal(join_find(j, "a.0", 6000, &p, &row), JOIN_OVER);
    join_free(j);
}

/* ---- labels that come first ---- */

struct got {
    char text[256];
};

static void on_early(void *ctx, struct piece *p, size_t row, const struct label *l)
{
    struct got *g = ctx;
    size_t n = strlen(g->text);

    snprintf(g->text + n, sizeof(g->text) - n, "%s.%zu=%s ", p->base, row, l->value);
}

static void hold(struct join *j, const char *row, const char *value, int64_t offset)
{
    struct label l = {.row = row,
                      .value = value,
                      .offset = offset,
                      .time_unix_ms = offset,
                      .observed_unix_ms = 0};
    size_t dropped;

    join_hold(j, &l, &dropped);
}

static void labels_wait_for_their_rows(void **state)
{
    struct join *j = join_new(10, 10);
    struct got g = {""};
    struct piece *p;

    (void)state;
    hold(j, "a.1", "x", 1);
    hold(j, "b", "y", 2);
    hold(j, "a.1", "again", 3);
    hold(j, "a.7", "z", 4);
    assert_int_equal(join_held(j), 4);
    assert_int_equal(join_oldest_offset(j), 1);
    p = join_add(j, "a", 0, 3, 10, 1, OUTPUTS);
    join_release(j, p, on_early, &g);
    assert_string_equal(g.text, "a.1=x a.1=again "); /* in order: the first counts */
    assert_int_equal(join_oldest_offset(j), 2);
    p = join_add(j, "b", 0, 1, 1, 1, OUTPUTS);
    join_release(j, p, on_early, &g);
    p = join_add(j, "a", 3, 7, 10, 1, OUTPUTS);
    join_release(j, p, on_early, &g);
    assert_string_equal(g.text, "a.1=x a.1=again b.0=y a.4=z ");
    assert_int_equal(join_held(j), 0);
    assert_int_equal(join_oldest_offset(j), -1);
    join_free(j);
}

static void waiting_labels_are_bounded_in_number_and_time(void **state)
{
    struct join *j = join_new(3, 10);
    size_t dropped, all = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        char row[16];
        struct label l = {.row = row, .value = "v", .offset = i, .time_unix_ms = 100 * i};

        snprintf(row, sizeof(row), "%s.%d", i % 2 ? "odd" : "even", i);
        join_hold(j, &l, &dropped);
        all += dropped;
    }
    assert_int_equal(all, 7);
    assert_int_equal(join_held(j), 3);
    assert_int_equal(join_oldest_offset(j), 7);
    assert_int_equal(join_expire(j, 800), 1);
    assert_int_equal(join_expire(j, 10000), 2);
    assert_int_equal(join_held(j), 0);
    join_free(j);
}

/* Against a plain list, at random: nothing is lost, nothing found twice. */
static void a_random_order_joins_everything_once(void **state)
{
    enum { ROWS = 400 };
    struct join *j = join_new(ROWS, ROWS);
    struct got g;
    struct rng r;
    bool is_added[ROWS] = {false}, is_labelled[ROWS] = {false};
    int joined = 0;

    (void)state;
    rng_seed(&r, 3);
    for (int step = 0; step < 20000 && joined < ROWS; step++) {
        int i = (int)rng_below(&r, ROWS);
        char record[16], row[24];
        struct piece *p = NULL;
        size_t at;

        snprintf(record, sizeof(record), "r%d", i / 4);
        snprintf(row, sizeof(row), "r%d.%d", i / 4, i % 4);
        if (rng_below(&r, 2)) {
            if (is_labelled[i])
                continue;
            is_labelled[i] = true;
            if (join_find(j, row, 0, &p, &at) == JOIN_ROW)
                joined++;
            else
                hold(j, row, "v", i);
        } else if (!is_added[i]) {
            is_added[i] = true;
            g.text[0] = '\0';
            p = join_add(j, record, (size_t)(i % 4), 1, 4, 1, OUTPUTS);
            join_release(j, p, on_early, &g);
            joined += g.text[0] != '\0';
        }
    }
    assert_int_equal(joined, ROWS);
    assert_int_equal(join_held(j), 0);
    join_free(j);
}

/* ---- quality ---- */

struct judged {
    struct quality q;
    struct arena arena;
};

static void judged_fini(struct judged *j)
{
    arena_fini(&j->arena);
}

/* y: a class for each row, -1: no label, -2: a class that the model does not know. */
static struct judged judge(const double *p, const int *y, size_t n,
                           const struct quality_bound *bound)
{
    struct join *j = join_new(1, 1);
    struct piece *piece = join_add(j, "r", 0, n, n, 1, p);
    enum task task = TASK_BINARY;
    struct judged out = {0};

    for (size_t i = 0; i < n; i++) {
        piece->state[i] = y[i] == -1 ? ROW_OPEN : y[i] == -2 ? ROW_UNUSABLE : ROW_LABELLED;
        piece->y[i] = (float)y[i];
    }
    quality_judge(piece, &task, bound, (int64_t)n, 3, &out.arena, &out.q);
    join_free(j);
    return out;
}

/* scikit-learn 1.7.2: accuracy_score and log_loss of y = [0,1,1,0], p = [.1,.9,.4,.4]. */
static void realised_quality_is_that_of_scikit_learn(void **state)
{
    static const double p[] = {0.1, 0.9, 0.4, 0.4};
    static const int y[] = {0, 1, 1, 0};
    const struct quality_bound bound = {"accuracy", 0.7, NAN};
    CLEANUP(judged_fini) struct judged j = judge(p, y, 4, &bound);

    (void)state;
    assert_int_equal(j.q.values.n, 2);
    assert_string_equal(j.q.values.items[0].name, "accuracy");
    assert_true(j.q.values.items[0].value == 0.75);
    assert_true(fabs(j.q.values.items[1].value - 0.40945934673894957) < 1e-12);
    assert_string_equal(j.q.verdict, "ok");
    assert_string_equal(j.q.reason, "generation 3 over 4 labelled of 4 predictions: accuracy 0.75, "
                                    "logloss 0.4095; at least 0.7 is asked");
}

static void verdicts_follow_bound_and_number_of_labels(void **state)
{
    static const double p[] = {0.1, 0.9, 0.4, 0.4};
    static const struct {
        int y[4];
        struct quality_bound bound;
        const char *verdict, *reason;
    } rows[] = {
        {{0, 1, 1, 0}, {"accuracy", 0.8, NAN}, "degraded", "at least 0.8 is asked"},
        {{0, 1, 1, 0}, {"accuracy", 0.75, NAN}, "ok", ""},
        {{0, 1, 1, 0}, {"logloss", NAN, 0.4}, "degraded", "at most 0.4 is asked"},
        {{0, 1, 1, 0}, {"logloss", NAN, 0.5}, "ok", ""},
        {{0, 1, 1, 0}, {"auc", 0.9, NAN}, "degraded", "auc 0.875"},
        {{0, 0, 0, 0}, {"auc", 0.5, NAN}, "unknown", "auc is undefined"},
        {{0, 1, 1, 0}, {NULL, NAN, NAN}, "ok", ""},
        {{-1, -1, -1, -1}, {"accuracy", 0.5, NAN}, "unknown", "no labels have come"},
        {{0, 1, -1, -1}, {"accuracy", 0.5, NAN}, "unknown", "too few for a verdict"},
        {{-2, 1, 1, 0}, {"accuracy", 0.7, NAN}, "degraded", "accuracy 0.5"},
        {{-2, -2, -2, -2}, {"accuracy", 0.7, NAN}, "degraded", "4 labels are of no class"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(judged_fini) struct judged j = judge(p, rows[i].y, 4, &rows[i].bound);

        if (strcmp(j.q.verdict, rows[i].verdict) != 0 || !strstr(j.q.reason, rows[i].reason))
            fail_msg("row %zu: %s: %s", i, j.q.verdict, j.q.reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_split),
        cmocka_unit_test(rows_are_found_by_every_name_they_have),
        cmocka_unit_test(outputs_are_kept_with_their_rows),
        cmocka_unit_test(what_was_judged_is_remembered_for_a_while),
        cmocka_unit_test(labels_of_an_earlier_life_are_not_late),
        cmocka_unit_test(labels_wait_for_their_rows),
        cmocka_unit_test(waiting_labels_are_bounded_in_number_and_time),
        cmocka_unit_test(a_random_order_joins_everything_once),
        cmocka_unit_test(realised_quality_is_that_of_scikit_learn),
        cmocka_unit_test(verdicts_follow_bound_and_number_of_labels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
