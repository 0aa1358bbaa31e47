#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fsx.h"
#include "common/mem.h"
#include "common/store.h"

static const char *const migrations[] = {
    "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, n REAL, b BLOB) STRICT",
    "CREATE TABLE u (k TEXT PRIMARY KEY) STRICT, WITHOUT ROWID; INSERT INTO u VALUES ('made')",
};

struct fixture {
    char *dir, *path, *damaged;
    struct store *st;
};

static struct store *open_store(struct fixture *f, size_t n, bool *was_reset)
{
    struct store *st = NULL;
    struct err err = {0};

    if (store_open(f->path, migrations, n, &st, was_reset, &err))
        fail_msg("%s", err.msg);
    return st;
}

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};
    bool was_reset = true;

    f.dir = fsx_tmpdir("store", &err);
    f.path = fsx_join(f.dir, "a.db");
    f.damaged = fsx_join(f.dir, "a.db.damaged");
    f.st = open_store(&f, 2, &was_reset);
    assert_false(was_reset);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};

    store_close(f->st);
    store_close(NULL);
    assert_int_equal(fsx_remove_tree(f->dir, &err), 0);
    free(f->dir);
    free(f->path);
    free(f->damaged);
    return 0;
}

static void exec(struct store *st, const char *sql)
{
    struct err err = {0};

    if (store_exec(st, sql, &err))
        fail_msg("%s", err.msg);
}

static struct stmt *prepare(struct store *st, const char *sql)
{
    struct stmt *s = NULL;
    struct err err = {0};

    if (store_prepare(st, sql, &s, &err))
        fail_msg("%s", err.msg);
    return s;
}

static bool step(struct stmt *s)
{
    bool has_row = false;
    struct err err = {0};

    if (stmt_step(s, &has_row, &err))
        fail_msg("%s", err.msg);
    return has_row;
}

static void run(struct stmt *s)
{
    struct err err = {0};

    if (stmt_run(s, &err))
        fail_msg("%s", err.msg);
}

static int64_t count(struct store *st)
{
    struct stmt *s = prepare(st, "SELECT count(*) FROM t");
    int64_t n;

    assert_true(step(s));
    n = stmt_int(s, 0);
    stmt_reset(s);
    return n;
}

static void fill(struct store *st, int n)
{
    struct stmt *s = prepare(st, "INSERT INTO t (s) VALUES (?1)");
    struct err err;

    assert_int_equal(store_begin(st, &err), 0);
    for (int i = 0; i < n; i++) {
        stmt_bind_str(s, 1,
                      "0123456789012345678901234567890123456789012345678901234567890123456789");
        run(s);
    }
    assert_int_equal(store_commit(st, &err), 0);
}

static void values_come_back_as_they_went_in(void **state)
{
    static const struct {
        int64_t id;
        const char *s;
        double n;
        const char *b;
        size_t b_n;
    } rows[] = {
        {INT64_MIN, "caf\xc3\xa9", 0.1, "a\0b", 3},
        {INT64_MAX, "", -0.5e300, "", 0},
        {7, NULL, 5e-324, NULL, 0},
    };
    struct fixture *f = *state;
    struct stmt *in = prepare(f->st, "INSERT INTO t VALUES (?1,?2,?3,?4)");
    struct stmt *out = prepare(f->st, "SELECT id, s, n, b AS blob FROM t WHERE id=?1");

    assert_int_equal(stmt_columns(out), 4);
    assert_string_equal(stmt_column_name(out, 3), "blob");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        stmt_bind_int(in, 1, rows[i].id);
        stmt_bind_str(in, 2, rows[i].s);
        stmt_bind_num(in, 3, rows[i].n);
        stmt_bind_blob(in, 4, rows[i].b, rows[i].b_n);
        run(in);
        stmt_bind_int(out, 1, rows[i].id); /* the statement still stands on the last row */
        assert_true(step(out));
        assert_true(stmt_int(out, 0) == rows[i].id);
        assert_true(stmt_num(out, 2) == rows[i].n);
        assert_int_equal(stmt_is_null(out, 1), rows[i].s == NULL);
        assert_int_equal(stmt_str(out, 1) == NULL, rows[i].s == NULL);
        if (rows[i].s)
            assert_string_equal(stmt_str(out, 1), rows[i].s);
        assert_int_equal(stmt_blob(out, 3).n, rows[i].b_n);
        assert_int_equal(stmt_blob(out, 3).p == NULL, rows[i].b == NULL);
        if (rows[i].b_n)
            assert_memory_equal(stmt_blob(out, 3).p, rows[i].b, rows[i].b_n);
    }
    assert_false(step(out));
}

