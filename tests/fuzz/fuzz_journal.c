/* The journal on any bytes: as a file, and its records, which come out as they are written again.
 */
#include <stdlib.h>
#include <string.h>

#include "agents/broker/journal.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_topic(void *ctx, const char *name, int partitions, struct err *err)
{
    (void)err;
    journal_add_topic(ctx, name, partitions);
    return 0;
}

static int on_message(void *ctx, const struct bus_message *m, struct err *err)
{
    (void)err;
    journal_add_message(ctx, m);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_fini) struct buf out = {0}, frame = {0};
    struct slice bytes = {(const char *)data, size};
    const struct journal_reader r = {on_topic, on_message, &out};
    struct journal_scan scan;
    struct err err;

    if (journal_scan(bytes, &scan, &err) == 0 && scan.good_bytes + scan.torn_bytes != size)
        abort();
    if (journal_read_records(bytes, &r, &err) == 0 &&
        (out.len != size || (size && memcmp(out.data, data, size))))
        abort();
    /* Behind a good frame, whatever comes is torn or damaged, and the frame stays. */
    buf_add(&frame, "RLJRNL1\n", JOURNAL_FILE_HEAD_BYTES);
    buf_reset(&out);
    journal_begin(&out);
    journal_add_topic(&out, "t", 1);
    journal_end(&out, 1);
    buf_add(&frame, out.data, out.len);
    buf_add(&frame, data, size);
    if (journal_scan(buf_slice(&frame), &scan, &err) || scan.frames < 1)
        abort();
    return 0;
}
