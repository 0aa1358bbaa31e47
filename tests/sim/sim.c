/* The program.  Without arguments it does what CI does: the corpus of histories that once failed, a
 * history for each mutant that must be noticed, and HISTORIES from their seeds.
 *
 *   sim --seed S [-v [-v]]      one again; -v its events, -v -v what the agents log
 *   sim --plan 'LINE' [-v]      one as the corpus has it
 *   sim --seeds N [--from S]    so many, or as many as --seconds T allows
 *   sim --mutants               looks for a history that catches each, and prints it shortened
 *   --mutant NAME               takes a rule out;  --coverage: which faults met which events
 *
 * time-limit: 900 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

enum {
    HISTORIES = 4000,
    MUTANT_HISTORIES = 4000,
    SHORTENED = 3,
    LINE_BYTES = 64 << 10,
    /* Larger blocks come from the kernel, zeroed as they are touched: ingest's and monitor's
     * tables, of which a history uses little. Smaller ones, as its arena has, are kept. */
    LARGE_BYTES = 520 << 10,
    KEPT_BYTES = 64 << 20,
};
#define CORPUS "tests/sim/corpus"
#define MUTANTS "tests/sim/mutants"

struct options {
    uint64_t from, n, seed;
    bool has_seed, mutants, coverage, digests;
    int verbose;
    const char *plan;
    enum sim_mutant mutant;
    double seconds;
};
static unsigned passed, failed;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_shortened(const struct sim_plan *from, enum sim_mutant mutant, FILE *to)
{
    struct sim_plan p = *from;
    sim_shrink(&p, mutant);
    const char *wrong = sim_run(&p, mutant, 0);
    fprintf(to, "shortened, %zu of %zu items: %s\n", p.n_items, from->n_items,
            wrong ? wrong : "nothing is wrong");
    sim_plan_print(&p, to);
    fprintf(to, "again: make sim PLAN='");
    sim_plan_write(&p, to);
    fprintf(to, "'\n");
    fflush(to);
}

static bool run_plan(const struct sim_plan *p, const struct options *o)
{
    const char *wrong = sim_run(p, o->mutant, o->verbose);
    if (o->digests)
        printf("%llu %016llx\n", (unsigned long long)p->seed, (unsigned long long)sim.digest);
    if (!wrong) {
        passed++;
        return true;
    }
    printf("seed %llu: %s\n", (unsigned long long)p->seed, wrong);
    fflush(stdout);
    if (failed++ < SHORTENED)
        print_shortened(p, o->mutant, stdout);
    return false;
}

static void run_seeds(const struct options *o)
{
    double until = o->seconds > 0 ? now_s() + o->seconds : 0;
    for (uint64_t s = o->from; s < o->from + o->n && (until == 0 || now_s() < until); s++) {
        struct sim_plan p;
        sim_plan_make(s, &p);
        run_plan(&p, o);
    }
}

static enum sim_mutant mutant_of(const char *name)
{
    for (enum sim_mutant m = MUTANT_NONE; m < MUTANT_COUNT; m++)
        if (strcmp(sim_mutant_str(m), name) == 0)
            return m;
    fprintf(stderr, "sim: no mutant %s\n", name);
    exit(2);
}

/* Each line a plan, after a word of its own in the file of mutants; # begins what people read. */
static void each_line(const char *path, void (*fn)(char *line, void *ctx), void *ctx)
{
    FILE *f = fopen(path, "re");
    char *line = xmalloc(LINE_BYTES);
    while (f && fgets(line, LINE_BYTES, f))
        if (line[0] != '#' && line[0] != '\n')
            fn(line, ctx);
    if (!f) {
        fprintf(stderr, "sim: cannot read %s: run it from the root of the sources\n", path);
        failed++;
    } else {
        fclose(f);
    }
    free_ptr(&line);
}

static void replay(char *line, void *ctx)
{
    struct sim_plan p;
    if (sim_plan_read(line, &p)) {
        run_plan(&p, ctx);
        return;
    }
    printf("not a plan: %.60s\n", line);
    failed++;
}

static void expect_caught(char *line, void *ctx)
{
    bool *is_caught = ctx;
    struct sim_plan p;
    char *rest = strchr(line, ' ');
    if (rest)
        *rest = '\0';
    enum sim_mutant m = mutant_of(line);
    is_caught[m] = rest && sim_plan_read(rest + 1, &p) && sim_run(&p, m, 0);
    if (rest && sim_run(&p, MUTANT_NONE, 0)) {
        printf("the history for the mutant %s fails without it, too\n", line);
        failed++;
    }
}

static void check_mutants(void)
{
    bool is_caught[MUTANT_COUNT] = {0};
    each_line(MUTANTS, expect_caught, is_caught);
    for (enum sim_mutant m = MUTANT_NONE + 1; m < MUTANT_COUNT; m++) {
        passed += is_caught[m] ? 1 : 0;
        failed += is_caught[m] ? 0 : 1;
        if (!is_caught[m])
            printf("mutant %s is not noticed by the history in %s: sim --mutants finds another\n",
                   sim_mutant_str(m), MUTANTS);
    }
}

