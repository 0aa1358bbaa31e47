/* Wakes librdkafka's mock cluster.  Its thread may miss the wake of a call from outside (create a
 * topic, go down, end) and then sleeps for up to a second: the byte that announces the call is read
 * together with the one before it.  Any connection wakes it, so while such calls are made, a thread
 * of this file knocks. */
#ifndef BROKER_KICK_H
#define BROKER_KICK_H

struct kick;
struct kick *kick_start(const char *address); /* "127.0.0.1:19092" */
void kick_stop(struct kick *k);               /* NULL is fine */

#endif
