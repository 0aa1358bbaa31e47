/* A relearn-broker of a test: a process with files of its own.  Main thread. */
#ifndef TESTS_SUPPORT_BROKER_PROCESS_H
#define TESTS_SUPPORT_BROKER_PROCESS_H

#include <sys/types.h>

#include "tests/support/tmpdir.h"

struct broker_process {
    struct tmpdir dir;
    const char *address_file, *endpoint_file, *journal, *output;
    char port[12]; /* of the first start, kept for the next */
    pid_t pid;     /* 0: none runs */
};

void broker_process_init(struct broker_process *p);
void broker_process_fini(struct broker_process *p); /* kills it, removes its files */
/* Starts it with its files and these options besides (NULL or NULL-terminated); waits until ready.
 */
void broker_process_start(struct broker_process *p, const char *const *more);
/* It must end by itself with code 1, saying this. */
void broker_process_refuses(struct broker_process *p, const char *const *more, const char *says);
int broker_process_end(struct broker_process *p, int signal); /* waitpid's status */
char *broker_process_brokers(const struct broker_process *p); /* "127.0.0.1:19092", the caller's */
char *broker_process_said(const struct broker_process *p);    /* what it wrote; the caller's */
/* GET of its endpoint; the answer with its head, the caller's. */
char *broker_process_get(struct broker_process *p, const char *path);
long long broker_process_metric(struct broker_process *p, const char *name);
/* Waits until so many messages were journalled since its start; nothing must be behind then. */
void broker_process_wait_journalled(struct broker_process *p, long long records);

#endif
