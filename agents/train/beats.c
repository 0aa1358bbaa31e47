/* Beats: what tells other instances that a run is alive, and people how far it is. */
#include <math.h>
#include <string.h>

#include "agents/train/train_internal.h"
#include "common/log.h"

enum {
    PHASE_MS = 500
}; /* a new phase is told at once when the last beat is older: short runs send one beat */

void train__beat(struct running *r, const char *phase)
{
    const struct progress *p = &r->progress;
    struct err err = {0};
    struct training_progressed rec = {
        .line = r->order.line,
        .run = r->order.run,
        .attempt = r->order.attempt,
        .instance = agent_instance(r->agent),
        .phase = phase,
        .trial = p->trial,
        .trials = p->trials,
        .round = p->round,
        .rounds = p->rounds,
        .metric = p->metric[0] ? p->metric : NULL,
        .value = p->metric[0] ? p->value : NAN,
        .beat = r->beat++,
        .progressed_unix_ms = agent_now_ms(r->agent),
    };
    struct publication pub = {.record = RECORD_TRAINING_PROGRESSED,
                              .rec = &rec,
                              .cause = r->order.run,
                              .correlation = r->correlation,
                              .hops = r->hops + 1};

    r->last_beat_ms = clk_mono_ms(agent_clk(r->agent));
    if (agent_publish(r->agent, &pub, NULL, NULL, NULL,
                      &err)) /* the next one comes in two seconds */
        log_warn("train.beat", "run=%s error=%s", r->order.run, err.msg);
}

void train__on_line(void *ctx, const char *line)
{
    struct running *r = ctx;
    struct progress p;
    bool is_new;

    if (!progress_parse(line, &p)) {
        log_debug("train.said", "run=%s text=%s", r->order.run, line);
        return;
    }
    if (strcmp(p.phase, "stored") == 0) { /* its end, some ms later, need not be waited for */
        r->is_stored = true;
        agent_touch(r->agent, agent_unit(r->agent, RECORD_TRAINING_PLANNED, r->order.line));
        return;
    }
    is_new = strcmp(p.phase, r->progress.phase) != 0;
    r->progress = p;
    if (is_new && clk_mono_ms(agent_clk(r->agent)) - r->last_beat_ms >= PHASE_MS)
        train__beat(r, p.phase);
}

void train__on_beat_timer(void *ctx)
{
    struct agent *a = ctx;
    struct train_self *self = agent_self(a);
    int64_t now_ms = clk_mono_ms(agent_clk(a));

    for (struct running *r = self->running; r; r = r->next)
        if (now_ms - r->last_beat_ms >= TRAIN_BEAT_MS - 100)
            train__beat(r, r->progress.phase[0] ? r->progress.phase : "started");
    if (self->running)
        loop_timer_start(self->beat_timer, TRAIN_BEAT_MS / 2);
}
