/* Fault points, on a child that is this program again: it passes two effects and says by its exit
 * code how they went. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.c" /* in the plain library it is empty */
#include "tests/support/tmpdir.h"

enum { ANSWERED_WELL = 1, WAS_DONE = 2, SURE_WELL = 4, BELIEVED = 8, CHILD_BASE = 16 };

static int done;

static int effect(void)
{
    done = WAS_DONE;
    return 0;
}

static int pass(void)
{
    int well = EFFECT(store, "try.effect", FAULT_ERRNO, effect()) == 0 ? ANSWERED_WELL : 0;
    int sure = EFFECT_SURE(spawn, "try.sure", -1, 7) == 7 ? SURE_WELL : 0;

    FAULT_AT(fold, "try.moment");
    return CHILD_BASE + well + done + sure + (FAULT_LOST(commit, "try.answer") ? 0 : BELIEVED);
}

/* Runs the child; its status as waitpid gives it. With SIGCONT for one that stops. */
static int child(const struct tmpdir *dir, bool *ret_stopped)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        setenv("RELEARN_FAULTS", dir->path, 1);
        execl("/proc/self/exe", "relearn-try", "--instance=try-1", (char *)NULL);
        _exit(99);
    }
    *ret_stopped = false;
    while (waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status)) {
        *ret_stopped = true;
        kill(pid, SIGCONT);
    }
    return status;
}

static struct fault_control *control_of(const struct tmpdir *dir, size_t *ret_bytes)
{
    char path[512];
    struct fault_control *c;
    FILE *f;

    snprintf(path, sizeof(path), "%s/try-1", dir->path);
    f = fopen(path, "r+");
    assert_non_null(f);
    *ret_bytes = sizeof(*c) + n_points() * sizeof(c->points[0]);
    c = mmap(NULL, *ret_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
    fclose(f);
    assert_ptr_not_equal(c, MAP_FAILED);
    assert_int_equal(c->magic, FAULT_MAGIC);
    return c;
}

static uint32_t number_of(const struct fault_control *c, const char *name)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (strcmp(c->points[i].name, name) == 0)
            return i + 1;
    fail_msg("no point %s", name);
    return 0;
}

enum { ALL_WELL = CHILD_BASE + ANSWERED_WELL + WAS_DONE + SURE_WELL + BELIEVED };

static void each_fault_does_what_its_name_says_and_once(void **state)
{
    static const struct {
        const char *point;
        uint32_t kind;
        int signal, code; /* the code of one that no signal ended */
        bool stops;
    } rows[] = {
        {"try.effect.before", FAULT_KILL, SIGKILL, 0, false},
        {"try.effect.before", FAULT_FAIL, 0, ALL_WELL - ANSWERED_WELL - WAS_DONE, false},
        {"try.effect.after", FAULT_LOSE, 0, ALL_WELL - ANSWERED_WELL, false},
        {"try.effect.after", FAULT_STOP, 0, ALL_WELL, true},
        {"try.sure.before", FAULT_FAIL, 0, ALL_WELL - SURE_WELL, false},
        {"try.moment", FAULT_KILL, SIGKILL, 0, false},
        {"try.answer", FAULT_LOSE, 0, ALL_WELL - BELIEVED, false},
    };
    struct tmpdir dir;
    struct fault_control *c;
    size_t bytes;
    bool stopped;
    int status;

    (void)state;
    tmpdir_init(&dir);
    status = child(&dir, &stopped);
    assert_int_equal(WEXITSTATUS(status), ALL_WELL);
    c = control_of(&dir, &bytes);
    for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t number = number_of(c, rows[i].point);

        assert_true(c->points[number - 1].kinds & rows[i].kind);
        c->kind = rows[i].kind;
        atomic_store(&c->countdown, 2); /* the second pass: of another process */
        atomic_store(&c->armed, number);
        for (int life = 1; life <= 3; life++) {
            status = child(&dir, &stopped);
            if (life == 2 && rows[i].signal) {
                assert_true(WIFSIGNALED(status) && WTERMSIG(status) == rows[i].signal);
            } else {
                assert_int_equal(WEXITSTATUS(status), life == 2 ? rows[i].code : ALL_WELL);
                assert_int_equal(stopped, life == 2 && rows[i].stops);
            }
        }
        assert_int_equal(atomic_load(&c->fired), i + 1);
    }
    munmap(c, bytes);
    tmpdir_fini(&dir);
}

static void hits_are_counted(void **state)
{
    struct tmpdir dir;
    struct fault_control *c;
    size_t bytes;
    bool stopped;

    (void)state;
    tmpdir_init(&dir);
    child(&dir, &stopped);
    child(&dir, &stopped);
    c = control_of(&dir, &bytes);
    assert_int_equal(atomic_load(&c->points[number_of(c, "try.moment") - 1].hits), 2);
    assert_string_equal(c->points[number_of(c, "try.moment") - 1].effect, "fold");
    munmap(c, bytes);
    tmpdir_fini(&dir);
}

static void a_process_is_named_by_its_instance_or_its_program(void **state)
{
    static char path[] = "/x/relearn-train", instance[] = "--instance=train-2",
                word[] = "--instance", value[] = "b", broker[] = "relearn-broker",
                line[] = "/usr/bin/relearn", up[] = "up";
    char out[128];

    (void)state;
    name_process((char *[]){path, instance, NULL}, out, sizeof(out));
    assert_string_equal(out, "train-2");
    name_process((char *[]){path, word, value, NULL}, out, sizeof(out));
    assert_string_equal(out, "b");
    name_process((char *[]){broker, NULL}, out, sizeof(out));
    assert_string_equal(out, "broker");
    name_process((char *[]){line, up, NULL}, out, sizeof(out));
    assert_string_equal(out, "relearn-up");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_does_what_its_name_says_and_once),
        cmocka_unit_test(hits_are_counted),
        cmocka_unit_test(a_process_is_named_by_its_instance_or_its_program),
    };

    if (argc > 1 && strcmp(argv[1], "--instance=try-1") == 0)
        return pass();
    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
