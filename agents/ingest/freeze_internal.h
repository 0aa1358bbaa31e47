/* What the files of freeze share. */
#ifndef INGEST_FREEZE_INTERNAL_H
#define INGEST_FREEZE_INTERNAL_H

#include "agents/ingest/freeze.h"
#include "common/snapshot.h"

struct settled {   /* what is known of a segment once its rows are read and checked */
    size_t rows;   /* that stay */
    uint8_t *drop; /* by spooled row, 1: left out after all; NULL: all stay */
    int64_t seen;
    char **classes; /* in their order; NULL for regression */
    size_t n_classes;
    float *class_of_code; /* code in order of sight -> index in classes */
};
void freeze__settled_fini(struct settled *d);
/* freeze_check.c: the last checks; broken rules go to the segment's report. */
int freeze__settle(struct sheet *s, struct segment *g, const struct artifacts *a,
                   const struct freeze_request *rq, struct settled *ret, struct err *err);

#endif
