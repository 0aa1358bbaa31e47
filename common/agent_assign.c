/* Who works on which partitions, and from where they are read.
 *
 * By share: partition p belongs to share i of n when p % n == i - 1; no coordinator.  By group: the
 * group hands out the partitions of the work topics (range: the same numbers of each), and tables
 * follow. Globals are read by everybody.  Control topics are read from the start (or from where the
 * cache ends), streams from the committed position, once the tables beside them have been read to
 * the end. */
#include <string.h>

#include "common/agent_internal.h"
#include "common/log.h"
#include "common/mem.h"

enum { TOPIC_POLL_MS = 50 }; /* between two looks for topics that are not there yet */

static bool is_shared_out(enum input_kind k)
{
    return k == INPUT_WORK || k == INPUT_TABLE || k == INPUT_STREAM;
}

static bool is_stream(enum input_kind k)
{
    return k == INPUT_STREAM || k == INPUT_GLOBAL_STREAM;
}

/* Partition counts of every input; false while a topic is not known yet. */
static bool learn_partitions(struct agent *a)
{
    bool all = true;
    for (size_t i = 0; i < a->n_inputs; i++) {
        struct input *in = &a->inputs[i];
        if (in->partitions)
            continue;
        int n = bus_partitions(a->bus, in->topic);
        if (n <= 0) {
            all = false;
            continue;
        }
        in->partitions = n;
        in->parts = xcalloc((size_t)n, sizeof(*in->parts));
    }
    return all;
}

/* Topics of one line must lie side by side. */
static bool have_same_partitions(struct agent *a)
{
    const struct input *first = NULL;
    for (size_t i = 0; i < a->n_inputs; i++) {
        const struct input *in = &a->inputs[i];
        if (!is_shared_out(in->kind))
            continue;
        if (!first)
            first = in;
        if (in->partitions == first->partitions)
            continue;
        struct err err = {0};
        err_set(&err, ERR_INVAL, NEXT_FATAL,
                "topic %s has %d partitions, %s has %d: they must have the same number; see "
                "`relearn topics`",
                in->topic, in->partitions, first->topic, first->partitions);
        agent__fail(a, 1, "agent.topics", &err);
        return false;
    }
    return true;
}

static int prepare_part(struct agent *a, struct input *in, int partition, struct bus_position *ret,
                        struct err *err)
{
    struct part *p = &in->parts[partition];
    p->assigned = true;
    *ret = (struct bus_position){.topic = in->topic, .partition = partition};
    if (in->kind == INPUT_STREAM) {
        ret->offset = p->next ? p->next : BUS_OFFSET_COMMITTED;
    } else if (in->kind == INPUT_GLOBAL_STREAM) {
        if (!p->next && a->spec->position)
            p->next = a->spec->position(a, in->record, partition);
        ret->offset = p->next > 0
                          ? p->next
                          : 0; /* 0, not "earliest": no round trip a partition to look it up */
    } else {
        if (!p->next && agent__cache_restore(a, in, partition, err))
            return -1;
        p->verify = p->next > 0 && !p->at_end;
        ret->offset = p->next > 0 ? p->next - (p->verify ? 1 : 0) : 0;
    }
    return 0;
}

/* Assigns the owned partitions of shared-out inputs and all of the globals. */
static void assign(struct agent *a, const bool *owned, int n_owned)
{
    struct bus_position *list = NULL;
    size_t n = 0, cap = 0;
    struct err err = {0};
    for (size_t i = 0; i < a->n_inputs; i++) {
        struct input *in = &a->inputs[i];
        for (int p = 0; p < in->partitions; p++) {
            if (is_shared_out(in->kind) && (p >= n_owned || !owned[p]))
                continue;
            list = xgrow(list, &cap, n + 1, sizeof(*list));
            if (prepare_part(a, in, p, &list[n], &err)) {
                agent__fail(a, 1, "agent.restore", &err);
                free_ptr(&list);
                return;
            }
            n++;
        }
    }
    if (bus_assign(a->bus, list, n, &err)) {
        agent__fail(a, 1, "agent.assign", &err);
    } else {
        a->is_assigned = true;
        for (size_t i = 0; i < a->n_inputs; i++) { /* streams wait for their tables */
            struct input *in = &a->inputs[i];
            for (int p = 0; is_stream(in->kind) && p < in->partitions; p++)
                if (in->parts[p].assigned && !in->parts[p].resumed &&
                    bus_pause(a->bus, in->topic, p, true, &err))
                    log_warn("agent.pause", "topic=%s error=%s", in->topic, err.msg);
        }
    }
    free_ptr(&list);
    agent__check_restored(a);
}

static const struct input *first_shared_out(const struct agent *a)
{
    for (size_t i = 0; i < a->n_inputs; i++)
        if (is_shared_out(a->inputs[i].kind))
            return &a->inputs[i];
    return NULL;
}

static void assign_by_share(struct agent *a, const struct input *first)
{
    int n = first ? first->partitions : 0;
    CLEANUP_FREE bool *owned = xcalloc((size_t)n + 1, sizeof(bool));
    for (int p = 0; p < n; p++)
        owned[p] = a->shares == 0 || p % a->shares == a->share - 1;
    assign(a, owned, n);
}

