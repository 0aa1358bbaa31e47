/* What is in a store, and what of it may go: old and untouched, never what was put a moment ago. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include "common/artifact_internal.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "tests/support/tmpdir.h"

enum { DAY_S = 86400, HOUR_MS = 3600000 };

struct world {
    struct tmpdir dir;
    struct artifacts store;
};

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct err err = {0};

    tmpdir_init(&w->dir);
    assert_int_equal(artifacts_open(tmpdir_join(&w->dir, "store"), &w->store, &err), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    artifacts_close(&w->store);
    tmpdir_fini(&w->dir);
    free(w);
    return 0;
}

static void make_old(const char *path)
{
    const time_t then = time(NULL) - DAY_S;

    assert_int_equal(utime(path, &(struct utimbuf){then, then}), 0);
}

static const char *file(struct world *w, const char *name, const char *text)
{
    return tmpdir_write_str(&w->dir, arena_printf(&w->dir.names, "store/%s", name), text);
}

struct seen {
    char text[2000];
    int64_t oldest_ms;
};

static void see(void *ctx, const struct artifact_entry *e)
{
    static const char *const KINDS[] = {"bytes", "temporary", "run"};
    struct seen *s = ctx;
    size_t n = strlen(s->text);

    snprintf(s->text + n, sizeof(s->text) - n, "%s %.12s %d; ", KINDS[e->kind], e->name,
             (int)e->size_bytes);
    s->oldest_ms = e->age_ms > s->oldest_ms ? e->age_ms : s->oldest_ms;
}

static void list(struct world *w, struct seen *s)
{
    struct err err = {0};

    *s = (struct seen){0};
    assert_int_equal(artifacts_each(&w->store, see, s, &err), 0);
}

static bool remove_it(struct world *w, enum artifact_kind kind, const char *name)
{
    const struct artifact_entry e = {.kind = kind, .name = name};
    struct err err = {0};
    bool removed = false;

    assert_int_equal(artifacts_remove_old(&w->store, &e, HOUR_MS, &removed, &err), 0);
    return removed;
}

static void everything_is_listed_but_what_is_of_no_kind(void **state)
{
    struct world *w = *state;
    struct seen s;
    char digest[DIGEST_HEX_SIZE];
    struct err err = {0};

    list(w, &s);
    assert_string_equal(s.text, "");
    assert_int_equal(artifacts_put(&w->store, "abc", 3, digest, &err), 0);
    assert_int_equal(artifacts_put_run(&w->store, "r1", slice_str("{}"), &err), 0);
    make_old(file(w, "tmp/model-1", "12345"));
    file(w, "sha256/00/README", "people write notes");
    list(w, &s);
    assert_string_equal(s.text, "bytes ba7816bf8f01 3; temporary tmp/model-1 5; run r1 2; ");
    assert_in_range(s.oldest_ms, DAY_S * 1000LL - 60000, DAY_S * 1000LL + 60000);
    file(w, "sha256/00/.tmp-0123", "a killed put");
    list(w, &s);
    assert_non_null(strstr(s.text, "temporary sha256/00/.t 12; "));
}

static void what_is_old_goes_and_what_is_young_stays(void **state)
{
    struct world *w = *state;
    char digest[DIGEST_HEX_SIZE];
    struct err err = {0};

    assert_int_equal(artifacts_put(&w->store, "abc", 3, digest, &err), 0);
    assert_false(remove_it(w, ARTIFACT_BYTES, digest));
    assert_true(artifacts_has(&w->store, digest));
    CLEANUP_FREE char *path = artifacts_path(&w->store, digest, &err);
    make_old(path);
    assert_true(remove_it(w, ARTIFACT_BYTES, digest));
    assert_false(artifacts_has(&w->store, digest));
    assert_false(remove_it(w, ARTIFACT_BYTES, digest)); /* gone already */
    make_old(file(w, "tmp/model-1", "12345"));
    assert_true(remove_it(w, ARTIFACT_TEMPORARY, "tmp/model-1"));
    assert_int_equal(tmpdir_count(&w->dir, "store/tmp"), 0);
}