static void numbers_that_are_not_finite_become_null(void **state)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY};
    struct fixture *f = *state;
    struct stmt *in = prepare(f->st, "INSERT INTO t (n) VALUES (?1)"), *out;

    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        stmt_bind_num(in, 1, odd[i]);
        run(in);
    }
    out = prepare(f->st, "SELECT n FROM t");
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        assert_true(step(out));
        assert_true(stmt_is_null(out, 0));
        assert_true(isnan(stmt_num(out, 0)));
    }
    assert_false(step(out));
}

static void a_prepared_statement_is_kept_and_handed_out_empty(void **state)
{
    struct fixture *f = *state;
    const char *sql = "SELECT ?1";
    struct stmt *s = prepare(f->st, sql);
    CLEANUP_FREE char *other_memory = xstrdup(sql);

    stmt_bind_int(s, 1, 5);
    assert_true(step(s));
    assert_int_equal(stmt_int(s, 0), 5);
    assert_ptr_equal(prepare(f->st, other_memory), s);
    assert_true(step(s));
    assert_true(stmt_is_null(s, 0)); /* no value of the one before */
    assert_ptr_not_equal(prepare(f->st, "SELECT ?1 "), s);
}

static void a_store_keeps_a_bounded_number_of_statements(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct stmt *s;
    int i, rc = 0;

    for (i = 0; i < 1000 && rc == 0; i++) {
        char sql[64];

        snprintf(sql, sizeof(sql), "SELECT %d", i);
        rc = store_prepare(f->st, sql, &s, &err);
    }
    assert_int_equal(rc, -1);
    assert_int_equal(i, 513);
    assert_int_equal(err.code, ERR_LIMIT);
}

static void what_is_not_committed_is_not_there(void **state)
{
    struct fixture *f = *state;
    struct err err;
    bool was_reset;

    assert_int_equal(store_begin(f->st, &err), 0);
    exec(f->st, "INSERT INTO t (id) VALUES (1)");
    store_rollback(f->st);
    store_rollback(f->st);
    assert_int_equal(count(f->st), 0);
    assert_int_equal(store_begin(f->st, &err), 0);
    exec(f->st, "INSERT INTO t (id) VALUES (2)");
    assert_int_equal(store_commit(f->st, &err), 0);
    assert_int_equal(store_begin(f->st, &err), 0);
    exec(f->st, "INSERT INTO t (id) VALUES (3)");
    store_close(f->st);
    f->st = open_store(f, 2, &was_reset);
    assert_int_equal(count(f->st), 1);
}