static void subscribe(struct agent *a)
{
    const char *topics[AGENT_MAX_INPUTS];
    size_t n = 0;
    for (size_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i].kind == INPUT_WORK || a->inputs[i].kind == INPUT_STREAM)
            topics[n++] = a->inputs[i].topic;
    struct err err = {0};
    if (bus_subscribe(a->bus, topics, n, &err))
        agent__fail(a, 1, "agent.subscribe", &err);
}

void agent__assign(struct agent *a)
{
    if (a->is_stopping || a->is_stopped)
        return;
    if (!learn_partitions(a)) {
        loop_timer_start(a->assign_timer, TOPIC_POLL_MS);
        return;
    }
    if (!have_same_partitions(a))
        return;
    const struct input *first = first_shared_out(a);
    if (first && a->by_group)
        subscribe(a);
    else
        assign_by_share(a, first);
}

void agent__on_assigned(void *ctx, const struct bus_position *list, size_t n)
{
    struct agent *a = ctx;
    const struct input *first = first_shared_out(a);
    int parts = first ? first->partitions : 0;
    CLEANUP_FREE bool *owned = xcalloc((size_t)parts + 1, sizeof(bool));
    size_t n_owned = 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].partition < 0 || list[i].partition >= parts)
            continue;
        n_owned += owned[list[i].partition] ? 0 : 1;
        owned[list[i].partition] = true;
    }
    for (int p = 0; p < parts;
         p++) /* what moved away is forgotten; what stayed goes on where it was */
        if (!owned[p])
            agent__drop_partition(a, p);
    log_info("agent.assigned", "partitions=%zu of=%d", n_owned, parts);
    assign(a, owned, parts);
}

void agent__on_revoked(void *ctx, bool lost)
{
    struct agent *a = ctx;
    log_info("agent.revoked", "lost=%d", lost ? 1 : 0);
    a->is_assigned = false; /* nothing is reconciled until the next assignment; long work goes on */
    for (size_t i = 0; i < a->n_inputs; i++)
        for (int p = 0; p < a->inputs[i].partitions; p++) {
            a->inputs[i].parts[p].resumed = false;
            a->inputs[i].parts[p].settled = 0; /* what was on its way is lost with the session:
                                                  if it comes back, it is committed again */
        }
}

static bool globals_at_end(const struct agent *a)
{
    for (size_t i = 0; i < a->n_inputs; i++)
        for (int p = 0; a->inputs[i].kind == INPUT_GLOBAL && p < a->inputs[i].partitions; p++)
            if (!a->inputs[i].parts[p].at_end)
                return false;
    return true;
}

static bool shard_at_end(const struct agent *a, int partition)
{
    for (size_t i = 0; i < a->n_inputs; i++) {
        const struct input *in = &a->inputs[i];
        if ((in->kind == INPUT_WORK || in->kind == INPUT_TABLE) && partition < in->partitions &&
            !in->parts[partition].at_end)
            return false;
    }
    return true;
}

bool agent__shard_is_current(struct agent *a, int partition)
{
    if (partition < 0 || !a->is_ready)
        return false;
    for (size_t i = 0; i < a->n_inputs; i++) {
        const struct input *in = &a->inputs[i];
        if ((in->kind != INPUT_WORK && in->kind != INPUT_TABLE) || partition >= in->partitions)
            continue;
        const struct part *p = &in->parts[partition];
        if (!p->assigned || !p->at_end || p->next < p->need)
            return false;
    }
    return true;
}

static void resume_streams(struct agent *a)
{
    struct err err = {0};
    for (size_t i = 0; i < a->n_inputs; i++) {
        struct input *in = &a->inputs[i];
        for (int p = 0; is_stream(in->kind) && p < in->partitions; p++) {
            struct part *part = &in->parts[p];
            if (!part->assigned || part->resumed ||
                (in->kind == INPUT_STREAM && !shard_at_end(a, p)))
                continue;
            part->resumed = true;
            if (bus_pause(a->bus, in->topic, p, false, &err))
                log_warn("agent.resume", "topic=%s error=%s", in->topic, err.msg);
        }
    }
}

void agent__check_restored(struct agent *a)
{
    if (!a->is_assigned || !globals_at_end(a))
        return;
    resume_streams(a);
    for (size_t i = 0; i < a->n_inputs; i++)
        for (int p = 0; p < a->inputs[i].partitions; p++)
            if (a->inputs[i].parts[p].assigned && !is_stream(a->inputs[i].kind) &&
                !a->inputs[i].parts[p].at_end && !a->is_ready)
                return;
    if (!a->is_ready) {
        a->is_ready = true;
        if (a->spec->ready)
            a->spec->ready(a);
        log_info("agent.ready", "instance=%s cluster=%s ms=%lld", a->instance, a->cluster,
                 (long long)(clk_mono_ms(a->clk) - a->started_mono_ms));
    }
    agent_touch_all(a);
}
