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

struct change {
    const char *name;
    size_t from_row, settled_row, end_row;
};
static const struct change CHANGES[] = {
    {"abrupt", ABRUPT_ROW, ABRUPT_ROW, GRADUAL_FROM},
    {"gradual", GRADUAL_FROM, GRADUAL_TO, ROWS},
};

/* Met: a new model within a few batches, and the accuracy is back. */
static bool judge_change(const struct replay *r, const struct change *c, struct json *ret)
{
    enum { BEFORE_BATCHES = 4, SETTLE_BATCHES = 2 };
    size_t change = c->from_row / BATCH, settled = c->settled_row / BATCH + MEET_WITHIN_BATCHES;
    double before = accuracy_of(r, change - BEFORE_BATCHES, change);
    double after = accuracy_of(r, settled + SETTLE_BATCHES, c->end_row / BATCH);
    bool promoted = promoted_between(r, c->from_row, (settled + 1) * BATCH);
    bool met = promoted && isfinite(after) && after >= before - MAX_LOSS;
    json_set_str(ret, "change", c->name);
    json_set_int(ret, "row", (int64_t)c->from_row);
    json_set_bool(ret, "met", met);
    json_set_bool(ret, "new_model_in_time", promoted);
    json_set_num(ret, "accuracy_before", before);
    json_set_num(ret, "accuracy_after", after);
    if (!r->is_json)
        printf("%-8s change at row %zu: %s (accuracy %.3f before, %.3f after%s)\n", c->name,
               c->from_row, met ? "met" : "MISSED", before, after,
               promoted ? "" : ", no new model in time");
    return met;
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

/* Prints what came of it; the exit code. */
static int conclude(struct replay *r)
{
    CLEANUP(json_freep) struct json *j = replay_to_json(r);
    struct json *changes = json_set(j, "changes", json_array());
    bool all_met = true;
    if (!r->is_json) {
        replay_print_table(r);
        printf("\n");
    }
    for (size_t i = 0; i < ARRAY_LEN(CHANGES); i++)
        all_met = judge_change(r, &CHANGES[i], json_add(changes, json_object())) && all_met;
    if (r->is_json) {
        CLEANUP(buf_fini) struct buf out = {0};
        json_write(j, 0, false, &out);
        puts(out.data);
    } else {
        say_where_to_look(r);
    }
    return all_met ? replay_verdict(r) : 1;
}

static int play(int argc, char **argv)
{
    struct err err = {0};
    struct replay r = {.started_ms = clk_mono_ms(&clk_system)};
    int code = 1;
    if (replay_setup(&r, argc, argv, &err) || replay_begin(&r, &err)) {
        fprintf(stderr, "relearn demo: %s\n", err.msg);
    } else if (replay_run(&r, &err)) {
        fprintf(stderr, "relearn demo: %s\n", err.msg);
        replay_print_table(&r);
    } else {
        code = conclude(&r);
    }
    replay_fini(&r);
    return code;
}

/* ---- options: a replay's, but for what the demo settles itself ---- */

enum { MAX_OPTIONS = 16 };

static void demo_options(struct conf_option out[MAX_OPTIONS])
{
    static const char *const OWN[] = {"label", "batch", "pipeline", "segment"};
    size_t n = 0;
    for (const struct conf_option *o = replay_options; o->name; o++) {
        bool is_own = false;
        for (size_t i = 0; i < ARRAY_LEN(OWN); i++)
            is_own = is_own || strcmp(OWN[i], o->name) == 0;
        BUG_ON(n + 1 >= MAX_OPTIONS);
        if (!is_own)
            out[n++] = *o;
    }
    out[n] = (struct conf_option){0};
}

/* True when there is nothing to play: help was asked for, or the words are wrong. */
static bool is_settled(int argc, char **argv, int *ret_code)
{
    struct conf_option options[MAX_OPTIONS];
    const struct conf_option *tables[] = {options, NULL};
    struct conf *conf = NULL;
    struct err err = {0};
    CLEANUP(buf_fini) struct buf text = {0};
    const char *const *args;
    demo_options(options);
    *ret_code = 2;
    if (conf_parse(tables, argc, argv, &conf, &err)) {
        fprintf(stderr, "relearn demo: %s\n", err.msg);
        return true;
    }
    bool is_asked = conf_print_if_asked(conf, "relearn demo",
                                        "Replays generated data with an abrupt and a gradual "
                                        "change; exits with 1 when the loop missed one.",
                                        "relearn demo", &text);
    bool is_wrong = !is_asked && conf_args(conf, &args) > 0;
    if (is_asked)
        fwrite(text.data, 1, text.len, stdout);
    if (is_wrong)
        fprintf(stderr, "relearn demo: usage: relearn demo [options]\n");
    conf_free(conf);
    *ret_code = is_wrong ? 2 : 0;
    return is_asked || is_wrong;
}

int demo_main(int argc, char **argv)
{
    int code = 1;
    log_init("demo", LOG_WARN);
    if (is_settled(argc, argv, &code))
        return code;
    struct err err = {0};
    struct arena mem = {0};
    CLEANUP_FREE char *dir = fsx_tmpdir("relearn-demo", &err);
    CLEANUP_FREE char *csv = dir ? fsx_join(dir, "demo.csv") : NULL;
    code = 1;
    if (csv && generate(csv, &err) == 0) {
        char **args = arena_alloc(&mem, ((size_t)argc + 4) * sizeof(*args));
        memcpy(args, argv, (size_t)argc * sizeof(*args));
        args[argc] = csv;
        args[argc + 1] = arena_strdup(&mem, "--label=buys");
        args[argc + 2] = arena_printf(&mem, "--batch=%d", BATCH);
        code = play(argc + 3, args);
    }
    arena_fini(&mem);
    if (dir && fsx_remove_tree(dir, &err))
        code = 1;
    if (err.code)
        fprintf(stderr, "relearn demo: %s\n", err.msg);
    return code;
}
