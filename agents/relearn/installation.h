/* An installation on this machine: the supervisor process, what it runs, where it answers. `relearn
 * up` and `relearn replay` start one; every other command finds it by its folder. */
#ifndef RELEARN_INSTALLATION_H
#define RELEARN_INSTALLATION_H

#include "common/err.h"

struct installation {
    char *data;        /* folder */
    char *brokers;     /* of the bus in use */
    char *prefix;      /* of topics */
    char *console_url; /* "http://127.0.0.1:4711" */
    char *control_url; /* of the supervisor */
    char *artifacts;   /* the artefact store, as agents are told; NULL: DATA/artifacts */
    char *registry;    /* schema registry; NULL: none */
    int pid;           /* of the supervisor */
    int lifeline;      /* 0: none; else the supervisor stops when this descriptor is closed */
    bool is_embedded;  /* the bus is relearn-broker */
};
struct installation_options {
    const char *data;      /* folder; created */
    const char *brokers;   /* NULL: start relearn-broker */
    const char *prefix;    /* NULL: "relearn." */
    const char *registry;  /* NULL: none */
    const char *artifacts; /* NULL: DATA/artifacts */
    int partitions; /* of line-keyed topics when they are created; 0: the default of the bus */
    const char *const *x; /* librdkafka properties */
    size_t n_x;
    const char *log_level;                     /* NULL: info; logs go to DATA/log/<instance>.log */
    const char *console_listen, *serve_listen; /* NULL: a port of the kernel's choice */
    const char *scale;                         /* "train=2,serve=2"; NULL: one of each */
    bool ends_with_us;                         /* when this process ends, however it does */
    bool is_temporary;                         /* its folder goes with it */
    bool by_group;                             /* consumer groups instead of shares */
};
/* The one that runs in this folder. ERR_NOTFOUND when none does (a stale record of a dead one is
 * removed). */
int installation_find(const char *data, struct installation *ret, struct err *err) WARN_UNUSED;
/* Starts a supervisor in the background and waits until every agent is ready. ERR_CONFLICT when one
 * runs there. */
int installation_start(const struct installation_options *o, struct installation *ret,
                       struct err *err) WARN_UNUSED;
/* Asks it to stop and waits until it is gone. */
int installation_stop(const struct installation *in, struct err *err) WARN_UNUSED;
void installation_fini(struct installation *in);

#endif
