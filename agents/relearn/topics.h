/* The catalogue of topics: partitions, retention, replication.  One place for what is created and
 * checked. */
#ifndef RELEARN_TOPICS_H
#define RELEARN_TOPICS_H

#include "common/bus.h"
#include "common/events.h"

enum { TOPICS_PARTITIONS = 12 };

/* Of one record's topic; name lives in the caller's buffer. partitions 0: the default. */
struct bus_topic_spec topic_spec(enum record r, const char *prefix, int partitions, int replication,
                                 char *name, size_t name_size);
/* Who writes it, and how long it is kept, in words. */
const char *topic_writer(enum record r);
const char *topic_kept(enum record r);
/* Creates what is missing.  replication 0: the default of the cluster. */
int topics_create(const struct bus_conf *bus, const char *prefix, int partitions, int replication,
                  struct err *err) WARN_UNUSED;

#endif
