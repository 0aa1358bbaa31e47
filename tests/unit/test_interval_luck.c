/* A loop that retries until it passes will pass.  Ten thousand loops of twenty attempts each, by
 * the code that evaluates and the code that decides, with a fixed seed: how often does a candidate
 * that equals the champion get promoted, and how often one that is better?
 * time-limit: 600 under a sanitizer, on a busy machine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agents/evaluate/compare.h"
#include "common/gate.h"
#include "common/rng.h"

enum { LOOPS = 10000, ATTEMPTS = 20, ROWS = 100 };
static const double CONFIDENCE = 0.95;

struct loop {
    struct pipeline *p;
    struct rng r;
    double better_by; /* mean absolute error, of about 0.8 */
    double candidate[ATTEMPTS * ROWS], champion[ATTEMPTS * ROWS];
    float y[ATTEMPTS * ROWS];
};

/* What both get wrong, and what only one does. */
static void draw(struct loop *l, size_t from, size_t n)
{
    double scale = 1 - l->better_by * sqrt(M_PI / 2);

    for (size_t i = from; i < from + n; i++) {
        double both = rng_normal(&l->r);

        l->candidate[i] = scale * (both + rng_normal(&l->r)) / sqrt(2);
        l->champion[i] = (both + rng_normal(&l->r)) / sqrt(2);
    }
}

static bool is_promoted(struct loop *l, size_t rows, int64_t attempt, struct arena *arena)
{
    struct matrix m = {.rows = rows, .y = l->y};
    struct comparison c = {.pipeline = l->p,
                           .rows = &m,
                           .k = 1,
                           .candidate = l->candidate,
                           .champion = l->champion,
                           .attempt = attempt,
                           .seed = 1};
    struct model_evaluated e = {.line = "p",
                                .run = "r",
                                .model = "m",
                                .status = "evaluated",
                                .against = 1,
                                .rows = (int64_t)rows,
                                .confidence = CONFIDENCE};
    struct gate_judgement j;

    compare(&c, arena, &e.metrics);
    gate_judge(l->p, NULL, &e, 0, arena, &j);
    return strcmp(j.verdict, "promote") == 0;
}

/* Twenty candidates, each on rows of its own; 0: none was promoted. */
static int try_candidates(struct loop *l)
{
    for (int attempt = 1; attempt <= ATTEMPTS; attempt++) {
        struct arena arena = {0};
        bool is_in;

        draw(l, 0, ROWS);
        is_in = is_promoted(l, ROWS, attempt, &arena);
        arena_fini(&arena);
        if (is_in)
            return attempt;
    }
    return 0;
}

/* One candidate, looked at twenty times while rows are added. */
static int look_again(struct loop *l)
{
    for (int look = 1; look <= ATTEMPTS; look++) {
        struct arena arena = {0};
        bool is_in;

        draw(l, (size_t)(look - 1) * ROWS, ROWS);
        is_in = is_promoted(l, (size_t)look * ROWS, 1, &arena);
        arena_fini(&arena);
        if (is_in)
            return look;
    }
    return 0;
}

struct outcome {
    double at_first, in_all; /* share of loops */
};

static struct outcome run(const char *sequential, double better_by, int n,
                          int (*once)(struct loop *))
{
    CLEANUP(buf_fini) struct buf yaml = {0};
    struct loop *l = xcalloc(1, sizeof(*l));
    struct outcome o = {0};
    struct err err = {0};

    buf_addf(&yaml,
             "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: d, label: y}\n"
             "task: regression\nevaluate: {metrics: [mae], interval: closed, confidence: %g, "
             "sequential: %s}\ngate: {rules: [{metric: mae, better_than: champion, by_interval: "
             "true}]}",
             CONFIDENCE, sequential);
    if (pipeline_parse(buf_slice(&yaml), "p", &l->p, &err))
        fail_msg("%s", err.msg);
    l->better_by = better_by;
    rng_seed(&l->r, 11);
    for (int i = 0; i < n; i++) {
        int at = once(l);

        o.at_first += at == 1 ? 1.0 / n : 0;
        o.in_all += at > 0 ? 1.0 / n : 0;
    }
    print_message("sequential: %-8s %s, %s by %.2f: promoted %.4f at the first, %.4f within %d "
                  "(%d loops)\n",
                  sequential, once == look_again ? "one candidate on more rows" : "new candidates",
                  better_by > 0 ? "better" : "equal", better_by, o.at_first, o.in_all, ATTEMPTS, n);
    pipeline_free(l->p);
    free(l);
    return o;
}

/* An interval is wrong on the good side half as often as it is wrong. */
static double error(void)
{
    return (1 - CONFIDENCE) / 2;
}

static double binomial(double share, int n)
{
    return 3 * sqrt(share * (1 - share) / n);
}

static void an_equal_candidate_is_promoted_no_more_often_than_the_error(void **state)
{
    struct outcome off, attempts;

    (void)state;
    off = run("off", 0, LOOPS / 10, try_candidates);
    attempts = run("attempts", 0, LOOPS, try_candidates);
    assert_true(fabs(off.at_first - error()) < binomial(error(), LOOPS / 10));
    assert_true(off.in_all > 0.3); /* what the key is for */
    assert_true(attempts.in_all <= error() + binomial(error(), LOOPS));
}

static void an_equal_candidate_is_not_promoted_by_looking_again(void **state)
{
    struct outcome off, anytime;

    (void)state;
    off = run("off", 0, LOOPS / 20, look_again);
    anytime = run("anytime", 0, LOOPS / 5, look_again);
    assert_true(off.in_all > 0.06);
    assert_true(anytime.in_all <= error() / 2); /* the first attempt's part */
}

static void a_better_candidate_is_promoted_with_the_stated_power(void **state)
{
    struct outcome attempts, anytime;

    (void)state;
    attempts = run("attempts", 0.25, LOOPS, try_candidates);
    anytime = run("anytime", 0.1, LOOPS / 10, look_again);
    assert_true(attempts.at_first >= 0.9);
    assert_true(attempts.in_all >= 0.999);
    assert_true(anytime.in_all >= 0.99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_equal_candidate_is_promoted_no_more_often_than_the_error),
        cmocka_unit_test(an_equal_candidate_is_not_promoted_by_looking_again),
        cmocka_unit_test(a_better_candidate_is_promoted_with_the_stated_power),
    };

    return cmocka_run_group_tests_name("interval_luck", tests, NULL, NULL);
}