static void what_is_committed_survives_a_killed_process(void **state)
{
    struct fixture *f = *state;
    bool was_reset;
    pid_t pid;

    store_close(f->st);
    f->st = NULL;
    pid = fork();
    if (pid == 0) {
        struct store *st = open_store(f, 2, &was_reset);

        fill(st, 1000);
        exec(st, "BEGIN; INSERT INTO t (s) VALUES ('lost')");
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    f->st = open_store(f, 2, &was_reset);
    assert_false(was_reset);
    assert_int_equal(count(f->st), 1000);
}

static void migrations_run_once_and_from_where_the_file_stands(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    bool was_reset = true;
    struct stmt *s;

    store_close(f->st);
    assert_int_equal(unlink(f->path), 0);
    f->st = open_store(f, 1, &was_reset);
    exec(f->st, "INSERT INTO t (id) VALUES (1)");
    assert_int_equal(store_prepare(f->st, "SELECT k FROM u", &s, &err), -1);
    store_close(f->st);
    for (int i = 0; i < 2; i++) {
        f->st = open_store(f, 2, &was_reset);
        assert_false(was_reset);
        assert_int_equal(count(f->st), 1);
        s = prepare(f->st, "SELECT k FROM u");
        assert_true(step(s));
        assert_string_equal(stmt_str(s, 0), "made");
        assert_false(step(s));
        store_close(f->st);
    }
    f->st = NULL;
}

static void a_failed_migration_changes_nothing(void **state)
{
    static const char *const broken[] = {"", "",
                                         "CREATE TABLE v (a INTEGER) STRICT; CREATE NONSENSE"};
    struct fixture *f = *state;
    struct store *st = NULL;
    struct err err = {0};
    bool was_reset = false;

    fill(f->st, 3);
    store_close(f->st);
    f->st = NULL;
    assert_int_equal(store_open(f->path, broken, 3, &st, &was_reset, &err), -1);
    assert_null(st);
    assert_int_equal(err.next, NEXT_FATAL);
    assert_true(str_has_prefix(err.msg, "migration 3: "));
    f->st = open_store(f, 2, &was_reset);
    assert_false(was_reset);
    assert_int_equal(count(f->st), 3);
    assert_int_equal(store_prepare(f->st, "SELECT * FROM v", &(struct stmt *){NULL}, &err), -1);
}

static void a_file_of_a_newer_program_is_set_aside(void **state)
{
    struct fixture *f = *state;
    bool was_reset = false;

    exec(f->st, "INSERT INTO t (id) VALUES (1); PRAGMA user_version=3");
    store_close(f->st);
    f->st = open_store(f, 2, &was_reset);
    assert_true(was_reset);
    assert_int_equal(count(f->st), 0);
    assert_true(fsx_exists(f->damaged));
}

static void overwrite(const char *path, off_t at, size_t n, int byte)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CLEANUP_FREE char *bytes = xmalloc(n);

    memset(bytes, byte, n);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    close(fd);
}

static void a_damaged_file_is_set_aside_and_made_anew(void **state)
{
    struct fixture *f = *state;

    for (int kind = 0; kind < 5; kind++) {
        bool was_reset = false;

        fill(f->st, 1000);
        store_close(f->st);
        if (kind == 0)
            overwrite(f->path, 0, 100, 'x'); /* no SQLite file */
        else if (kind == 1)
            overwrite(f->path, 4096, 4096, 0); /* a page of a table */
        else if (kind == 2)
            overwrite(f->path, 100, 3996, 0xff); /* the schema */
        else if (kind == 3)
            assert_int_equal(truncate(f->path, 10000), 0);
        else
            overwrite(f->path, 9 * 4096 + 8, 30, 0xff); /* cells of a leaf */
        f->st = open_store(f, 2, &was_reset);
        if (!was_reset)
            fail_msg("damage %d was not found", kind);
        assert_int_equal(count(f->st), 0);
        assert_true(fsx_exists(f->damaged));
    }
}

static void an_empty_file_is_a_new_one(void **state)
{
    struct fixture *f = *state;
    bool was_reset = true;

    store_close(f->st);
    assert_int_equal(truncate(f->path, 0), 0);
    f->st = open_store(f, 2, &was_reset);
    assert_false(was_reset);
    assert_int_equal(count(f->st), 0);
}

