/* Processes: started, killed, stopped; and one history from its first declaration to its rest. */
#include <stdarg.h>
#include <string.h>

#include "agents/deploy/deploy.h"
#include "agents/evaluate/evaluate.h"
#include "agents/gate/gate.h"
#include "agents/ingest/ingest.h"
#include "agents/monitor/monitor.h"
#include "agents/plan/plan.h"
#include "agents/serve/serve.h"
#include "agents/train/train.h"
#include "common/agent_internal.h"
#include "common/mem.h"
#include "tests/sim/sim.h"

enum { RESTART_MS = 1500, REST_S = 240, LONG_REST_S = 26 * 3600, CALM_S_MAX = 3 * 86400 };

struct sim_state sim;
struct sim_stats sim_stats;

static const struct agent_spec *const SPECS[SIM_AGENTS] = {
    &plan_agent,   &train_agent,  &evaluate_agent, &gate_agent,
    &deploy_agent, &ingest_agent, &monitor_agent,  &serve_agent,
};

const struct agent_spec *sim_spec(int agent)
{
    return SPECS[agent];
}

void sim_wrong(const char *fmt, ...)
{
    va_list args;
    if (sim.wrong[0])
        return;
    va_start(args, fmt);
    vsnprintf(sim.wrong, sizeof(sim.wrong), fmt, args);
    va_end(args);
    sim_trace("WRONG: %s", sim.wrong);
}

