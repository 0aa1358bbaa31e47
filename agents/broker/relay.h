/* Between the clients and the mock cluster, in a thread of its own.  The mock answers a Fetch that
 * finds nothing only after its whole wait, whatever is written meanwhile; so a client must choose
 * between asking a hundred times a second and waiting.  The relay has the mock answer at once,
 * keeps an answer without news back, and asks again when something was written to one of its
 * partitions: as a real broker does it. */
#ifndef BROKER_RELAY_H
#define BROKER_RELAY_H

#include "common/err.h"

struct relay;

int relay_start(struct relay **ret, struct err *err) WARN_UNUSED;
void relay_stop(struct relay *r); /* ends all connections; NULL is fine */
/* Any thread: takes the client's connection over; the returned one is for the mock.  -1: none to be
 * had. */
int relay_join(struct relay *r, int client);

#endif
