/* Members of a zip archive that is on disk, as numpy.savez and savez_compressed write them: stored
 * or deflated, with or without zip64, not encrypted, one disk.  Sizes and CRC are checked; every
 * length is checked against the file before it is used.  Thread: one at a time. */
#ifndef INGEST_ZIP_H
#define INGEST_ZIP_H

#include "agents/ingest/gz.h"

#define ZIP_MAX_MEMBERS 64 /* an .npz for us has three */
#define ZIP_NAME_MAX 64

struct zip_member {
    char name[ZIP_NAME_MAX + 1]; /* "x.npy" */
    bool is_stored;              /* else deflated */
    uint32_t crc;
    uint64_t packed_bytes, bytes; /* in the file; unpacked */
    uint64_t header_offset;
};
struct zip {
    int fd; /* borrowed */
    uint64_t file_bytes;
    struct zip_member members[ZIP_MAX_MEMBERS];
    size_t n;
};
/* Reads the central directory.  Members with longer names are left out. */
int zip_open(int fd, struct zip *ret, struct err *err) WARN_UNUSED;
const struct zip_member *zip_find(const struct zip *z, const char *name); /* NULL */
/* The unpacked bytes to the sink, in pieces. */
int zip_read(const struct zip *z, const struct zip_member *m, bytes_fn sink, void *ctx,
             struct err *err) WARN_UNUSED;

#endif
