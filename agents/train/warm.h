/* A trainer before it is needed: libraries loaded, their code and memory touched.  In the child
 * process only. */
#ifndef TRAIN_WARM_H
#define TRAIN_WARM_H

#include "common/err.h"

/* Trains on made-up rows, so that the first run finds everything in place; keeps what memory that
 * took. */
void warm_up(void);
/* Says on standard output that it is ready, then waits for the path of an order, one line, on a
 * FIFO.  0 and no path: whoever was to write it went away. */
int warm_wait(const char *fifo, char **ret_path, struct err *err) WARN_UNUSED;

#endif
