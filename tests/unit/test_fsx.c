#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fsx.h"
#include "tests/support/tmpdir.h"

static size_t open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static size_t files_before;

static int setup(void **state)
{
    files_before = open_files();
    return tmpdir_setup(state);
}

static int teardown(void **state)
{
    tmpdir_teardown(state);
    assert_int_equal(open_files(), files_before);
    return 0;
}

static void assert_content(const char *path, const char *expected)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct err err = {0};

    if (fsx_read_file(path, 1 << 20, &text, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(text.data ? text.data : "", expected);
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void mkdirs_makes_all_and_takes_what_is_there(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_join(t, "a/b//c/");
    struct err err = {0};

    assert_int_equal(fsx_mkdirs(path, &err), 0);
    assert_int_equal(fsx_mkdirs(path, &err), 0);
    assert_int_equal(fsx_mkdirs(t->path, &err), 0);
    assert_int_equal(fsx_mkdirs("/", &err), 0);
    assert_true(fsx_exists(tmpdir_join(t, "a/b/c")));
    assert_int_equal(mode_of(tmpdir_join(t, "a")) & 07, 0);
}

static void mkdirs_over_a_file_fails(void **state)
{
    struct tmpdir *t = *state;
    struct err err = {0};

    tmpdir_write_str(t, "file", "x");
    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "file"), &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "/file"));
    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "file/below"), &err), -1);
    assert_int_equal(fsx_mkdirs("", &err), -1);
}

static void write_replaces_and_leaves_nothing_else(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_join(t, "f");
    struct err err = {0};

    assert_int_equal(fsx_write_file(path, "one", 3, &err), 0);
    assert_int_equal(fsx_write_file(path, "second", 6, &err), 0);
    assert_content(path, "second");
    assert_int_equal(fsx_write_file(path, NULL, 0, &err), 0);
    assert_int_equal(fsx_size(path), 0);
    assert_int_equal(tmpdir_count(t, ""), 1);
}

static void write_in_the_working_folder(void **state)
{
    struct tmpdir *t = *state;
    CLEANUP_FREE char *before = getcwd(NULL, 0);
    struct err err = {0};

    assert_non_null(before);
    assert_int_equal(chdir(t->path), 0);
    assert_int_equal(fsx_write_file("bare", "x", 1, &err), 0);
    assert_int_equal(chdir(before), 0);
    assert_content(tmpdir_join(t, "bare"), "x");
}