static void damage_that_is_found_in_use_is_fatal_and_set_aside_at_close(void **state)
{
    struct fixture *f = *state;
    struct store *other;
    struct stmt *s;
    struct err err = {0};
    bool was_reset, has_row = true;
    int rc;

    fill(f->st, 2000);
    store_close(f->st); /* all is in the file now */
    f->st = open_store(f, 2, &was_reset);
    other = open_store(f, 2, &was_reset);
    exec(other, "INSERT INTO u VALUES ('so that the first one reads its pages again')");
    overwrite(f->path, 4096 * 4, 4096 * 20, 0xff);
    s = prepare(f->st, "SELECT sum(length(s)) FROM t");
    rc = stmt_step(s, &has_row, &err);
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, ERR_STORE);
    assert_int_equal(err.next, NEXT_FATAL);
    store_close(other);
    store_close(f->st);
    assert_true(fsx_exists(f->damaged));
    assert_false(fsx_exists(f->path));
    f->st = open_store(f, 2, &was_reset);
    assert_false(was_reset);
    assert_int_equal(count(f->st), 0);
}

static void errors_say_what_becomes_of_them(void **state)
{
    struct fixture *f = *state;
    struct store *other;
    struct stmt *s;
    struct err err = {0};
    bool was_reset;

    exec(f->st, "INSERT INTO t (id) VALUES (1)");
    s = prepare(f->st, "INSERT INTO t (id) VALUES (?1)");
    stmt_bind_int(s, 1, 1);
    assert_int_equal(stmt_run(s, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(err.next, NEXT_REJECT);
    stmt_bind_int(s, 1, 2); /* and it can be used again */
    run(s);
    s = prepare(f->st, "INSERT INTO t (n) VALUES (?1)");
    stmt_bind_str(s, 1, "no number");
    assert_int_equal(stmt_run(s, &err), -1); /* STRICT */
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(store_exec(f->st, "SELECT nonsense", &err), -1);
    assert_int_equal(err.code, ERR_STORE);
    assert_int_equal(err.next, NEXT_FATAL);
    assert_non_null(strstr(err.msg, "no such column"));
    other = open_store(f, 2, &was_reset);
    exec(other, "PRAGMA busy_timeout=0");
    assert_int_equal(store_begin(f->st, &err), 0);
    assert_int_equal(store_begin(other, &err), -1);
    assert_int_equal(err.next, NEXT_RETRY);
    assert_non_null(strstr(err.msg, "locked"));
    store_rollback(f->st);
    store_close(other);
    assert_int_equal(store_open("/nonexistent/a.db", migrations, 2, &other, &was_reset, &err), -1);
    assert_int_equal(err.next, NEXT_RETRY);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void a_question_may_take_so_many_steps_and_no_more(void **state)
{
    static const char LONG[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
                               "WHERE i<?1) SELECT count(*) FROM n";
    struct fixture *f = *state;
    struct err err = {0};
    struct stmt *s = NULL;
    bool row = false;

    store_limit_steps(f->st, 10000);
    assert_int_equal(store_ask(f->st, LONG, &s, &err), 0);
    stmt_bind_int(s, 1, 1000000);
    assert_int_equal(stmt_step(s, &row, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(err.next, NEXT_REJECT);
    stmt_free(s);
    store_limit_steps(f->st, 0);
    assert_int_equal(store_ask(f->st, LONG, &s, &err), 0);
    stmt_bind_int(s, 1, 100000);
    assert_int_equal(stmt_step(s, &row, &err), 0);
    assert_int_equal(stmt_int(s, 0), 100000);
    stmt_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(values_come_back_as_they_went_in),
        T(numbers_that_are_not_finite_become_null),
        T(a_prepared_statement_is_kept_and_handed_out_empty),
        T(a_store_keeps_a_bounded_number_of_statements),
        T(a_question_may_take_so_many_steps_and_no_more),
        T(what_is_not_committed_is_not_there),
        T(what_is_committed_survives_a_killed_process),
        T(migrations_run_once_and_from_where_the_file_stands),
        T(a_failed_migration_changes_nothing),
        T(a_file_of_a_newer_program_is_set_aside),
        T(a_damaged_file_is_set_aside_and_made_anew),
        T(an_empty_file_is_a_new_one),
        T(damage_that_is_found_in_use_is_fatal_and_set_aside_at_close),
        T(errors_say_what_becomes_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
