/* What the two halves of the bus share: sim_bus.c (reading, sending, positions) and sim_group.c
 * (who reads what). */
#ifndef TESTS_SIM_SIM_BUS_H
#define TESTS_SIM_SIM_BUS_H

#include "common/bus.h"
#include "tests/sim/sim.h"

struct sim_cursor {
    bool is_assigned, is_paused;
    int64_t next, told_end, first_end; /* of the log at the first fetch; 0: none yet */
    struct sim_tick *fetch;
    int64_t commit, sent_commit, committed; /* -1: none */
};
struct bus {
    struct loop *loop;
    struct sim_proc *proc;
    struct bus_callbacks cb;
    char *group;
    bool is_closing;
    int64_t closing_until_us;
    struct sim_cursor cursors[SIM_TOPICS][SIM_PARTITIONS_MAX];
    struct sim_tick *commit_tick;
    bool subscribed[SIM_TOPICS];
    bool has_subscribed, is_member, is_out;  /* is_out: put out, and does not know it yet */
    int revoked_at, assigned_at, generation; /* of the group; generation: that its commits carry */
    struct sim_sent *sent;                   /* not yet told */
    size_t n_sent;
    loop_fn on_closed;
    void *on_closed_ctx;
    struct bus_stats stats;
    struct bus *next;
};
extern struct bus *sim_buses;

enum record sim_record_of(const char *topic);
int64_t sim_lag_us(struct bus *b, enum record r); /* RECORD_NONE: to the broker or back */
void sim_bus_revoke(struct bus *b, bool lost);
/* sim_send.c */
void sim_send_reset(void);
void sim_send_forget(struct bus *b);
/* sim_group.c */
void sim_group_join(struct bus *b);
void sim_group_leave(struct bus *b, bool at_once); /* else the session has to end first */
bool sim_group_takes_commit(const struct bus *b);
void sim_group_reset(void);
void sim_bus_fetch_all(struct bus *b);

#endif