static void failed_write_leaves_the_old_file_and_no_other(void **state)
{
    struct tmpdir *t = *state;
    struct err err = {0};

    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "taken"), &err), 0);
    assert_int_equal(fsx_write_file(tmpdir_join(t, "taken"), "x", 1, &err), -1); /* a folder */
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(tmpdir_count(t, ""), 1);
    assert_int_equal(fsx_write_file(tmpdir_join(t, "no/such"), "x", 1, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
}

static void create_never_replaces(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_join(t, "key");
    struct err err = {0};

    assert_int_equal(fsx_create_file(path, 0600, "first", 5, &err), 0);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(fsx_create_file(path, 0600, "other", 5, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(err.next, NEXT_REJECT);
    assert_content(path, "first");
    assert_int_equal(tmpdir_count(t, ""), 1);
}

static void read_appends_within_its_cap(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_write_str(t, "f", "0123456789");
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err = {0};

    buf_add_str(&b, "head ");
    assert_int_equal(fsx_read_file(path, 10, &b, &err), 0);
    assert_string_equal(b.data, "head 0123456789");
    assert_int_equal(fsx_read_file(path, 9, &b, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(b.data, "head 0123456789");
    assert_false(b.overflow);
}

static void read_respects_the_cap_of_the_buf(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_write_str(t, "f", "0123456789");
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err = {0};

    buf_init(&b, 12);
    buf_add_str(&b, "abc");
    assert_int_equal(fsx_read_file(path, 1000, &b, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_string_equal(b.data, "abc");
    assert_false(b.overflow);
}

static void read_of_what_is_no_file(void **state)
{
    struct tmpdir *t = *state;
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err = {0};

    assert_int_equal(fsx_read_file(tmpdir_join(t, "none"), 10, &b, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_non_null(strstr(err.msg, "/none"));
    assert_int_equal(fsx_read_file(t->path, 10, &b, &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
    assert_null(b.data);
}

static void read_of_a_file_that_has_no_size(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(fsx_read_file("/proc/self/stat", 1 << 20, &b, &err), 0);
    assert_true(b.len > 0);
    assert_int_equal(fsx_read_file("/dev/zero", 1 << 20, &b, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

static void large_files_come_back_whole(void **state)
{
    struct tmpdir *t = *state;
    enum { N = 1000003 };
    CLEANUP_FREE char *bytes = xmalloc(N);
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err = {0};
    const char *path;

    for (size_t i = 0; i < N; i++)
        bytes[i] = (char)(i * i >> 5);
    path = tmpdir_write(t, "big", bytes, N);
    assert_int_equal(fsx_read_file(path, N, &b, &err), 0);
    assert_int_equal(b.len, N);
    assert_memory_equal(b.data, bytes, N);
    assert_int_equal(fsx_copy(path, tmpdir_join(t, "copy"), &err), 0);
    buf_reset(&b);
    assert_int_equal(fsx_read_file(tmpdir_join(t, "copy"), N, &b, &err), 0);
    assert_int_equal(b.len, N);
    assert_memory_equal(b.data, bytes, N);
}

static void publish_renames(void **state)
{
    struct tmpdir *t = *state;
    const char *tmp = tmpdir_write_str(t, "making", "done");
    struct err err = {0};

    tmpdir_write_str(t, "final", "old");
    assert_int_equal(fsx_publish(tmp, tmpdir_join(t, "final"), &err), 0);
    assert_content(tmpdir_join(t, "final"), "done");
    assert_false(fsx_exists(tmp));
    assert_int_equal(fsx_publish(tmp, tmpdir_join(t, "final"), &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
}

static void publish_of_a_folder(void **state)
{
    struct tmpdir *t = *state;
    struct err err = {0};

    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "making"), &err), 0);
    tmpdir_write_str(t, "making/f", "x");
    assert_int_equal(fsx_publish(tmpdir_join(t, "making"), tmpdir_join(t, "made"), &err), 0);
    assert_content(tmpdir_join(t, "made/f"), "x");
}

static void copy_of_what_is_no_file(void **state)
{
    struct tmpdir *t = *state;
    struct err err = {0};

    assert_int_equal(fsx_copy(tmpdir_join(t, "none"), tmpdir_join(t, "to"), &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(fsx_copy(t->path, tmpdir_join(t, "to"), &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
    assert_int_equal(tmpdir_count(t, ""), 0);
}

static void remove_tree_takes_folders_files_and_nothing(void **state)
{
    struct tmpdir *t = *state;
    struct err err = {0};

    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "tree/a/b"), &err), 0);
    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "tree/c"), &err), 0);
    tmpdir_write_str(t, "tree/a/b/f", "x");
    tmpdir_write_str(t, "tree/.hidden", "x");
    tmpdir_write_str(t, "alone", "x");
    assert_int_equal(fsx_remove_tree(tmpdir_join(t, "tree/"), &err), 0);
    assert_int_equal(fsx_remove_tree(tmpdir_join(t, "alone"), &err), 0);
    assert_int_equal(fsx_remove_tree(tmpdir_join(t, "missing"), &err), 0);
    assert_int_equal(fsx_remove_tree(tmpdir_join(t, "missing/below"), &err), 0);
    assert_int_equal(tmpdir_count(t, ""), 0);
}

static void remove_tree_follows_no_link(void **state)
{
    struct tmpdir *t = *state;
    struct err err = {0};

    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "outside"), &err), 0);
    tmpdir_write_str(t, "outside/keep", "x");
    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "tree"), &err), 0);
    assert_int_equal(symlink("../outside", tmpdir_join(t, "tree/folder")), 0);
    assert_int_equal(symlink("../outside/keep", tmpdir_join(t, "tree/file")), 0);
    assert_int_equal(symlink("nowhere", tmpdir_join(t, "tree/dangling")), 0);
    assert_int_equal(symlink("outside", tmpdir_join(t, "link")), 0);
    assert_int_equal(fsx_remove_tree(tmpdir_join(t, "tree"), &err), 0);
    assert_int_equal(fsx_remove_tree(tmpdir_join(t, "link/"), &err), 0);
    assert_false(fsx_exists(tmpdir_join(t, "tree")));
    assert_content(tmpdir_join(t, "outside/keep"), "x");
    assert_int_equal(tmpdir_count(t, ""), 1);
}

static void remove_tree_refuses_the_root_and_nothing(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(fsx_remove_tree("", &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
    assert_int_equal(fsx_remove_tree("///", &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
}

static void remove_tree_has_a_depth_limit(void **state)
{
    struct tmpdir *t = *state;
    CLEANUP(buf_fini) struct buf path = {0};
    struct err err = {0};
    size_t half = 0;

    buf_add_str(&path, t->path);
    for (int i = 0; i < 70; i++) {
        buf_add_str(&path, "/d");
        if (i == 30)
            half = path.len;
    }
    assert_int_equal(fsx_mkdirs(path.data, &err), 0);
    assert_int_equal(fsx_remove_tree(tmpdir_join(t, "d"), &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    path.data[half] = '\0';
    assert_int_equal(fsx_remove_tree(path.data, &err), 0); /* from further down it goes */
}

static void remove_tree_of_many_files(void **state)
{
    struct tmpdir *t = *state;
    struct err err = {0};

    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "many"), &err), 0);
    for (int i = 0; i < 2000; i++) {
        CLEANUP_FREE char *path = xasprintf("%s/many/file-%d", t->path, i);

        assert_int_equal(symlink("x", path), 0); /* no sync: fast */
    }
    assert_int_equal(fsx_remove_tree(tmpdir_join(t, "many"), &err), 0);
    assert_int_equal(tmpdir_count(t, ""), 0);
}

static void tmpdirs_differ_and_follow_tmpdir(void **state)
{
    struct tmpdir *t = *state;
    CLEANUP_FREE char *before = xstrdup(getenv("TMPDIR"));
    struct err err = {0};

    setenv("TMPDIR", t->path, 1);
    CLEANUP_FREE char *a = fsx_tmpdir("job", &err);
    CLEANUP_FREE char *b = fsx_tmpdir("job", &err);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_not_equal(a, b);
    assert_true(str_has_prefix(a, t->path));
    assert_int_equal(mode_of(a), 0700);
    setenv("TMPDIR", tmpdir_join(t, "none"), 1);
    assert_null(fsx_tmpdir("job", &err));
    assert_int_equal(err.code, ERR_NOTFOUND);
    if (before)
        setenv("TMPDIR", before, 1);
    else
        unsetenv("TMPDIR");
}

static void join_puts_one_slash_between(void **state)
{
    static const char *const rows[][3] = {
        {"a", "b", "a/b"},
        {"a/", "b", "a/b"},
        {"/", "b", "/b"},
        {"", "b", "b"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_FREE char *joined = fsx_join(rows[i][0], rows[i][1]);

        assert_string_equal(joined, rows[i][2]);
    }
}

static void sizes_and_existence(void **state)
{
    struct tmpdir *t = *state;

    assert_int_equal(fsx_size(tmpdir_write_str(t, "f", "12345")), 5);
    assert_int_equal(fsx_size(tmpdir_join(t, "none")), -1);
    assert_true(fsx_exists(t->path));
    assert_false(fsx_exists(tmpdir_join(t, "none")));
}

static void maps_show_the_file(void **state)
{
    struct tmpdir *t = *state;
    struct fsx_map m = {0};
    struct err err = {0};

    assert_int_equal(fsx_map_open(tmpdir_write_str(t, "f", "mapped"), &m, &err), 0);
    assert_int_equal(m.n, 6);
    assert_memory_equal(m.p, "mapped", 6);
    fsx_map_close(&m);
    assert_null(m.p);
    fsx_map_close(&m);
    fsx_map_close(NULL);
    assert_int_equal(fsx_map_open(tmpdir_write_str(t, "empty", ""), &m, &err), 0);
    assert_int_equal(m.n, 0);
    fsx_map_close(&m);
    assert_int_equal(fsx_map_open(tmpdir_join(t, "none"), &m, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(fsx_map_open(t->path, &m, &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
}

/* Readers beside a writer that replaces the file see one version or the other, whole. */
static void readers_never_see_half_a_file(void **state)
{
    struct tmpdir *t = *state;
    const char *path = tmpdir_write_str(t, "f", "");
    enum { N = 300000, VERSIONS = 20 };
    CLEANUP_FREE char *bytes = xmalloc(N);
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err = {0};
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        for (int version = 0; version < VERSIONS; version++) {
            memset(bytes, 'a' + version, N);
            if (fsx_write_file(path, bytes, N, &err))
                _exit(1);
        }
        _exit(0);
    }
    assert_true(pid > 0);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        buf_reset(&b);
        assert_int_equal(fsx_read_file(path, N, &b, &err), 0);
        assert_true(b.len == 0 || b.len == N);
        for (size_t i = 1; i < b.len; i += 997)
            assert_int_equal(b.data[i], b.data[0]);
    }
    assert_int_equal(status, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mkdirs_makes_all_and_takes_what_is_there),
        TEST(mkdirs_over_a_file_fails),
        TEST(write_replaces_and_leaves_nothing_else),
        TEST(write_in_the_working_folder),
        TEST(failed_write_leaves_the_old_file_and_no_other),
        TEST(create_never_replaces),
        TEST(read_appends_within_its_cap),
        TEST(read_respects_the_cap_of_the_buf),
        TEST(read_of_what_is_no_file),
        TEST(read_of_a_file_that_has_no_size),
        TEST(large_files_come_back_whole),
        TEST(publish_renames),
        TEST(publish_of_a_folder),
        TEST(copy_of_what_is_no_file),
        TEST(remove_tree_takes_folders_files_and_nothing),
        TEST(remove_tree_follows_no_link),
        TEST(remove_tree_refuses_the_root_and_nothing),
        TEST(remove_tree_has_a_depth_limit),
        TEST(remove_tree_of_many_files),
        TEST(tmpdirs_differ_and_follow_tmpdir),
        TEST(join_puts_one_slash_between),
        TEST(sizes_and_existence),
        TEST(maps_show_the_file),
        TEST(readers_never_see_half_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