void sim_trace(const char *fmt, ...)
{
    va_list args;
    if (!sim.verbose)
        return;
    fprintf(stderr, "%12.6f ", (double)sim.now_us / 1e6);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

uint64_t sim_rand(struct sim_proc *p, uint64_t n)
{
    return n ? rng_below(&p->rng, n) : 0;
}

bool sim_chance(struct sim_proc *p, int per_mille)
{
    return per_mille > 0 && rng_below(&p->rng, 1000) < (uint64_t)per_mille;
}

/* ---- life of one ---- */

static const struct agent_spec *spec_of(const struct sim_proc *p)
{
    static struct agent_spec early[SIM_AGENTS];
    if (sim.mutant != MUTANT_COMMIT_EARLY)
        return p->spec;
    for (int i = 0; i < SIM_AGENTS; i++) {
        early[i] = *SPECS[i];
        early[i].is_answered = NULL;
        if (SPECS[i] == p->spec)
            return &early[i];
    }
    return p->spec;
}

void sim_proc_start(struct sim_proc *p)
{
    enum { ARGS = 16 };
    char *argv[ARGS];
    int argc = 0;
    struct err err = {0};
    if (p->is_up)
        return;
    argv[argc++] = arena_printf(&sim.arena, "relearn-%s", p->spec->name);
    argv[argc++] = arena_strdup(&sim.arena, "--brokers=sim");
    argv[argc++] = arena_printf(&sim.arena, "--instance=%s", p->name);
    argv[argc++] = arena_strdup(&sim.arena, "--data=/sim"); /* sim_files.c */
    argv[argc++] =
        arena_strdup(&sim.arena, sim.verbose > 1 ? "--log-level=debug" : "--log-level=error");
    if (p->shares)
        argv[argc++] = arena_printf(&sim.arena, "--share=%d/%d", p->share, p->shares);
    if (p->spec == &train_agent) {
        argv[argc++] = arena_strdup(&sim.arena, "--trainer-program=/bin/true");
        argv[argc++] = arena_strdup(&sim.arena, "--spare=false");
    }
    p->lives++;
    p->is_stopping = p->is_dying = false;
    rng_seed(&p->rng, sim.plan->seed * 1000003 + (uint64_t)p->index * 7919 + (uint64_t)p->lives);
    for (int r = 0; r < SIM_TOPICS; r++)
        p->slow[r] = sim_chance(p, sim.plan->noise.slow_topic);
    memset(p->served_sequence, 0, sizeof(p->served_sequence));
    sim_send_begin(p);
    p->loop = sim_loop_new(p);
    p->is_up = true;
    sim.current = p;
    sim_trace("start %s, life %d", p->name, p->lives);
    if (agent_new(spec_of(p), p->loop, argc, argv, &p->agent, &err) || agent_start(p->agent, &err))
        sim_wrong("%s does not start: %s", p->name, err.msg);
    sim.current = NULL;
}

static void end(struct sim_proc *p)
{
    p->is_dying = true;
    sim.current = p;
    agent_kill(p->agent);
    agent_free(p->agent);
    loop_free(p->loop);
    sim.current = NULL;
    p->agent = NULL;
    p->loop = NULL;
    p->is_up = p->is_dying = p->is_stopping = false;
    p->paused_until_us = p->cut_until_us = 0;
}

void sim_proc_kill(struct sim_proc *p)
{
    if (!p->is_up)
        return;
    sim_trace("kill %s", p->name);
    end(p);
}

static void start_again(void *ctx)
{
    sim_proc_start(ctx);
}

static void gone(void *ctx)
{
    struct sim_proc *p = ctx;
    if (!p->is_up || !p->is_stopping)
        return;
    sim_trace("stopped %s", p->name);
    end(p);
    sim_after(NULL, RESTART_MS * SIM_MS, TICK_WORLD, start_again, p);
}

static void on_stopped(void *ctx)
{
    sim_after(NULL, 0, TICK_WORLD, gone, ctx);
}

static void ask_to_stop(void *ctx)
{
    struct sim_proc *p = ctx;
    if (p->is_stopping)
        return;
    p->is_stopping = true;
    agent_stop(p->agent, on_stopped, p);
}

void sim_proc_stop(struct sim_proc *p)
{
    if (p->is_up && !p->is_stopping)
        sim_after(p->loop, 0, TICK_BUS, ask_to_stop, p);
}

/* A process that ended by itself is started again, as its supervisor would. */
static void look_after(void)
{
    for (int i = 0; i < sim.n_procs; i++) {
        struct sim_proc *p = &sim.procs[i];
        if (!p->is_up || p->is_stopping || !p->agent->is_stopped)
            continue;
        if (agent_exit_code(p->agent) != 75)
            sim_wrong("%s ended with exit code %d", p->name, agent_exit_code(p->agent));
        end(p);
        sim_after(NULL, RESTART_MS * SIM_MS, TICK_WORLD, start_again, p);
    }
}

/* ---- one history ---- */

static void make_procs(const struct sim_plan *plan)
{
    for (int i = 0; i < SIM_AGENTS; i++)
        for (int k = 0; k < plan->instances[i]; k++) {
            struct sim_proc *p = &sim.procs[sim.n_procs];
            *p = (struct sim_proc){.index = sim.n_procs++, .spec = SPECS[i]};
            snprintf(p->name, sizeof(p->name), "%s-%d", SPECS[i]->name, k + 1);
            if (plan->by_group && SPECS[i] != &serve_agent)
                continue;
            p->share = plan->same_share ? 1 : k + 1;
            p->shares = plan->same_share ? 1 : plan->instances[i];
        }
}

static void on_item(void *ctx)
{
    const struct sim_item *it = ctx;
    sim_item_do(it);
}

static void begin(const struct sim_plan *plan)
{
    sim_bus_reset();
    sim_artifact_reset();
    sim_store_reset();
    sim_codec_reset();
    sim_check_reset();
    make_procs(plan);
    for (int i = 0; i < sim.n_procs; i++)
        sim_proc_start(&sim.procs[i]);
    for (size_t i = 0; i < plan->n_items; i++)
        sim_after(NULL, plan->items[i].at_us, TICK_WORLD, on_item,
                  (void *)(uintptr_t)&plan->items[i]);
}

static void calm_down(void)
{
    sim_trace("---- calm ----");
    sim.is_calm = true;
    for (int i = 0; i < sim.n_procs; i++) {
        struct sim_proc *p = &sim.procs[i];
        p->cut_until_us = p->skew_us = 0;
        sim_after(NULL, RESTART_MS * SIM_MS, TICK_WORLD, start_again, p);
    }
}

/* What a clock that was a day ahead has put off, comes a day later. */
static int64_t rest_us(void)
{
    for (size_t i = 0; i < sim.plan->n_items; i++)
        if (sim_is_by_days(&sim.plan->items[i]))
            return LONG_REST_S * SIM_S;
    return REST_S * SIM_S;
}

static bool is_at_rest(void)
{
    size_t by_topic[SIM_TOPICS];
    if (sim.now_us - sim.last_append_us < rest_us() || sim_jobs_running() || sim_sending(by_topic))
        return false;
    for (int i = 0; i < sim.n_procs; i++)
        if (!sim.procs[i].is_up || sim.procs[i].is_stopping ||
            sim.procs[i].paused_until_us > sim.now_us || !agent_is_idle(sim.procs[i].agent))
            return false;
    return true;
}

/* Who keeps it from coming to rest. */
static const char *restless(void)
{
    CLEANUP(buf_fini) struct buf b = {0};
    for (int i = 0; i < sim.n_procs; i++) {
        const struct sim_proc *p = &sim.procs[i];
        const struct agent *a = p->agent;
        size_t pending = 0;
        if (!p->is_up || p->is_stopping)
            buf_addf(&b, " %s is %s", p->name, p->is_up ? "stopping" : "down");
        if (!p->is_up || agent_is_idle(a))
            continue;
        for (size_t k = 0; k < a->n_inputs; k++)
            for (int q = 0; q < a->inputs[k].partitions; q++)
                pending += a->inputs[k].parts[q].n_pending;
        buf_addf(&b, " %s (ready %d, dirty %d, emissions %u, publishing %zu, pending %zu)", p->name,
                 a->is_ready, a->dirty_head != NULL, HASH_COUNT(a->flights), a->publishing,
                 pending);
    }
    return arena_strdup(&sim.arena, b.data ? b.data : " nobody");
}

static void finish(void)
{
    for (int i = 0; i < sim.n_procs; i++) {
        sim_stats.restarts += (uint64_t)sim.procs[i].lives - 1;
        if (sim.procs[i].is_up)
            end(&sim.procs[i]);
    }
    sim_job_reset();
    sim_stats.histories++;
    sim_stats.steps += sim.steps;
    sim_stats.events += sim.appends;
    sim_queue_clear();
    sim_check_reset();
    sim_bus_reset();
    sim_artifact_reset();
    sim_store_reset();
    sim_files_reset();
    sim_codec_reset();
    sim_log_free();
    arena_fini(&sim.arena);
}

const char *sim_run(const struct sim_plan *plan, enum sim_mutant mutant, int verbose)
{
    enum { LOOK_EVERY = 64 };
    static char wrong[sizeof(sim.wrong)];
    sim = (struct sim_state){.plan = plan, .mutant = mutant, .verbose = verbose};
    begin(plan);
    while (!sim.wrong[0] && sim_step()) {
        look_after();
        if (!sim.is_calm && sim.now_us >= plan->active_us)
            calm_down();
        if (sim.steps > SIM_STEPS_MAX || sim.now_us > plan->active_us + CALM_S_MAX * SIM_S)
            sim_wrong("it never comes to rest:%s", restless());
        if (sim.is_calm && sim.steps % LOOK_EVERY == 0 && is_at_rest())
            break;
    }
    if (!sim.wrong[0] && !is_at_rest())
        sim_wrong("nothing is left to happen, and it is not at rest:%s", restless());
    if (!sim.wrong[0])
        sim_check_rest();
    finish();
    str_copy(wrong, sizeof(wrong), sim.wrong);
    return wrong[0] ? wrong : NULL;
}
