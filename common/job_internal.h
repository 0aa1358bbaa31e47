/* What the files of module job share. */
#ifndef COMMON_JOB_INTERNAL_H
#define COMMON_JOB_INTERNAL_H

#include "common/job.h"

enum { JOB_CPU_GRACE_S = 5 }; /* from SIGXCPU, which may be caught, to SIGKILL */

struct job_child {
    int pid, pid_fd;    /* pid_fd -1: there is none here */
    int out_fd, err_fd; /* not blocking; -1: at its end */
};
int job__spawn(const struct job_spec *spec, struct job_child *ret, struct err *err) WARN_UNUSED;
/* For a process that runs already, beyond what it has used; as relearn-exec sets it before. */
void job__limit_cpu(int pid, int64_t cpu_ms);
void job__close_fd(int *fd); /* -1 is fine, and what it is then */

enum { JOB_LINE_BYTES = 4096 };

/* Bytes of stdout to lines. */
struct job_lines {
    job_line_fn on_line;
    void *ctx;
    size_t n;
    char line[JOB_LINE_BYTES + 1];
};
void job__lines_add(struct job_lines *l, const char *p, size_t n);
void job__lines_end(struct job_lines *l); /* a last line without its \n */

/* The end of stderr. */
struct job_tail {
    char bytes[2 * JOB_TAIL_BYTES];
    size_t n;
    bool is_cut;
};
void job__tail_add(struct job_tail *t, const char *p, size_t n);
void job__tail_text(const struct job_tail *t, char out[JOB_TAIL_BYTES]);

/* Memory of a process and all its descendants that nobody can take back: anonymous, shared and
 * swapped pages, not mapped files.  0 when it is gone. */
int64_t job__memory_bytes(int pid);

#endif
