/* The door of the embedded bus: which socket librdkafka's mock cluster listens on and whom it lets
 * in.  The mock offers neither, so this file defines bind(), listen() and accept() for the whole
 * executable (symbols of the program come before the C library's) and does what the C library does
 * unless told otherwise here. */
#ifndef BROKER_DOOR_H
#define BROKER_DOOR_H

#include "common/err.h"

/* A listening socket on loopback; port 0: the kernel's choice.  Says what holds a taken port. */
int door_listen(int port, int *ret_fd, int *ret_port, struct err *err) WARN_UNUSED;
/* The next bind() of this thread gives the caller's descriptor this socket instead.  -1: forget it.
 */
void door_offer(int fd);
/* Whom accepted connections are given to; NULL: the mock has them as they are. */
struct relay;
void door_set_relay(struct relay *r);
/* Closed: only connections from this very process are accepted; all others are ended at once. */
void door_set_open(bool open);
/* Ends the connections of other processes to this port of ours; how many there were. */
int door_cut_outsiders(int port);

#endif