static void bytes_that_are_put_again_are_young_again(void **state)
{
    struct world *w = *state;
    char digest[DIGEST_HEX_SIZE];
    struct err err = {0};

    assert_int_equal(artifacts_put(&w->store, "abc", 3, digest, &err), 0);
    CLEANUP_FREE char *path = artifacts_path(&w->store, digest, &err);
    make_old(path);
    assert_int_equal(artifacts_put(&w->store, "abc", 3, digest, &err), 0);
    assert_false(remove_it(w, ARTIFACT_BYTES, digest));
    make_old(path);
    const char *tmp = file(w, "tmp/again", "abc");
    assert_int_equal(artifacts_put_file(&w->store, tmp, digest, &err), 0);
    assert_false(remove_it(w, ARTIFACT_BYTES, digest));
    assert_true(artifacts_has(&w->store, digest));
}

static void a_run_goes_with_its_folder(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    CLEANUP(buf_fini) struct buf text = {0};

    assert_int_equal(artifacts_put_run(&w->store, "r1", slice_str("{}"), &err), 0);
    assert_false(remove_it(w, ARTIFACT_RUN, "r1"));
    assert_int_equal(artifacts_get_run(&w->store, "r1", &text, &err), 0);
    make_old(tmpdir_join(&w->dir, "store/runs/r1/result.json"));
    assert_true(remove_it(w, ARTIFACT_RUN, "r1"));
    assert_int_equal(tmpdir_count(&w->dir, "store/runs"), 0);
    /* killed between the result and the folder */
    assert_int_equal(fsx_mkdirs(tmpdir_join(&w->dir, "store/runs/r2"), &err), 0);
    assert_false(remove_it(w, ARTIFACT_RUN, "r2"));
    make_old(tmpdir_join(&w->dir, "store/runs/r2"));
    assert_true(remove_it(w, ARTIFACT_RUN, "r2"));
    /* one with something else in it stays */
    assert_int_equal(artifacts_put_run(&w->store, "r3", slice_str("{}"), &err), 0);
    file(w, "runs/r3/notes", "mine");
    make_old(tmpdir_join(&w->dir, "store/runs/r3/result.json"));
    assert_true(remove_it(w, ARTIFACT_RUN, "r3"));
    assert_int_equal(tmpdir_count(&w->dir, "store/runs/r3"), 1);
}

static void nothing_is_removed_while_something_is_put(void **state)
{
    struct world *w = *state;
    CLEANUP_FREE char *path = fsx_join(w->store.root, ".clearing");
    FILE *other = fopen(path, "w");
    int put = artifact__lock(&w->store, LOCK_SH), second = artifact__lock(&w->store, LOCK_SH);

    assert_non_null(other);
    assert_true(put >= 0 && second >= 0); /* several may put at a time */
    assert_int_equal(flock(fileno(other), LOCK_EX | LOCK_NB), -1);
    close(put);
    assert_int_equal(flock(fileno(other), LOCK_EX | LOCK_NB), -1);
    close(second);
    assert_int_equal(flock(fileno(other), LOCK_EX | LOCK_NB), 0);
    fclose(other);
}

static void looking_at_what_is_no_store_makes_none(void **state)
{
    struct world *w = *state;
    struct artifacts a = {0};
    struct err err = {0};

    assert_int_equal(artifacts_open_existing(tmpdir_join(&w->dir, "typo"), &a, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(artifacts_open_existing(w->dir.path, &a, &err), -1);
    assert_int_equal(tmpdir_count(&w->dir, ""), 1);
    assert_int_equal(artifacts_open_existing(w->store.root, &a, &err), 0);
    assert_string_equal(a.root, w->store.root);
    artifacts_close(&a);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(everything_is_listed_but_what_is_of_no_kind), T(what_is_old_goes_and_what_is_young_stays),
        T(bytes_that_are_put_again_are_young_again),    T(a_run_goes_with_its_folder),
        T(nothing_is_removed_while_something_is_put),   T(looking_at_what_is_no_store_makes_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
