/* librdkafka's mock cluster as a bus: one broker on loopback, its topics, what is in them.  The
 * only file of this agent with librdkafka's headers.  Blocking; calls are short but for mock_flush.
 */
#ifndef BROKER_MOCK_H
#define BROKER_MOCK_H

#include "agents/broker/topics.h"
#include "common/bus.h"

struct mock;

/* The door is closed to other processes until mock_admit. */
int mock_open(int port, const char *const *x, size_t n_x, struct mock **ret,
              struct err *err) WARN_UNUSED;
void mock_close(struct mock *m);                /* NULL is fine */
const char *mock_address(const struct mock *m); /* "127.0.0.1:19092" */
int mock_topics(struct mock *m, const struct topics *t,
                struct err *err) WARN_UNUSED; /* creates all */

/* Refill: learns the topics, then one message after the other with its old partition, offset and
 * timestamp.  An offset that does not come out as it was is an error of mock_flush. */
int mock_refill_begin(struct mock *m, struct err *err) WARN_UNUSED;
int mock_refill(struct mock *m, const struct bus_message *message, struct err *err) WARN_UNUSED;
int mock_flush(struct mock *m, struct err *err) WARN_UNUSED;

void mock_admit(struct mock *m, bool others);
int mock_cut_others(
    struct mock *m); /* no connection of another process is left; how many were cut */
/* Sets each offset to the partition's end.  Any thread, one at a time. */
int mock_ends(struct mock *m, struct bus_position *list, size_t n, struct err *err) WARN_UNUSED;

#endif
