/* What journal.c and journal_file.c share. */
#ifndef BROKER_JOURNAL_INTERNAL_H
#define BROKER_JOURNAL_INTERNAL_H

#include "agents/broker/journal.h"

/* Where the next whole frame with a number above `after` begins, its bytes and number; file.n:
 * none. */
size_t journal__next_frame(struct slice file, size_t from, uint64_t after, size_t *ret_n,
                           uint64_t *ret_number);
struct slice journal__file_head(void);

#endif
