/* The topics of the embedded bus: which, how many partitions, which of them are journalled, and how
 * far each partition has come.  Pure. */
#ifndef BROKER_TOPICS_H
#define BROKER_TOPICS_H

#include "common/err.h"

enum { TOPICS_MAX = 1000, TOPICS_PARTITIONS_MAX = 1000 }; /* the mock walks lists of them */

struct topic {
    char *name;
    int partitions;
    bool is_journalled;
    bool is_in_journal; /* its partition count is written there */
    int64_t *next;      /* per partition: the offset that comes next */
};
struct topics {
    struct topic *items;
    size_t n, cap;
};

void topics_fini(struct topics *t);
struct topic *topics_find(const struct topics *t, const char *name); /* or NULL */
struct topic *topics_add(struct topics *t, const char *name, int partitions, bool is_journalled);
/* Every topic of the catalogue, prefix in front. */
void topics_add_catalogue(struct topics *t, const char *prefix, int partitions);
/* "NAME:PARTS[,NAME:PARTS...]" */
int topics_add_list(struct topics *t, const char *list, struct err *err) WARN_UNUSED;
/* Names, with or without the prefix, that are not journalled: "predictions,labels". */
void topics_leave_out(struct topics *t, const char *prefix, const char *names);
size_t topics_journalled_partitions(const struct topics *t);

#endif
