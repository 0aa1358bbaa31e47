/* relearn-broker: the embedded bus.  Order of start: journal (checked, its torn end cut off), mock
 * cluster behind a closed door, refill, the reader that journals what comes, door open, address
 * published.  Order of stop: door closed and other processes cut off, journal up to every end,
 * address withdrawn. */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "common/conf.h"

extern const struct conf_option broker_options[];

/* Runs until SIGTERM; the exit code. */
int broker_main(int argc, char **argv);

#endif
