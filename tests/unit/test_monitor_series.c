/* Windows of one generation: where they begin and end, what they owe, and that a second reading of
 * the log leads to the same ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "agents/monitor/series.h"
#include "common/rng.h"
#include "tests/support/make_event.h"
#include "tests/support/sample_model.h"

enum { WINDOW = 4, LATENESS_MS = 1000 };
static const char CLUSTER[] = "cluster-1";

struct fixture {
    struct line *line;
    struct model *model;
    struct reference reference;
    struct windows all;
    struct series s;
    int64_t offset, time_ms;
};

static void open_series(struct fixture *f)
{
    series_init(&f->s, 7, &f->all, f->line, CLUSTER, 2);
    f->s.reference = &f->reference;
}

static int setup(void **state)
{
    static struct fixture f;

    f = (struct fixture){
        .line = line_new("p"), .model = sample_model("a:float", "no yes"), .time_ms = 100000};
    reference_init(&f.reference, f.model, NULL);
    f.all.join = join_new(100, 100);
    open_series(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    series_fini(&f->s);
    join_free(f->all.join);
    reference_fini(&f->reference);
    model_free(f->model);
    line_free(f->line);
    return 0;
}

/* As another process would begin: nothing in memory but the fold. */
static void restart(struct fixture *f)
{
    series_fini(&f->s);
    join_free(f->all.join);
    f->all = (struct windows){.join = join_new(100, 100)};
    open_series(f);
}

static void take_at(struct fixture *f, const char *id, int64_t rows, int64_t offset)
{
    float x[64];
    double p[64];
    struct prediction_served r = {.line = "p",
                                  .prediction = id,
                                  .generation = 7,
                                  .model = "m",
                                  .role = "champion",
                                  .instance = "i",
                                  .rows = rows,
                                  .features_per_row = 1,
                                  .outputs_per_row = 1,
                                  .features = {x, (size_t)rows},
                                  .outputs = {p, (size_t)rows},
                                  .served_unix_ms = f->time_ms};
    struct event_parts parts = {
        .type = RECORD_PREDICTION_SERVED, .rec = &r, .id = id, .time_unix_ms = f->time_ms};
    struct event *ev;
    const char *why;

    for (int64_t i = 0; i < rows; i++) {
        x[i] = (float)i;
        p[i] = 0.5;
    }
    ev = make_event(&parts);
    ev->offset = offset;
    assert_true(series_fits(ev->rec, &f->reference, &why));
    if (!join_knows(f->all.join, id))
        series_take(&f->s, ev, WINDOW, NULL, NULL);
    event_free(ev);
}

static void take(struct fixture *f, const char *id, int64_t rows)
{
    take_at(f, id, rows, f->offset++);
}

static enum label_fate label(struct fixture *f, const char *row, const char *value)
{
    struct label l = {.row = row,
                      .value = value,
                      .offset = 500,
                      .time_unix_ms = f->time_ms,
                      .observed_unix_ms = ABSENT_I64};
    struct piece *p = NULL;
    size_t at = 0;

    assert_int_equal(join_find(f->all.join, row, f->time_ms, &p, &at), JOIN_ROW);
    return series_label(p, at, &l, LATENESS_MS);
}

/* The first window that owes this measure, as "number rows from-to first..last". */
static void expect_due(struct fixture *f, enum measure m, const char *expected)
{
    const struct window *w = f->s.due[m];
    CLEANUP_FREE char *text =
        w ? xasprintf("%lld %lld %lld-%lld %s..%s", (long long)w->number, (long long)w->rows,
                      (long long)w->from_offset, (long long)w->to_offset, w->first_row, w->last_row)
          : xstrdup("nothing");

    assert_string_equal(text, expected);
}

/* The health event of a window, folded; the window leaves the queue. */
static void done(struct fixture *f, enum measure m)
{
    const struct window *w = f->s.due[m];
    struct health_measured h = {.line = "p",
                                .kind = measure_str(m),
                                .generation = 7,
                                .window = w->number,
                                .cluster = CLUSTER,
                                .partition = 2,
                                .from_offset = w->from_offset,
                                .to_offset = w->to_offset,
                                .first_prediction = w->first_row,
                                .last_prediction = w->last_row,
                                .predictions = w->rows,
                                .verdict = "ok",
                                .consecutive = 1,
                                .reason = "",
                                .measured_unix_ms = f->time_ms};
    CLEANUP_FREE char *about = xasprintf("%s %lld", measure_str(m), (long long)w->number);
    struct event_parts parts = {
        .type = RECORD_HEALTH_MEASURED, .rec = &h, .cause = w->closed_by, .about = about};

    line_fold(f->line, make_event(&parts));
    series_done(&f->s, m);
}

