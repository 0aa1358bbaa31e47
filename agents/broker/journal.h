/* The journal of the embedded bus: every message of the journalled topics, in one append-only file,
 * so that a bus that is started again has them with the same partitions and offsets.
 *
 *     "RLJRNL1\n"
 *     frame*  = magic "RLJB", u32 payload bytes, u64 number (1, 2, 3, ...), u32 CRC-32C of both and
 * payload payload = record*, each: u8 kind, then as journal.c says; integers are little-endian
 *
 * A frame is written and synced before the next one is begun.  So what is damaged and has no whole
 * frame after it is the torn end of a crash: nobody was told that it is kept, it is cut off (and
 * left beside, as FILE.torn).  What is damaged and has one after it was once kept: that is not
 * repaired in silence.
 *
 * Adding to a buffer and reading records is pure; a struct journal is one file under a lock. */
#ifndef BROKER_JOURNAL_H
#define BROKER_JOURNAL_H

#include "common/bus.h"

enum {
    JOURNAL_FILE_HEAD_BYTES = 8,
    JOURNAL_FRAME_HEAD_BYTES = 20,
    JOURNAL_FRAME_MAX_BYTES = 256 << 20, /* a frame that says more is damaged */
};

uint32_t crc32c(const void *p, size_t n,
                uint32_t seed); /* Castagnoli; seed 0, or what came before */

/* One frame in a buffer: begin, add records, end. */
void journal_begin(struct buf *frame);
void journal_add_message(struct buf *frame, const struct bus_message *m);
void journal_add_topic(struct buf *frame, const char *name, int partitions);
void journal_end(struct buf *frame, uint64_t number);

struct journal_reader {
    int (*on_topic)(void *ctx, const char *name, int partitions, struct err *err);
    int (*on_message)(void *ctx, const struct bus_message *m, struct err *err); /* borrowed */
    void *ctx;
};
/* Records of one frame's payload. ERR_CODEC when they do not add up. */
int journal_read_records(struct slice payload, const struct journal_reader *r,
                         struct err *err) WARN_UNUSED;

struct journal_scan {
    size_t good_bytes; /* up to the end of the last whole frame */
    size_t torn_bytes; /* after it */
    uint64_t frames;   /* whole ones; the number of the last */
    size_t damaged_at; /* 0: none; else frames go on at resumes_at */
    size_t resumes_at;
};
/* Walks the frames of a whole file; what it finds is in *ret.  ERR_CODEC when it is no journal. */
int journal_scan(struct slice file, struct journal_scan *ret, struct err *err) WARN_UNUSED;

struct journal;
/* Opens or makes the file, locks it, cuts a torn end off (ret_scan says how much).  ERR_CONFLICT
 * when another process has it; ERR_CODEC when it is damaged in the middle.  With salvage a damaged
 * journal is copied frame by frame, without what is damaged, and the old file kept as FILE.damaged.
 */
int journal_open(const char *path, bool salvage, struct journal **ret,
                 struct journal_scan *ret_scan, struct err *err) WARN_UNUSED;
void journal_close(struct journal *j); /* NULL is fine */
int journal_read(struct journal *j, const struct journal_reader *r, struct err *err) WARN_UNUSED;
/* Ends the frame, writes and syncs it.  Any thread, one at a time.  NEXT_RETRY when the disk is
 * full: the same frame may be appended again; after any other failure nothing may. */
int journal_append(struct journal *j, struct buf *frame, struct err *err) WARN_UNUSED;
/* An empty frame behind the last one, when the bus is stopped: what was damaged before it is not
 * taken for the torn end of a crash. */
int journal_seal(struct journal *j, struct err *err) WARN_UNUSED;
size_t journal_bytes(const struct journal *j); /* while nothing is appended */

#endif
