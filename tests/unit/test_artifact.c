#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "common/artifact.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "tests/support/tmpdir.h"

static const char ABC[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; /* FIPS 180-2 */

static struct artifacts open_in(struct tmpdir *t)
{
    struct artifacts a;
    struct err err;

    if (artifacts_open(tmpdir_join(t, "store"), &a, &err))
        fail_msg("%s", err.msg);
    return a;
}

static void a_url_names_a_folder_and_nothing_else(void **state)
{
    struct tmpdir *t = *state;
    const char *url = arena_printf(&t->names, "file://%s/by-url", t->path);
    static const char *const refused[] = {"s3://bucket", "http://host/x", "file://relative", "",
                                          "file://"};
    struct artifacts a = {0};
    struct err err;

    assert_int_equal(artifacts_open(url, &a, &err), 0);
    assert_true(a.root[0] == '/');
    artifacts_close(&a);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_int_equal(artifacts_open(refused[i], &a, &err), -1);
        assert_int_equal(err.code, ERR_INVAL);
        assert_int_equal(err.next, NEXT_REJECT);
        assert_null(a.root);
    }
}

static void bytes_are_named_by_their_digest(void **state)
{
    struct tmpdir *t = *state;
    struct artifacts a = open_in(t);
    char digest[DIGEST_HEX_SIZE];
    struct buf got = {0};
    struct err err;
    char *path;

    assert_false(artifacts_has(&a, ABC));
    assert_int_equal(artifacts_put(&a, "abc", 3, digest, &err), 0);
    assert_string_equal(digest, ABC);
    assert_true(artifacts_has(&a, ABC));
    assert_int_equal(artifacts_put(&a, "abc", 3, digest, &err), 0); /* again: a no-op */
    path = artifacts_path(&a, ABC, &err);
    assert_string_equal(
        path + strlen(a.root),
        "/sha256/ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    free(path);
    assert_int_equal(artifacts_get(&a, ABC, 3, &got, &err), 0);
    assert_string_equal(got.data, "abc");
    assert_int_equal(artifacts_verify(&a, ABC, &err), 0);
    assert_int_equal(artifacts_put(&a, "", 0, digest, &err), 0);
    assert_int_equal(artifacts_get(&a, digest, 0, &got, &err), 0);
    buf_fini(&got);
    artifacts_close(&a);
}

static void what_is_not_there_may_come_and_what_is_no_digest_will_not(void **state)
{
    struct artifacts a = open_in(*state);
    struct buf got = {0};
    struct err err;

    assert_null(artifacts_path(&a, ABC, &err));
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(err.next, NEXT_RETRY);
    assert_int_equal(artifacts_get(&a, ABC, 10, &got, &err), -1);
    assert_int_equal(err.next, NEXT_RETRY);
    assert_null(artifacts_path(&a, "../../etc/passwd", &err));
    assert_int_equal(err.code, ERR_INVAL);
    assert_false(artifacts_has(&a, "../../etc/passwd"));
    assert_false(artifacts_has(&a, NULL));
    artifacts_close(&a);
}

static void damage_is_seen(void **state)
{
    struct artifacts a = open_in(*state);
    char digest[DIGEST_HEX_SIZE];
    struct buf got = {0};
    struct err err;
    char *path;

    assert_int_equal(artifacts_put(&a, "abc", 3, digest, &err), 0);
    path = artifacts_path(&a, digest, &err);
    assert_int_equal(fsx_write_file(path, "abd", 3, &err), 0);
    free(path);
    buf_add_str(&got, "before");
    assert_int_equal(artifacts_get(&a, digest, 10, &got, &err), -1);
    assert_int_equal(err.code, ERR_CODEC);
    assert_string_equal(got.data, "before");
    assert_int_equal(artifacts_verify(&a, digest, &err), -1);
    assert_int_equal(err.code, ERR_CODEC);
    buf_fini(&got);
    artifacts_close(&a);
}

static void a_cap_is_kept(void **state)
{
    struct artifacts a = open_in(*state);
    char digest[DIGEST_HEX_SIZE];
    struct buf got = {0};
    struct err err;

    assert_int_equal(artifacts_put(&a, "abcd", 4, digest, &err), 0);
    assert_int_equal(artifacts_get(&a, digest, 3, &got, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    buf_fini(&got);
    artifacts_close(&a);
}

static void write_tmp(const struct artifacts *a, const char *text, char **ret)
{
    struct err err;

    *ret = artifacts_tmp(a, "part", &err);
    assert_non_null(*ret);
    assert_int_equal(fsx_write_file(*ret, text, strlen(text), &err), 0);
}

static void temporary_files_are_taken_and_leave_nothing(void **state)
{
    struct tmpdir *t = *state;
    struct artifacts a = open_in(t);
    struct artifact_file files[20];
    char digests[20][DIGEST_HEX_SIZE], digest[DIGEST_HEX_SIZE], *one;
    struct err err;

    write_tmp(&a, "abc", &one);
    assert_int_equal(artifacts_put_file(&a, one, digest, &err), 0);
    assert_string_equal(digest, ABC);
    assert_false(fsx_exists(one));
    free(one);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char text[32], *path;

        snprintf(text, sizeof(text), "file %zu",
                 i / 2); /* two of each: the same digest twice in a batch */
        write_tmp(&a, text, &path);
        digest_bytes(text, strlen(text), digests[i]);
        files[i] = (struct artifact_file){.tmp_path = path, .digest = digests[i]};
    }
    assert_int_equal(artifacts_put_files_as(&a, files, ARRAY_LEN(files), &err), 0);
    assert_int_equal(artifacts_put_files_as(&a, files, 0, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        assert_int_equal(artifacts_verify(&a, digests[i], &err), 0);
        free((void *)(uintptr_t)files[i].tmp_path);
    }
    assert_int_equal(tmpdir_count(t, "store/tmp"), 0);
    artifacts_close(&a);
}

static void a_missing_temporary_file_is_an_error(void **state)
{
    struct artifacts a = open_in(*state);
    const struct artifact_file files[] = {{"/nonexistent/file", ABC}};
    struct err err;

    assert_int_equal(artifacts_put_files_as(&a, files, 1, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_false(artifacts_has(&a, ABC));
    assert_int_equal(artifacts_put_file_as(&a, "/nonexistent/file", "x", &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
    assert_null(artifacts_tmp(&a, "a/b", &err));
    assert_null(artifacts_tmp(&a, "", &err));
    artifacts_close(&a);
}

static void the_first_result_of_a_run_stays(void **state)
{
    struct artifacts a = open_in(*state);
    struct buf got = {0};
    struct err err;
    static const char *const refused[] = {"", "..", "a/b", ".hidden", "a b"};

    assert_int_equal(artifacts_get_run(&a, "r1", &got, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(artifacts_put_run(&a, "r1", slice_str("{\"a\":1}"), &err), 0);
    assert_int_equal(artifacts_put_run(&a, "r1", slice_str("{\"a\":2}"), NULL), 0);
    assert_int_equal(artifacts_get_run(&a, "r1", &got, &err), 0);
    assert_string_equal(got.data, "{\"a\":1}");
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_int_equal(artifacts_put_run(&a, refused[i], slice_str("{}"), &err), -1);
        assert_int_equal(err.code, ERR_INVAL);
    }
    buf_fini(&got);
    artifacts_close(&a);
}

static void a_schema_is_found_by_its_fingerprint(void **state)
{
    struct artifacts a = open_in(*state);
    struct buf got = {0};
    struct err err;

    assert_int_equal(artifacts_get_schema(&a, 0x0102, &got, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(artifacts_put_schema(&a, 0x0102, slice_str("\"long\""), &err), 0);
    assert_int_equal(artifacts_put_schema(&a, 0x0102, slice_str("\"int\""), &err), 0);
    assert_int_equal(artifacts_get_schema(&a, 0x0102, &got, &err), 0);
    assert_string_equal(got.data, "\"long\"");
    assert_true(fsx_exists(tmpdir_join(*state, "store/schemas/0201000000000000.avsc")));
    buf_fini(&got);
    artifacts_close(&a);
}

static void what_a_crash_left_is_removed_a_day_later(void **state)
{
    struct tmpdir *t = *state;
    struct artifacts a = open_in(t);
    char *old, *fresh;

    write_tmp(&a, "old", &old);
    write_tmp(&a, "fresh", &fresh);
    assert_int_equal(utime(old, &(struct utimbuf){.actime = 1, .modtime = 1}), 0);
    artifacts_close(&a);
    a = open_in(t);
    assert_false(fsx_exists(old));
    assert_true(fsx_exists(fresh));
    free(old);
    free(fresh);
    artifacts_close(&a);
    artifacts_close(&a);
    artifacts_close(NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        T(a_url_names_a_folder_and_nothing_else),
        T(bytes_are_named_by_their_digest),
        T(what_is_not_there_may_come_and_what_is_no_digest_will_not),
        T(damage_is_seen),
        T(a_cap_is_kept),
        T(temporary_files_are_taken_and_leave_nothing),
        T(a_missing_temporary_file_is_an_error),
        T(the_first_result_of_a_run_stays),
        T(a_schema_is_found_by_its_fingerprint),
        T(what_a_crash_left_is_removed_a_day_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
