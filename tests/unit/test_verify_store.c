/* The artefact store against the names in the log: what is missing, damaged, left over. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agents/relearn/verify_store.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "tests/support/make_event.h"
#include "tests/support/tmpdir.h"

static const int64_t NOW_MS = 1800000000000;

struct bench {
    struct tmpdir dir;
    struct artifacts store;
    struct named *names;
    struct strset runs;
    struct findings f;
    char text[DIGEST_HEX_SIZE]; /* of a pipeline that an event names */
};

static int set_up(void **state)
{
    static const char YAML[] = "kind: Pipeline";
    struct bench *b = xcalloc(1, sizeof(*b));
    struct err err = {0};

    tmpdir_init(&b->dir);
    assert_int_equal(artifacts_open(b->dir.path, &b->store, &err), 0);
    assert_int_equal(artifacts_put(&b->store, YAML, strlen(YAML), b->text, &err), 0);
    b->names = named_new(&b->store);
    const struct pipeline_declared d = {.name = "p", .yaml = YAML, .sha256 = b->text};
    struct event *ev = make_event(
        &(struct event_parts){.type = RECORD_PIPELINE_DECLARED, .rec = &d, .id = "declared1"});
    named_take_event(b->names, ev);
    event_free(ev);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;

    named_free(b->names);
    strset_fini(&b->runs);
    findings_fini(&b->f);
    artifacts_close(&b->store);
    tmpdir_fini(&b->dir);
    free_ptr(&b);
    return 0;
}

static void check(struct bench *b)
{
    const struct verify_store s = {
        .artifacts = &b->store, .names = b->names, .runs = &b->runs, .reads_bytes = true, NOW_MS};
    struct err err = {0};

    store_check_named(&s, &b->f);
    assert_int_equal(store_check_unnamed(&s, b->names, &b->f, &err), 0);
}

/* A file of the store, so many hours old. */
static void put(struct bench *b, const char *name, int hours)
{
    CLEANUP_FREE char *path = fsx_join(b->store.root, name);
    const struct timespec times[] = {{.tv_sec = NOW_MS / 1000 - hours * 3600},
                                     {.tv_sec = NOW_MS / 1000 - hours * 3600}};
    struct err err = {0};

    if (!fsx_exists(path))
        assert_int_equal(fsx_write_file(path, "x", 1, &err), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void expect(struct bench *b, enum verify_check c, const char *words)
{
    check(b);
    assert_int_equal(findings_violations(&b->f), 1);
    assert_int_equal(b->f.items[0].check, c);
    if (!strstr(b->f.items[0].what, words))
        fail_msg("'%s' says nothing of '%s'", b->f.items[0].what, words);
}

static char *path_of(struct bench *b, const char *digest)
{
    return xasprintf("%s/sha256/%.2s/%s", b->store.root, digest, digest + 2);
}

#define ORPHAN "sha256/aa/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void a_store_as_the_log_says_passes(void **state)
{
    struct bench *b = *state;

    put(b, ORPHAN, 23); /* bytes come before words */
    put(b, "tmp/fetch-1", 23);
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
    assert_int_equal(b->f.looked[VERIFY_ARTEFACTS], 1);
    assert_int_equal(b->f.looked[VERIFY_UNNAMED], 3);
}

static void an_artefact_that_is_missing_is_found(void **state)
{
    struct bench *b = *state;
    CLEANUP_FREE char *path = path_of(b, b->text);

    assert_int_equal(remove(path), 0);
    expect(b, VERIFY_ARTEFACTS, "which is not in the store");
    assert_string_equal(b->f.items[0].id, "declared1");
}

static void an_artefact_with_other_bytes_is_found(void **state)
{
    struct bench *b = *state;
    CLEANUP_FREE char *path = path_of(b, b->text);
    struct err err = {0};

    assert_int_equal(fsx_write_file(path, "kind: pipeline", 14, &err), 0);
    expect(b, VERIFY_ARTEFACTS, "is damaged");
}

static void an_artefact_that_was_cut_is_found(void **state)
{
    struct bench *b = *state;
    CLEANUP_FREE char *path = path_of(b, b->text);
    struct err err = {0};

    assert_int_equal(fsx_write_file(path, "", 0, &err), 0);
    expect(b, VERIFY_ARTEFACTS, "is damaged");
}

static void an_old_file_that_nobody_names_is_found(void **state)
{
    put(*state, ORPHAN, 25);
    expect(*state, VERIFY_UNNAMED, "is named by no event and no manifest");
}

static void an_old_file_that_is_no_artefact_is_found(void **state)
{
    put(*state, "sha256/aa/notes.txt", 25);
    expect(*state, VERIFY_UNNAMED, "is called as no artefact is");
}

static void an_old_file_in_the_making_is_found(void **state)
{
    put(*state, "tmp/fetch-1", 25);
    expect(*state, VERIFY_UNNAMED, "left by a process that died");
}

static void an_old_named_file_is_fine(void **state)
{
    struct bench *b = *state;
    CLEANUP_FREE char *name = xasprintf("sha256/%.2s/%s", b->text, b->text + 2);

    put(b, name, 10000);
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
}

/* What a run left in the store counts as named, as long as the log speaks of the run. */
static void the_result_of_a_run_names_its_files(void **state)
{
    static const char RESULT[] =
        "{\"model\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}";
    struct bench *b = *state;
    struct err err = {0};

    assert_int_equal(artifacts_put_run(&b->store, "run1", slice_str(RESULT), &err), 0);
    strset_add(&b->runs, slice_str("run1"));
    put(b, ORPHAN, 25);
    put(b, "runs/run1", 25);
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
}

static void an_old_result_of_a_run_that_is_not_in_the_log_is_found(void **state)
{
    struct bench *b = *state;
    struct err err = {0};

    assert_int_equal(artifacts_put_run(&b->store, "run1", slice_str("{}"), &err), 0);
    put(b, "runs/run1", 25);
    expect(b, VERIFY_UNNAMED, "a run that no event speaks of");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_store_as_the_log_says_passes),
        T(an_artefact_that_is_missing_is_found),
        T(an_artefact_with_other_bytes_is_found),
        T(an_artefact_that_was_cut_is_found),
        T(an_old_file_that_nobody_names_is_found),
        T(an_old_file_that_is_no_artefact_is_found),
        T(an_old_file_in_the_making_is_found),
        T(an_old_named_file_is_fine),
        T(the_result_of_a_run_names_its_files),
        T(an_old_result_of_a_run_that_is_not_in_the_log_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
