#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/loop.h"

enum { WAIT_MS = 30000 }; /* no test needs it; a broken one ends */

struct log {
    struct loop *loop;
    char text[64];
    int n;
    int want;
    struct loop_timer *timer;
    struct loop_watch *watch;
    int fd;
    pthread_t thread;
};

static int setup(void **state)
{
    static struct log log;
    struct err err;

    memset(&log, 0, sizeof(log));
    log.fd = -1;
    assert_int_equal(loop_new(&log.loop, &err), 0);
    *state = &log;
    return 0;
}

static int teardown(void **state)
{
    struct log *g = *state;

    loop_free(g->loop); /* aborts unless libuv's loop closes clean */
    return 0;
}

static void add(struct log *g, char c)
{
    g->text[g->n++] = c;
}
static void add_a(void *ctx)
{
    add(ctx, 'a');
}
static void add_b(void *ctx)
{
    add(ctx, 'b');
}
static void add_c(void *ctx)
{
    add(ctx, 'c');
}
static bool enough(void *ctx)
{
    struct log *g = ctx;

    return g->n >= g->want;
}

static void loop_run_ends_when_nothing_is_left(void **state)
{
    struct log *g = *state;

    loop_run(g->loop);
    assert_int_equal(g->n, 0);
}

static void timers_fire_in_order_of_their_time(void **state)
{
    struct log *g = *state;
    struct loop_timer *a = loop_timer_new(g->loop, add_a, g),
                      *b = loop_timer_new(g->loop, add_b, g);
    struct loop_timer *c = loop_timer_new(g->loop, add_c, g);

    loop_timer_start(a, 6);
    loop_timer_start(b, 2);
    loop_timer_start(c, 100000);
    loop_timer_start(c, 4); /* moved */
    loop_run(g->loop);
    assert_string_equal(g->text, "bca");
    loop_timer_free(a);
    loop_timer_free(b);
    loop_timer_free(c);
    loop_timer_free(NULL);
}

static void on_timer_free_it(void *ctx)
{
    struct log *g = ctx;

    add(g, 't');
    loop_timer_free(g->timer);
}

static void a_timer_may_be_freed_in_its_own_callback(void **state)
{
    struct log *g = *state;

    g->timer = loop_timer_new(g->loop, on_timer_free_it, g);
    loop_timer_start(g->timer, 0);
    loop_run(g->loop);
    assert_string_equal(g->text, "t");
}

static void a_stopped_timer_does_not_fire(void **state)
{
    struct log *g = *state;
    struct loop_timer *t = loop_timer_new(g->loop, add_a, g);

    loop_timer_start(t, 0);
    loop_timer_stop(t);
    loop_run(g->loop);
    assert_int_equal(g->n, 0);
    loop_timer_free(t);
}

static void on_fd(void *ctx)
{
    struct log *g = ctx;
    uint64_t v;

    assert_int_equal(read(g->fd, &v, sizeof(v)), sizeof(v));
    add(g, 'r');
    loop_stop(g->loop);
}

static void a_watch_runs_until_its_descriptor_is_read_empty(void **state)
{
    struct log *g = *state;
    uint64_t one = 1;

    g->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    g->watch = loop_watch_new(g->loop, g->fd, on_fd, g);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(write(g->fd, &one, sizeof(one)), sizeof(one));
        loop_run(g->loop);
    }
    loop_turn(g->loop, 0);
    assert_string_equal(g->text, "rrr");
    loop_watch_free(g->watch);
    loop_watch_free(NULL);
    close(g->fd);
}

static void defer_two(void *ctx)
{
    struct log *g = ctx;

    add(g, '1');
    loop_defer(g->loop, add_a, g);
    loop_defer(g->loop, add_b, g);
    add(g, '2');
}

static void deferred_calls_run_after_the_callback_in_order(void **state)
{
    struct log *g = *state;

    loop_defer(g->loop, defer_two, g);
    assert_string_equal(g->text, "");
    loop_run(g->loop);
    assert_string_equal(g->text, "12ab");
}

static void defer_itself(void *ctx)
{
    struct log *g = ctx;

    add(g, 'd');
    if (g->n < g->want)
        loop_defer(g->loop, defer_itself, g);
}

static void a_deferred_call_may_defer_itself_once_a_turn(void **state)
{
    struct log *g = *state;

    g->want = 5;
    loop_defer(g->loop, defer_itself, g);
    loop_turn(g->loop, -1);
    assert_int_equal(g->n, 1);
    loop_run(g->loop);
    assert_int_equal(g->n, 5);
}

static void *post_many(void *ctx)
{
    struct log *g = ctx;

    for (int i = 0; i < 20; i++)
        loop_post(g->loop, i % 2 ? add_b : add_a, g);
    return NULL;
}

static void posts_of_other_threads_run_on_the_loop_in_order(void **state)
{
    struct log *g = *state;

    g->want = 20;
    assert_int_equal(pthread_create(&g->thread, NULL, post_many, g), 0);
    assert_true(loop_until(g->loop, enough, g, WAIT_MS));
    pthread_join(g->thread, NULL);
    assert_string_equal(g->text, "abababababababababab");
}

static void an_unlimited_turn_waits_for_a_post(void **state)
{
    struct log *g = *state;

    assert_int_equal(pthread_create(&g->thread, NULL, post_many, g), 0);
    loop_turn(g->loop, -1);
    assert_true(g->n > 0);
    pthread_join(g->thread, NULL);
    loop_run(g->loop); /* what is posted runs, though posts keep no loop alive */
    assert_int_equal(g->n, 20);
}