/* ---- counting ---- */

static void a_window_is_full_after_so_many_rows(void **state)
{
    struct fixture *f = *state;

    take(f, "a", 1);
    take(f, "b", 1);
    take(f, "c", 1);
    expect_due(f, MEASURE_WINDOW, "nothing");
    take(f, "d", 1);
    expect_due(f, MEASURE_WINDOW, "0 4 0-3 a.0..d.0");
    assert_string_equal(f->s.due[MEASURE_WINDOW]->closed_by->id, "d");
    done(f, MEASURE_WINDOW);
    expect_due(f, MEASURE_WINDOW, "nothing");
    assert_int_equal(f->s.next_number, 1);
    assert_int_equal(f->all.n, 1); /* its labels are waited for */
}

static void records_may_straddle_windows(void **state)
{
    struct fixture *f = *state;

    take(f, "a", 3);
    take(f, "b", 10); /* 1 for window 0, 4 for 1, 4 for 2, 1 for 3 */
    expect_due(f, MEASURE_WINDOW, "0 4 0-1 a.0..b.0");
    done(f, MEASURE_WINDOW);
    expect_due(f, MEASURE_WINDOW, "1 4 1-1 b.1..b.4");
    done(f, MEASURE_WINDOW);
    expect_due(f, MEASURE_WINDOW, "2 4 1-1 b.5..b.8");
    assert_int_equal(f->s.open->rows, 1);
    assert_int_equal(windows_predictions_from(&f->all), 0);
}

static void a_record_counts_once(void **state)
{
    struct fixture *f = *state;

    take(f, "a", 2);
    take(f, "a", 2);
    assert_int_equal(f->s.open->rows, 2);
}

static void malformed_records_are_told(void **state)
{
    struct fixture *f = *state;
    static const float x[4];
    static const double p[4];
    static const struct {
        int64_t rows, features, outputs;
        size_t n_x, n_p;
        const char *why;
    } rows[] = {
        {0, 1, 1, 0, 0, "out of range"},
        {-1, 1, 1, 0, 0, "out of range"},
        {INT64_MAX, 1, 1, 1, 1, "out of range"},
        {2, 1, 1, 1, 2, "not as long"},
        {2, 1, 1, 2, 1, "not as long"},
        {2, 2, 1, 4, 2, "features and outputs of its model"},
        {1, 1, 2, 1, 2, "features and outputs of its model"},
    };
    const char *why;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct prediction_served r = {.prediction = "a",
                                      .rows = rows[i].rows,
                                      .features_per_row = rows[i].features,
                                      .outputs_per_row = rows[i].outputs,
                                      .features = {x, rows[i].n_x},
                                      .outputs = {p, rows[i].n_p}};

        assert_false(series_fits(&r, &f->reference, &why));
        assert_non_null(strstr(why, rows[i].why));
    }
}

/* ---- labels ---- */

static void quality_is_due_when_every_row_has_its_label(void **state)
{
    struct fixture *f = *state;

    take(f, "a", 2);
    assert_int_equal(label(f, "a.0", "yes"), LABEL_COUNTED);
    take(f, "b", 2);
    assert_int_equal(label(f, "b.1", "no"), LABEL_COUNTED);
    assert_int_equal(label(f, "b.1", "yes"), LABEL_REPEATED);
    assert_int_equal(label(f, "a.1", "maybe"), LABEL_COUNTED); /* of no class */
    expect_due(f, MEASURE_QUALITY, "nothing");
    assert_int_equal(label(f, "b.0", "no"), LABEL_COUNTED);
    expect_due(f, MEASURE_QUALITY, "0 4 0-1 a.0..b.1");
    assert_int_equal(f->s.due[MEASURE_QUALITY]->pieces->y[0], 1);
    done(f, MEASURE_QUALITY);
    assert_int_equal(f->all.n, 1);
    done(f, MEASURE_WINDOW);
    assert_int_equal(f->all.n, 0);
    assert_int_equal(windows_predictions_from(&f->all), -1);
    assert_true(join_knows(f->all.join, "a"));
}

