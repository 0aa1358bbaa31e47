/* `relearn demo`: a replay of generated data with two planted changes, and a verdict on whether the
 * loop met them.
 *
 * The stream: six numbers and a category; the label follows a noisy linear rule of them.  At
 * ABRUPT_ROW the rule is another one from one row to the next; from GRADUAL_FROM to GRADUAL_TO rows
 * follow a third rule with rising probability (Gama et al. 2014, "A survey on concept drift
 * adaptation": sudden and gradual drift). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agents/relearn/replay.h"
#include "agents/relearn/replay_internal.h"
#include "common/clk.h"
#include "common/log.h"
#include "common/rng.h"

enum {
    ROWS = 20000,
    BATCH = 500,
    ABRUPT_ROW = 7000,
    GRADUAL_FROM = 12000,
    GRADUAL_TO = 15000,
    FEATURES = 6,
    SEED = 20260501,
    MEET_WITHIN_BATCHES = 4, /* a promotion must follow the change within so many batches */
};
static const double MAX_LOSS =
    0.06; /* of accuracy, after the loop has met a change, against before it */

static const double RULES[3][FEATURES] = {
    {2.0, -1.5, 1.0, 0.0, 0.5, 0.0},
    {-1.5, 0.5, 0.0, 2.0, 0.0, -1.0},
    {0.5, 2.0, -1.5, 0.0, -1.0, 1.0},
};
static const char *const SHOPS[] = {"north", "south", "east", "west"};
static const double SHOP_EFFECT[] = {0.6, -0.6, 0.2, -0.2};

static int rule_of_row(size_t row, struct rng *r)
{
    if (row < ABRUPT_ROW)
        return 0;
    if (row < GRADUAL_FROM)
        return 1;
    double share =
        row >= GRADUAL_TO ? 1 : (double)(row - GRADUAL_FROM) / (GRADUAL_TO - GRADUAL_FROM);
    return rng_double(r) < share ? 2 : 1;
}

static void write_row(size_t row, struct rng *r, struct buf *out)
{
    const double *rule = RULES[rule_of_row(row, r)];
    double x[FEATURES], score = 0;
    for (int i = 0; i < FEATURES; i++) {
        x[i] = rng_normal(r);
        score += rule[i] * x[i];
        buf_addf(out, "%.5f,", x[i]);
    }
    size_t shop = (size_t)rng_below(r, ARRAY_LEN(SHOPS));
    score += SHOP_EFFECT[shop];
    bool label = rng_double(r) < 1 / (1 + exp(-2 * score));
    buf_addf(out, "%s,%d\n", SHOPS[shop], label ? 1 : 0);
}

static int generate(const char *path, struct err *err)
{
    struct rng r;
    CLEANUP(buf_fini) struct buf out = {0};
    rng_seed(&r, SEED);
    for (int i = 0; i < FEATURES; i++)
        buf_addf(&out, "x%d,", i + 1);
    buf_add_str(&out, "shop,buys\n");
    for (size_t row = 0; row < ROWS; row++)
        write_row(row, &r, &out);
    return fsx_write_file(path, out.data, out.len, err);
}

/* Accuracy over batches [from, to). */
static double accuracy_of(const struct replay *r, size_t from, size_t to)
{
    struct score sum = {0};
    for (size_t i = from; i < to && i < r->n_batches; i++) {
        sum.rows += r->by_batch[i].rows;
        sum.correct += r->by_batch[i].correct;
    }
    return score_accuracy(&sum);
}

static bool promoted_between(const struct replay *r, size_t from_row, size_t to_row)
{
    for (size_t i = 0; i < r->n_served; i++)
        if (r->served[i].first_row > from_row && r->served[i].first_row <= to_row)
            return true;
    return false;
}

/* Met: a new model within a few batches, and the accuracy is back. */
static bool judge_change(const struct replay *r, const char *what, size_t from_row,
                         size_t settled_row, size_t end_row)
{
    double before = accuracy_of(r, from_row / BATCH - 4, from_row / BATCH);
    double after = accuracy_of(r, settled_row / BATCH + MEET_WITHIN_BATCHES + 2, end_row / BATCH);
    bool promoted = promoted_between(r, from_row, settled_row + (MEET_WITHIN_BATCHES + 1) * BATCH);
    bool met = promoted && isfinite(after) && after >= before - MAX_LOSS;
    printf("%-8s change at row %zu: %s (accuracy %.3f before, %.3f after%s)\n", what, from_row,
           met ? "met" : "MISSED", before, after, promoted ? "" : ", no new model in time");
    return met;
}

static int judge(struct replay *r)
{
    printf("\n");
    bool met = judge_change(r, "abrupt", ABRUPT_ROW, ABRUPT_ROW, GRADUAL_FROM);
    met = judge_change(r, "gradual", GRADUAL_FROM, GRADUAL_TO, ROWS) && met;
    return met ? replay_verdict(r) : 1;
}

static void say_where_to_look(const struct replay *r)
{
    printf(
        "\nwhere to look next:\n"
        "  relearn up                      start an installation of your own (relearn help lists "
        "the commands)\n"
        "  relearn replay FILE --label C   the same with your data\n"
        "  agents/README.md                what each agent does and what it says in which topic\n");
    if (conf_bool(r->conf, "keep"))
        printf("  relearn history %s --data %s\n  relearn explain ID --data %s\n", r->name,
               r->in.data, r->in.data);
}

int demo_main(int argc, char **argv)
{
    struct err err = {0};
    struct replay r = {0};
    CLEANUP_FREE char *dir = fsx_tmpdir("relearn-demo", &err);
    CLEANUP_FREE char *csv = dir ? fsx_join(dir, "demo.csv") : NULL;
    CLEANUP_FREE char *batch = xasprintf("%d", BATCH);
    enum { MAX_ARGS = 40 };
    char *args[MAX_ARGS + 8];
    int n = 0, code = 1;
    for (int i = 0; i < argc && n < MAX_ARGS; i++) {
        if (i && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            printf("relearn demo [--keep] [--bus BROKERS] [--data DIR] [--json]\n\nReplays "
                   "generated data with an abrupt and a gradual change; exits with 1 when the loop "
                   "missed one.\n\nexample: relearn demo\n");
            return 0;
        }
        args[n++] = argv[i];
    }
    if (!dir || generate(csv, &err)) {
        fprintf(stderr, "relearn demo: %s\n", err.msg);
        return 1;
    }
    args[n++] = csv;
    args[n++] = (char *)(uintptr_t) "--label=buys";
    args[n++] = (char *)(uintptr_t) "--batch";
    args[n++] = batch;
    args[n] = NULL;
    log_init("demo", LOG_WARN);
    r.started_ms = clk_mono_ms(&clk_system);
    if (replay_setup(&r, n, args, &err) || replay_begin(&r, &err)) {
        fprintf(stderr, "relearn demo: %s\n", err.msg);
    } else if (replay_run(&r, &err)) {
        fprintf(stderr, "relearn demo: %s\n", err.msg);
        replay_print_table(&r);
    } else {
        replay_print_table(&r);
        code = judge(&r);
        say_where_to_look(&r);
    }
    replay_fini(&r);
    if (fsx_remove_tree(dir, &err))
        fprintf(stderr, "relearn demo: %s\n", err.msg);
    return code;
}
