/* Datasets as NumPy arrays: a .npy file with one matrix, or an .npz with `features` (or x), `label`
 * (or y) and perhaps `columns`, the features' names.
 *
 * Names: `columns`; else those of the contract in its order, when there are as many; else f0, f1,
 * ...  In a single matrix the label is the column of that name, else the last one.  Labels and
 * names may be text (dtype U or S). Both orders (C, Fortran) are read, a block of rows at a time.
 * Pool thread. */
#ifndef INGEST_ARRAYS_H
#define INGEST_ARRAYS_H

#include "agents/ingest/sheet.h"
#include "common/npy.h"

struct array {
    int fd; /* -1: none */
    struct npy_header h;
    unsigned text_width; /* characters of dtype U or bytes of S; 0: numbers */
    bool is_wide;        /* U: four bytes a character */
};
struct arrays {
    struct array features, label; /* label.fd -1: a column of features */
    struct strset names; /* of the sheet's columns: features, then the label when it is apart */
};
/* fd: the file (not closed here).  max_bytes: of a member of an .npz, unpacked; they go to the
 * store's tmp/. */
int arrays_open(const struct artifacts *a, int fd, bool is_zip, const struct pipeline *p,
                uint64_t max_bytes, struct arrays *ret, struct err *err) WARN_UNUSED;
void arrays_close(struct arrays *x); /* {0} is not valid: fds are -1 when closed */
int arrays_rows(const struct arrays *x, struct sheet *s, const volatile bool *cancel,
                struct err *err) WARN_UNUSED;

#endif
