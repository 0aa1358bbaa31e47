/* The program: `sim [--seeds N] [--from S] [--seed S [-v]] [--corpus FILE] [--mutants]`. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/sim/sim.h"

enum { MUTANT_HISTORIES = 3000 };

struct options {
    uint64_t from, n, seed;
    bool has_seed, mutants, coverage, digests;
    int verbose;
    const char *corpus;
    enum sim_mutant mutant;
    double seconds;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_failure(uint64_t seed, const char *wrong, enum sim_mutant mutant)
{
    struct sim_plan p;
    CLEANUP_FREE char *first = xstrdup(wrong);
    sim_plan_make(seed, &p);
    printf("seed %llu: %s\n", (unsigned long long)seed, first);
    size_t before = p.n_items;
    sim_shrink(&p, mutant);
    const char *now = sim_run(&p, mutant, 0);
    printf("its shortened history (%zu of %zu items) fails with: %s\n", p.n_items, before,
           now ? now : "nothing");
    sim_plan_print(&p, stdout);
    printf("again: make sim SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
}

static bool run_seed(uint64_t seed, enum sim_mutant mutant, int verbose)
{
    struct sim_plan p;
    sim_plan_make(seed, &p);
    const char *wrong = sim_run(&p, mutant, verbose);
    if (!wrong)
        return true;
    print_failure(seed, wrong, mutant);
    return false;
}

static uint64_t run_many(const struct options *o)
{
    uint64_t failed = 0, printed = 0;
    double until = o->seconds > 0 ? now_s() + o->seconds : 0;
    for (uint64_t s = o->from; s < o->from + o->n && (until == 0 || now_s() < until); s++) {
        struct sim_plan p;
        sim_plan_make(s, &p);
        const char *wrong = sim_run(&p, o->mutant, 0);
        if (o->digests)
            printf("%llu %016llx\n", (unsigned long long)s, (unsigned long long)sim.digest);
        if (!wrong)
            continue;
        failed++;
        if (printed < 3) {
            printed++;
            print_failure(s, wrong, o->mutant);
        } else {
            printf("seed %llu: %s\n", (unsigned long long)s, wrong);
            fflush(stdout);
        }
    }
    return failed;
}

static uint64_t run_corpus(const char *path)
{
    FILE *f = fopen(path, "re");
    char line[512];
    uint64_t failed = 0, n = 0;
    if (!f) {
        fprintf(stderr, "sim: cannot read %s\n", path);
        return 1;
    }
    while (fgets(line, sizeof(line), f)) {
        char *end = NULL;
        uint64_t seed = strtoull(line, &end, 10);
        if (end == line)
            continue;
        n++;
        failed += run_seed(seed, MUTANT_NONE, 0) ? 0 : 1;
    }
    fclose(f);
    printf("corpus: %llu seeds, %llu fail\n", (unsigned long long)n, (unsigned long long)failed);
    return failed;
}

static uint64_t run_mutants(const struct options *o)
{
    uint64_t survived = 0;
    for (enum sim_mutant m = MUTANT_NONE + 1; m < MUTANT_COUNT; m++) {
        const char *wrong = NULL;
        uint64_t s = o->from;
        for (; s < o->from + MUTANT_HISTORIES && !wrong; s++) {
            struct sim_plan p;
            sim_plan_make(s, &p);
            wrong = sim_run(&p, m, 0);
        }
        survived += wrong ? 0 : 1;
        if (wrong)
            printf("mutant %s: caught by history %llu: %s\n", sim_mutant_str(m),
                   (unsigned long long)(s - o->from), wrong);
        else
            printf("mutant %s: NOT caught by %d histories\n", sim_mutant_str(m), MUTANT_HISTORIES);
        fflush(stdout);
    }
    return survived;
}

static void print_coverage(void)
{
    printf("faults and inputs, and in how many histories' moments each event was on its way:\n");
    for (int k = 0; k < ITEM_KINDS; k++) {
        printf("  %-9s %8llu:", sim_item_str((enum sim_item_kind)k),
               (unsigned long long)sim_stats.items[k]);
        for (int r = 1; r < SIM_TOPICS; r++)
            if (sim_stats.in_flight[k][r])
                printf(" %s=%llu", record_topic((enum record)r),
                       (unsigned long long)sim_stats.in_flight[k][r]);
        printf("\n");
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

static void parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "-v") == 0)
            o->verbose++;
        else if (strcmp(argv[i], "--mutants") == 0)
            o->mutants = true;
        else if (strcmp(argv[i], "--digests") == 0)
            o->digests = true;
        else if (strcmp(argv[i], "--coverage") == 0)
            o->coverage = true;
        else if (strcmp(argv[i], "--seeds") == 0)
            o->n = strtoull(next, NULL, 10), i++;
        else if (strcmp(argv[i], "--from") == 0)
            o->from = strtoull(next, NULL, 10), i++;
        else if (strcmp(argv[i], "--seconds") == 0)
            o->seconds = strtod(next, NULL), i++;
        else if (strcmp(argv[i], "--corpus") == 0)
            o->corpus = next, i++;
        else if (strcmp(argv[i], "--mutant") == 0)
            o->mutant = mutant_of(next), i++;
        else if (strcmp(argv[i], "--seed") == 0) {
            o->seed = strtoull(next, NULL, 10);
            o->has_seed = true;
            i++;
        } else {
            fprintf(stderr, "sim: what is %s?\n", argv[i]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct options o = {.from = 1, .n = 0};
    double began = now_s();
    uint64_t failed = 0;
    parse(argc, argv, &o);
    if (o.has_seed && o.verbose) {
        struct sim_plan p;
        sim_plan_make(o.seed, &p);
        sim_plan_print(&p, stderr);
    }
    if (o.has_seed)
        failed += run_seed(o.seed, o.mutant, o.verbose) ? 0 : 1;
    if (o.corpus)
        failed += run_corpus(o.corpus);
    if (o.n)
        failed += run_many(&o);
    if (o.mutants)
        failed += run_mutants(&o);
    if (o.coverage)
        print_coverage();
    double s = now_s() - began;
    sim_data_remove();
    printf("%llu histories, %llu steps, %llu events, %llu generations, %llu trainings, %llu "
           "predictions, %llu restarts in %.1f s: %.0f histories and %.0f steps a second; %llu "
           "failed\n",
           (unsigned long long)sim_stats.histories, (unsigned long long)sim_stats.steps,
           (unsigned long long)sim_stats.events, (unsigned long long)sim_stats.generations,
           (unsigned long long)sim_stats.runs, (unsigned long long)sim_stats.predictions,
           (unsigned long long)sim_stats.restarts, s, (double)sim_stats.histories / s,
           (double)sim_stats.steps / s, (unsigned long long)failed);
    return failed ? 1 : 0;
}