static void labels_are_waited_for_so_long(void **state)
{
    struct fixture *f = *state;
    int64_t next_ms;

    take(f, "a", 4);
    label(f, "a.0", "yes");
    series_expire(&f->s, f->time_ms + LATENESS_MS - 1, LATENESS_MS, &next_ms);
    expect_due(f, MEASURE_QUALITY, "nothing");
    assert_int_equal(next_ms, f->time_ms + LATENESS_MS);
    series_expire(&f->s, f->time_ms + LATENESS_MS, LATENESS_MS, &next_ms);
    expect_due(f, MEASURE_QUALITY, "0 4 0-0 a.0..a.3");
    assert_int_equal(next_ms, INT64_MAX);
    assert_int_equal(label(f, "a.1", "yes"), LABEL_LATE);
    assert_int_equal(f->s.due[MEASURE_QUALITY]->labelled, 1);
}

static void a_label_observed_too_late_is_late(void **state)
{
    struct fixture *f = *state;
    struct label l = {
        .row = "a.0", .value = "yes", .observed_unix_ms = f->time_ms + LATENESS_MS + 1};
    struct piece *p;
    size_t at;

    take(f, "a", 4);
    assert_int_equal(join_find(f->all.join, "a.0", 0, &p, &at), JOIN_ROW);
    assert_int_equal(series_label(p, at, &l, LATENESS_MS), LABEL_LATE);
    l.observed_unix_ms--;
    assert_int_equal(series_label(p, at, &l, LATENESS_MS), LABEL_COUNTED);
}

static void the_oldest_window_is_judged_early_when_memory_is_short(void **state)
{
    struct fixture *f = *state;

    take(f, "a", 4);
    take(f, "b", 4);
    take(f, "c", 1);
    assert_non_null(windows_hurry(&f->all));
    expect_due(f, MEASURE_QUALITY, "0 4 0-0 a.0..a.3");
    assert_int_equal(f->all.due_rows, 4);
    assert_non_null(windows_hurry(&f->all));
    assert_null(windows_hurry(&f->all)); /* one that is being filled is not */
    assert_true(f->s.due[MEASURE_QUALITY]->is_hurried);
}

static void an_open_window_can_be_given_up(void **state)
{
    struct fixture *f = *state;

    take(f, "a", 4);
    take(f, "b", 3);
    assert_int_equal(series_drop_open(&f->s), 3);
    assert_int_equal(series_drop_open(&f->s), 0);
    assert_int_equal(f->all.n, 1);
}

/* ---- restart ---- */

static void the_next_window_begins_behind_the_last_measured_one(void **state)
{
    struct fixture *f = *state;

    take_at(f, "a", 3, 10);
    take_at(f, "b", 3, 11);
    label(f, "a.0", "yes"), label(f, "a.1", "yes"), label(f, "a.2", "yes"), label(f, "b.0", "yes");
    done(f, MEASURE_WINDOW);
    done(f, MEASURE_QUALITY);
    assert_int_equal(windows_predictions_from(&f->all), 11); /* b's other rows */
    restart(f);
    take_at(f, "b", 3, 11); /* read again from there */
    assert_int_equal(f->all.n, 1);
    assert_int_equal(f->s.open->rows, 2);
    take_at(f, "c", 2, 12);
    expect_due(f, MEASURE_WINDOW, "1 4 11-12 b.1..c.1");
}

static void a_measured_window_without_its_labels_is_opened_again(void **state)
{
    struct fixture *f = *state;

    take_at(f, "a", 3, 10);
    take_at(f, "b", 3, 11);
    done(f, MEASURE_WINDOW);
    restart(f);
    take_at(f, "a", 3, 10);
    expect_due(f, MEASURE_WINDOW, "nothing");
    label(f, "a.0", "yes"), label(f, "a.1", "yes"), label(f, "a.2", "no");
    take_at(f, "b", 3, 11);
    expect_due(f, MEASURE_WINDOW, "nothing"); /* it was measured */
    label(f, "b.0", "no");
    expect_due(f, MEASURE_QUALITY, "0 4 10-11 a.0..b.0");
    assert_string_equal(f->s.due[MEASURE_QUALITY]->closed_by->id,
                        "b"); /* the same cause: the same id */
    assert_int_equal(f->s.open->rows, 2);
    done(f, MEASURE_QUALITY);
    assert_int_equal(f->all.n, 1);
}

