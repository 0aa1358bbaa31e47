#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/fsx.h"
#include "tests/support/tmpdir.h"

#include <cmocka.h>

void tmpdir_init(struct tmpdir *t)
{
    struct err err = {0};

    *t = (struct tmpdir){.path = fsx_tmpdir("relearn-test", &err)};
    if (!t->path)
        fail_msg("%s", err.msg);
}

void tmpdir_fini(struct tmpdir *t)
{
    struct err err = {0};

    if (!t)
        return;
    if (t->path && fsx_remove_tree(t->path, &err))
        fail_msg("%s", err.msg);
    arena_fini(&t->names);
    free(t->path);
    *t = (struct tmpdir){0};
}

int tmpdir_setup(void **state)
{
    struct tmpdir *t = xcalloc(1, sizeof(*t));

    tmpdir_init(t);
    *state = t;
    return 0;
}

int tmpdir_teardown(void **state)
{
    tmpdir_fini(*state);
    free(*state);
    *state = NULL;
    return 0;
}

const char *tmpdir_join(struct tmpdir *t, const char *name)
{
    return arena_printf(&t->names, "%s%s%s", t->path, *name ? "/" : "", name);
}

const char *tmpdir_write(struct tmpdir *t, const char *name, const void *p, size_t n)
{
    const char *path = tmpdir_join(t, name);
    struct err err = {0};

    if (fsx_write_file(path, p, n, &err))
        fail_msg("%s", err.msg);
    return path;
}

const char *tmpdir_write_str(struct tmpdir *t, const char *name, const char *text)
{
    return tmpdir_write(t, name, text, strlen(text));
}

size_t tmpdir_count(struct tmpdir *t, const char *name)
{
    DIR *dir = opendir(tmpdir_join(t, name));
    struct dirent *e;
    size_t n = 0;

    assert_non_null(dir);
    while ((e = readdir(dir)))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}
