/* How much memory a child and its descendants hold, from /proc. */
#include "common/job_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TREE_PROCESSES_MAX = 512, /* of one job; looking at one takes some 30 us of the loop */
    PROC_TEXT_BYTES = 4096,   /* a status file has 1.5 kB; some 500 children fit */
};

static bool read_proc(const char *path, char text[PROC_TEXT_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, PROC_TEXT_BYTES - 1);
    close(fd);
    if (n < 0)
        return false;
    text[n] = '\0';
    return true;
}

static int64_t field_bytes(const char *status, const char *name)
{
    const char *p = strstr(status, name);

    return p ? strtoll(p + strlen(name), NULL, 10) * 1024 : 0;
}

static int64_t process_bytes(int pid)
{
    char path[64], status[PROC_TEXT_BYTES];

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    if (!read_proc(path, status))
        return 0;
    return field_bytes(status, "\nRssAnon:") + field_bytes(status, "\nRssShmem:") +
           field_bytes(status, "\nVmSwap:");
}

struct tree {
    int pids[TREE_PROCESSES_MAX];
    size_t n;
};

static void add_children_of_thread(struct tree *t, int pid, const char *tid)
{
    char path[320], text[PROC_TEXT_BYTES], *p = text, *end;

    snprintf(path, sizeof(path), "/proc/%d/task/%s/children", pid, tid);
    if (!read_proc(path, text))
        return;
    while (t->n < TREE_PROCESSES_MAX) {
        long child = strtol(p, &end, 10);

        if (end == p || child <= 0)
            return;
        t->pids[t->n++] = (int)child;
        p = end;
    }
}

/* A child belongs to the thread that made it. */
static void add_children(struct tree *t, int pid)
{
    char path[64];
    struct dirent *e;
    DIR *tasks;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    tasks = opendir(path);
    if (!tasks)
        return;
    while ((e = readdir(tasks)))
        if (e->d_name[0] != '.')
            add_children_of_thread(t, pid, e->d_name);
    closedir(tasks);
}

int64_t job__memory_bytes(int pid)
{
    struct tree t = {.n = 1};
    int64_t sum = 0;

    t.pids[0] = pid;
    for (size_t i = 0; i < t.n; i++) {
        sum += process_bytes(t.pids[i]);
        add_children(&t, t.pids[i]);
    }
    return sum;
}
