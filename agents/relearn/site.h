/* Where the log and the store of an installation are: said by options, else as the installation in
 * --data has them.  For commands that go to the bus and the store themselves. */
#ifndef RELEARN_SITE_H
#define RELEARN_SITE_H

#include "agents/relearn/cli.h"

/* Rows for a command's own table of options. */
#define SITE_OPTIONS                                                                               \
    {.name = "brokers",                                                                            \
     .letter = 'b',                                                                                \
     .meta = "HOST:PORT,...",                                                                      \
     .help = "the bus; default: that of the installation"},                                        \
        {.name = "prefix",                                                                         \
         .meta = "TEXT",                                                                           \
         .help = "in front of every topic's name; default: the installation's, else relearn."},    \
        {.name = "registry",                                                                       \
         .meta = "URL",                                                                            \
         .help = "schema registry; default: that of the installation"},                            \
        {.name = "registry-token", .meta = "TEXT", .help = "bearer token for the registry"},       \
    {                                                                                              \
        .name = "artifacts", .meta = "URL",                                                        \
        .help = "artefact store; default: that of the installation"                                \
    }

struct site {
    struct installation in; /* the one that runs in --data; .data NULL: none */
    bool is_running;        /* an installation runs in --data */
    char *brokers, *prefix, *registry, *artifacts;
    const char *registry_token;
    const char *const *x;
    size_t n_x;
};
/* ERR_NOTFOUND when nothing says where the bus is: no --brokers, and nothing runs there. */
int site_find(const struct conf *conf, struct site *ret, struct err *err) WARN_UNUSED;
void site_fini(struct site *s);

#endif
