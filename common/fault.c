/* The control file, $RELEARN_FAULTS/<process>, shared with the test by a map: head, then an entry a
 * point.  It outlives the process, so that a fault fires once over restarts, and hits add up.  The
 * process is named by its --instance, or by its program ("broker", "trainer", "relearn-up"). */
#ifdef RELEARN_TEST
#include "common/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    FAULT_MAGIC = 0x31464c52, /* "RLF1" */
};
struct fault_entry { /* layouts: tests/e2e/fault_control.py */
    char name[56], effect[16];
    uint32_t kinds;
    _Atomic uint32_t hits;
};
struct fault_control {
    uint32_t magic, n;
    _Atomic uint32_t armed; /* number of the point from 1; 0: none */
    uint32_t kind;
    _Atomic int32_t countdown; /* fires at the hit that makes it 0 */
    _Atomic uint32_t fired;    /* how often something has */
    uint32_t reserved[10];
    struct fault_entry points[];
};

extern const struct fault_point *const __start_fault_points[]
    __attribute__((visibility("hidden"), weak));
extern const struct fault_point *const __stop_fault_points[]
    __attribute__((visibility("hidden"), weak));

static struct fault_control *control; /* set once, before main */

static size_t n_points(void)
{
    return (size_t)(__stop_fault_points - __start_fault_points);
}

bool fault_hit(const struct fault_point *const *slot)
{
    uint32_t number = (uint32_t)(slot - __start_fault_points) + 1;

    if (!control)
        return false;
    atomic_fetch_add(&control->points[number - 1].hits, 1);
    if (atomic_load(&control->armed) != number || atomic_fetch_sub(&control->countdown, 1) != 1)
        return false;
    atomic_store(&control->armed, 0);
    atomic_fetch_add(&control->fired, 1);
    if (control->kind == FAULT_KILL || control->kind == FAULT_STOP) {
        raise(control->kind == FAULT_KILL ? SIGKILL : SIGSTOP);
        return false; /* and on it goes */
    }
    return true;
}

static void print_points(void)
{
    for (size_t i = 0; i < n_points(); i++) {
        const struct fault_point *p = __start_fault_points[i];

        printf("%s %s%s%s%s%s\n", p->name, p->effect, p->kinds & FAULT_KILL ? " kill" : "",
               p->kinds & FAULT_STOP ? " stop" : "", p->kinds & FAULT_FAIL ? " fail" : "",
               p->kinds & FAULT_LOSE ? " lost" : "");
    }
}

/* "train-1" for /x/relearn-train --instance=train-1, "broker" for relearn-broker; for the command
 * line, which is many, with its first word. */
static void name_process(char *const argv[], char *out, size_t out_bytes)
{
    const char *program = argv[0] && strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];

    for (size_t i = 1; argv[0] && argv[i]; i++)
        if (strncmp(argv[i], "--instance=", 11) == 0 && argv[i][11]) {
            snprintf(out, out_bytes, "%s", argv[i] + 11);
            return;
        } else if (strcmp(argv[i], "--instance") == 0 && argv[i + 1]) {
            snprintf(out, out_bytes, "%s", argv[i + 1]);
            return;
        }
    if (program && strcmp(program, "relearn") == 0)
        snprintf(out, out_bytes, "relearn-%s", argv[1] ? argv[1] : "");
    else
        snprintf(out, out_bytes, "%s",
                 program && strncmp(program, "relearn-", 8) == 0 ? program + 8 : "");
}

static void map_control(const char *folder, const char *process)
{
    size_t bytes = sizeof(*control) + n_points() * sizeof(control->points[0]);
    char path[512];
    int fd;

    if (!process[0] || strchr(process, '/'))
        return;
    snprintf(path, sizeof(path), "%s/%s", folder, process);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
        perror(path);
        _exit(1);
    }
    control = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (control == MAP_FAILED) {
        perror(path);
        _exit(1);
    }
    for (size_t i = 0; i < n_points(); i++) {
        const struct fault_point *p = __start_fault_points[i];

        snprintf(control->points[i].name, sizeof(control->points[i].name), "%s", p->name);
        snprintf(control->points[i].effect, sizeof(control->points[i].effect), "%s", p->effect);
        control->points[i].kinds = p->kinds;
    }
    control->n = (uint32_t)n_points();
    control->magic = FAULT_MAGIC;
}

/* Here and not in any main(), so that no program can be without. */
__attribute__((constructor)) static void begin(int argc, char **argv)
{
    const char *folder = getenv("RELEARN_FAULTS");
    char name[128] = "";

    if (argc > 1 && strcmp(argv[1], "--fault-points") == 0) {
        print_points();
        fflush(stdout);
        _exit(0);
    }
    name_process(argv, name, sizeof(name));
    if (folder && folder[0])
        map_control(folder, name);
}
#endif
