/* A folder of its own for each test, gone after it.  With cmocka:
 *     cmocka_unit_test_setup_teardown(test, tmpdir_setup, tmpdir_teardown)
 *     struct tmpdir *t = *state;
 * or by hand with tmpdir_init and tmpdir_fini.  Thread: main. */
#ifndef TESTS_SUPPORT_TMPDIR_H
#define TESTS_SUPPORT_TMPDIR_H

#include "common/mem.h"

struct tmpdir {
    char *path;
    struct arena names; /* what tmpdir_join has returned */
};

void tmpdir_init(struct tmpdir *t); /* the test fails when there is no such folder to be had */
void tmpdir_fini(struct tmpdir *t); /* removes the folder and what is in it */
int tmpdir_setup(void **state);     /* *state is a struct tmpdir */
int tmpdir_teardown(void **state);
/* "<path>/<name>", lives as long as t. */
const char *tmpdir_join(struct tmpdir *t, const char *name);
/* Writes a file of that name; returns its path. */
const char *tmpdir_write(struct tmpdir *t, const char *name, const void *p, size_t n);
const char *tmpdir_write_str(struct tmpdir *t, const char *name, const char *text);
/* How many names are in the folder `name` ("" for t's own), for "nothing is left behind". */
size_t tmpdir_count(struct tmpdir *t, const char *name);

#endif