static void windows_of_another_cluster_count_on(void **state)
{
    struct fixture *f = *state;
    struct health_measured h = {.line = "p",
                                .kind = "window",
                                .generation = 7,
                                .window = 5,
                                .cluster = "another",
                                .partition = 2,
                                .from_offset = 0,
                                .to_offset = 100,
                                .first_prediction = "x.0",
                                .last_prediction = "y.0",
                                .predictions = WINDOW,
                                .verdict = "ok",
                                .reason = ""};
    struct event_parts parts = {.type = RECORD_HEALTH_MEASURED, .rec = &h, .id = "h"};

    line_fold(f->line, make_event(&parts));
    restart(f);
    take_at(f, "a", 4, 3);
    expect_due(f, MEASURE_WINDOW, "6 4 3-3 a.0..a.3");
}

static void a_window_whose_end_is_gone_is_forgotten(void **state)
{
    struct fixture *f = *state;

    take_at(f, "a", 3, 10);
    take_at(f, "b", 3, 11);
    done(f, MEASURE_WINDOW);
    restart(f);
    take_at(f, "a", 3, 10);
    assert_int_equal(f->all.n, 1);
    take_at(f, "c", 1, 12); /* b is not in the log any more */
    assert_int_equal(f->all.n, 1);
    assert_int_equal(f->s.open->number, 1);
}

/* Any log, cut anywhere: the windows that a second reader makes are those of the first. */
static void a_second_reading_makes_the_same_windows(void **state)
{
    struct fixture *f = *state;
    struct rng r;
    int64_t sizes[40], expected_from[100], n_expected = 0;
    char ids[40][16];

    rng_seed(&r, 5);
    for (int i = 0; i < 40; i++) {
        sizes[i] = 1 + (int64_t)rng_below(&r, 9);
        snprintf(ids[i], sizeof(ids[i]), "r%d", i);
        take_at(f, ids[i], sizes[i], i);
        for (; f->s.due[MEASURE_WINDOW] && n_expected < 100; n_expected++) {
            expected_from[n_expected] = f->s.due[MEASURE_WINDOW]->from_offset;
            if (n_expected < 20) /* the rest has not been measured when the process dies */
                done(f, MEASURE_WINDOW);
            else
                break;
        }
        if (f->s.due[MEASURE_WINDOW])
            break;
    }
    int64_t from = windows_predictions_from(&f->all), next = f->s.due[MEASURE_WINDOW]->number;
    CLEANUP_FREE char *last = xstrdup(f->s.due[MEASURE_WINDOW]->last_row);
    restart(f);
    for (int64_t i = from; !f->s.due[MEASURE_WINDOW]; i++)
        take_at(f, ids[i], sizes[i], i);
    assert_int_equal(f->s.due[MEASURE_WINDOW]->number, next);
    assert_int_equal(f->s.due[MEASURE_WINDOW]->from_offset, expected_from[n_expected]);
    assert_string_equal(f->s.due[MEASURE_WINDOW]->last_row, last);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_window_is_full_after_so_many_rows),
        TEST(records_may_straddle_windows),
        TEST(a_record_counts_once),
        TEST(malformed_records_are_told),
        TEST(quality_is_due_when_every_row_has_its_label),
        TEST(labels_are_waited_for_so_long),
        TEST(a_label_observed_too_late_is_late),
        TEST(the_oldest_window_is_judged_early_when_memory_is_short),
        TEST(an_open_window_can_be_given_up),
        TEST(the_next_window_begins_behind_the_last_measured_one),
        TEST(a_measured_window_without_its_labels_is_opened_again),
        TEST(windows_of_another_cluster_count_on),
        TEST(a_window_whose_end_is_gone_is_forgotten),
        TEST(a_second_reading_makes_the_same_windows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