static void find_mutants(const struct options *o)
{
    for (enum sim_mutant m = MUTANT_NONE + 1; m < MUTANT_COUNT; m++) {
        struct sim_plan p;
        const char *wrong = NULL;
        uint64_t s = o->from;
        for (; s < o->from + MUTANT_HISTORIES && !wrong; s++) {
            sim_plan_make(s, &p);
            wrong = sim_run(&p, m, 0);
        }
        passed += wrong ? 1 : 0;
        failed += wrong ? 0 : 1;
        printf("# %s: %s by %llu histories%s%s\n", sim_mutant_str(m),
               wrong ? "caught" : "NOT caught", (unsigned long long)(s - o->from),
               wrong ? ": " : "", wrong ? wrong : "");
        if (wrong) {
            sim_shrink(&p, m);
            printf("%s ", sim_mutant_str(m));
            sim_plan_write(&p, stdout);
            printf("\n");
        }
        fflush(stdout);
    }
}

static void print_coverage(void)
{
    static const char *const MOMENT[] = {"sent", "landed", "told", "read", "committed"};
    printf("items, and how often an event of each topic was on its way to somebody:\n");
    for (int k = 0; k < ITEM_KINDS; k++) {
        printf("  %-9s %8llu:", sim_item_str((enum sim_item_kind)k),
               (unsigned long long)sim_stats.items[k]);
        for (int r = 1; r < SIM_TOPICS; r++)
            if (sim_stats.in_flight[k][r])
                printf(" %s=%llu", record_topic((enum record)r),
                       (unsigned long long)sim_stats.in_flight[k][r]);
        printf("\n");
    }
    printf("crashes at the moment when an event was\n");
    for (int m = 0; m < MOMENTS; m++) {
        printf("  %-9s:", MOMENT[m]);
        for (int r = 1; r < SIM_TOPICS; r++)
            printf(" %s=%llu", record_topic((enum record)r),
                   (unsigned long long)sim_stats.ambushed[m][r]);
        printf("\n");
    }
}

static bool take_flag(const char *arg, struct options *o)
{
    if (strcmp(arg, "-v") == 0)
        o->verbose++;
    else if (strcmp(arg, "--mutants") == 0)
        o->mutants = true;
    else if (strcmp(arg, "--coverage") == 0)
        o->coverage = true;
    else if (strcmp(arg, "--digests") == 0)
        o->digests = true;
    else
        return false;
    return true;
}

static bool take_value(const char *arg, const char *value, struct options *o)
{
    if (strcmp(arg, "--seeds") == 0)
        o->n = strtoull(value, NULL, 10);
    else if (strcmp(arg, "--from") == 0)
        o->from = strtoull(value, NULL, 10);
    else if (strcmp(arg, "--seconds") == 0)
        o->seconds = strtod(value, NULL);
    else if (strcmp(arg, "--plan") == 0)
        o->plan = value;
    else if (strcmp(arg, "--mutant") == 0)
        o->mutant = mutant_of(value);
    else if (strcmp(arg, "--seed") == 0) {
        o->seed = strtoull(value, NULL, 10);
        o->has_seed = true;
    } else
        return false;
    return true;
}

static void parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        if (take_flag(argv[i], o))
            continue;
        if (i + 1 == argc || !take_value(argv[i], argv[i + 1], o)) {
            fprintf(stderr, "sim: what is %s?\n", argv[i]);
            exit(2);
        }
        i++;
    }
}

static void run(struct options *o)
{
    if (o->has_seed) {
        struct sim_plan p;
        sim_plan_make(o->seed, &p);
        if (o->verbose)
            sim_plan_print(&p, stderr);
        run_plan(&p, o);
    }
    if (o->plan) {
        CLEANUP_FREE char *line = xstrdup(o->plan);
        replay(line, o);
    }
    if (o->mutants)
        find_mutants(o);
    if (!o->has_seed && !o->plan && !o->mutants && !o->n) {
        each_line(CORPUS, replay, o);
        check_mutants();
        o->n = HISTORIES;
    }
    run_seeds(o);
    if (o->coverage)
        print_coverage();
}

int main(int argc, char **argv)
{
    struct options o = {.from = 1};
    double began = now_s();
    parse(argc, argv, &o);
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    run(&o);
    double s = now_s() - began;
    printf("%llu histories, %llu steps, %llu events, %llu generations, %llu trainings, %llu "
           "predictions, %llu restarts in %.1f s: %.0f histories and %.0f steps a second\n",
           (unsigned long long)sim_stats.histories, (unsigned long long)sim_stats.steps,
           (unsigned long long)sim_stats.events, (unsigned long long)sim_stats.generations,
           (unsigned long long)sim_stats.runs, (unsigned long long)sim_stats.predictions,
           (unsigned long long)sim_stats.restarts, s, (double)sim_stats.histories / s,
           (double)sim_stats.steps / s);
    printf("%u passed, %u failed\n", passed, failed);
    return failed ? 1 : 0;
}
