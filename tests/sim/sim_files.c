/* The few files and folders that agents ask for, in memory: an order for each child, and nothing
 * else.  Nothing of a history is on the disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/digest.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "tests/sim/sim.h"

struct text { /* open_memstream's, which goes on pointing here until it is closed */
    char *path, *data;
    size_t n;
    struct text *next;
};
static struct text *texts;

int __wrap_fsx_mkdirs(const char *path, struct err *err);
int __wrap_fsx_remove_tree(const char *path, struct err *err);
int __wrap_mkdir(const char *path, mode_t mode);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
int __wrap_sign_key_load(const char *path, struct sign_key **ret, struct err *err);
void __wrap_sign_key_free(struct sign_key *k);

int __wrap_fsx_mkdirs(const char *path, struct err *err)
{
    (void)path;
    (void)err;
    return 0;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    return 0;
}

static void remove_below(const char *path)
{
    size_t n = strlen(path);
    for (struct text **at = &texts; *at;) {
        struct text *t = *at;
        if (strncmp(t->path, path, n) != 0 || (t->path[n] != '/' && t->path[n] != '\0')) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        free_ptr(&t->path);
        free_ptr(&t->data);
        free_ptr(&t);
    }
}

int __wrap_fsx_remove_tree(const char *path, struct err *err)
{
    (void)err;
    remove_below(path);
    return 0;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (!sim.current || mode[0] != 'w')
        return __real_fopen(path, mode);
    remove_below(path);
    struct text *t = xcalloc(1, sizeof(*t));
    t->path = xstrdup(path);
    t->next = texts;
    texts = t;
    return open_memstream(&t->data, &t->n);
}

bool sim_file(const char *path, struct slice *ret)
{
    for (const struct text *t = texts; t; t = t->next)
        if (strcmp(t->path, path) == 0) {
            *ret = (struct slice){t->data, t->n};
            return true;
        }
    return false;
}

void sim_files_reset(void)
{
    remove_below("");
}

/* Of the models' signatures, which nobody makes or looks at here. */
int __wrap_sign_key_load(const char *path, struct sign_key **ret, struct err *err)
{
    (void)path;
    (void)err;
    *ret = NULL;
    return 0;
}

void __wrap_sign_key_free(struct sign_key *k)
{
    (void)k;
}