static void a_turn_ends_with_the_first_callback_and_not_with_its_time(void **state)
{
    struct log *g = *state;
    struct loop_timer *t = loop_timer_new(g->loop, add_a, g);

    loop_timer_start(t, 0);
    loop_turn(g->loop, 1 << 30); /* would outlast any patience */
    assert_string_equal(g->text, "a");
    loop_defer(g->loop, add_b, g);
    loop_turn(g->loop, 1 << 30);
    assert_string_equal(g->text, "ab");
    loop_timer_free(t);
}

static void until_gives_up_after_its_time(void **state)
{
    struct log *g = *state;

    g->want = 1;
    assert_false(loop_until(g->loop, enough, g, 1));
    assert_false(loop_until(g->loop, enough, g, 0));
}

static void work_on_pool(void *ctx)
{
    struct log *g = ctx;

    g->want = pthread_equal(pthread_self(), g->thread) ? 1 : 2;
    add(g, 'w');
}
static void work_is_done(void *ctx)
{
    struct log *g = ctx;

    assert_true(pthread_equal(pthread_self(), g->thread));
    add(g, 'd');
}

static void work_runs_on_the_pool_and_ends_on_the_loop(void **state)
{
    struct log *g = *state;

    g->thread = pthread_self();
    assert_non_null(work_submit(g->loop, work_on_pool, work_is_done, g));
    loop_run(g->loop);
    assert_string_equal(g->text, "wd");
    assert_int_equal(g->want, 2);
}

static void freeing_a_loop_waits_for_its_work_and_runs_what_was_deferred(void **state)
{
    struct log *g = *state;
    struct err err;

    g->thread = pthread_self();
    work_submit(g->loop, work_on_pool, work_is_done, g);
    loop_free(g->loop);
    assert_string_equal(g->text, "wd");
    assert_int_equal(loop_new(&g->loop, &err), 0);
    loop_defer(g->loop, add_a, g);
    loop_post(g->loop, add_b, g);
    loop_free(g->loop);
    assert_int_equal(g->n, 4);
    loop_free(NULL);
    assert_int_equal(loop_new(&g->loop, &err), 0);
}

static void stop_now(void *ctx)
{
    struct log *g = ctx;

    add(g, 's');
    loop_stop(g->loop);
}

static void the_first_stop_signal_calls_back_and_the_loop_may_start_anew(void **state)
{
    struct log *g = *state;
    struct loop_timer *t = loop_timer_new(g->loop, add_a, g);

    loop_on_stop_signal(g->loop, stop_now, g);
    loop_timer_start(t, 1 << 30); /* something that keeps the loop alive */
    raise(SIGTERM);
    loop_run(g->loop);
    assert_string_equal(g->text, "s");
    loop_timer_free(t);
}

static void signals_alone_keep_no_loop_alive(void **state)
{
    struct log *g = *state;

    loop_on_stop_signal(g->loop, stop_now, g);
    loop_run(g->loop);
    assert_int_equal(g->n, 0);
}

static void the_second_signal_ends_the_process_even_when_the_loop_is_stuck(void **state)
{
    static const int last[] = {SIGTERM, SIGINT};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(last); i++) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            struct log g = {0};
            struct err err;

            if (loop_new(&g.loop, &err))
                _exit(1);
            loop_on_stop_signal(g.loop, add_a, &g);
            raise(SIGINT);
            raise(last[i]); /* the loop has not turned in between */
            _exit(2);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 128 + last[i]);
    }
}

static void one_signal_reaches_every_loop_of_the_process(void **state)
{
    struct log *g = *state, other = {0};
    struct err err;

    assert_int_equal(loop_new(&other.loop, &err), 0);
    loop_on_stop_signal(g->loop, add_a, g);
    loop_on_stop_signal(other.loop, add_b, &other);
    raise(SIGTERM);
    g->want = other.want = 1;
    assert_true(loop_until(g->loop, enough, g, WAIT_MS));
    assert_true(loop_until(other.loop, enough, &other, WAIT_MS));
    loop_free(other.loop);
}

static void a_timer_that_outlives_its_loop_is_a_bug(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        struct loop *l;
        struct err err;

        if (!freopen("/dev/null", "w", stderr) || loop_new(&l, &err))
            _exit(1);
        signal(SIGABRT, SIG_DFL);
        loop_timer_new(l, add_a, NULL);
        loop_free(l);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* the forking ones first: no pool thread is there yet */
        T(the_second_signal_ends_the_process_even_when_the_loop_is_stuck),
        T(a_timer_that_outlives_its_loop_is_a_bug),
        T(loop_run_ends_when_nothing_is_left),
        T(timers_fire_in_order_of_their_time),
        T(a_timer_may_be_freed_in_its_own_callback),
        T(a_stopped_timer_does_not_fire),
        T(a_watch_runs_until_its_descriptor_is_read_empty),
        T(deferred_calls_run_after_the_callback_in_order),
        T(a_deferred_call_may_defer_itself_once_a_turn),
        T(posts_of_other_threads_run_on_the_loop_in_order),
        T(an_unlimited_turn_waits_for_a_post),
        T(a_turn_ends_with_the_first_callback_and_not_with_its_time),
        T(until_gives_up_after_its_time),
        T(work_runs_on_the_pool_and_ends_on_the_loop),
        T(freeing_a_loop_waits_for_its_work_and_runs_what_was_deferred),
        T(the_first_stop_signal_calls_back_and_the_loop_may_start_anew),
        T(signals_alone_keep_no_loop_alive),
        T(one_signal_reaches_every_loop_of_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
