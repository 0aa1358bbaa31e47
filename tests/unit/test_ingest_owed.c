/* Which dataset events are owed to a pipeline: versions published at the times below, some of them
 * answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "agents/ingest/owed.h"

enum { MAX = 8 };

struct scene {
    const char *label;
    int64_t times_ms[MAX]; /* 0 ends */
    int64_t declared_ms;
    bool is_segmented;
    const char *answers; /* by event: '.' none, 's' some segment, 'w' whole */
    int complete;        /* index + 1 of the event that is known to be complete; 0: none */
    int next;            /* index; -1: none */
    const char *done;    /* by event: '1' may be committed */
};

static const struct scene SCENES[] = {
    {"nothing published", {0}, 5, false, "", 0, -1, ""},
    {"one, afterwards", {10}, 5, false, ".", 0, 0, "0"},
    {"one, at the same time", {5}, 5, false, ".", 0, 0, "0"},
    {"answered", {10}, 5, false, "w", 0, -1, "1"},
    {"the next one", {10, 20}, 5, false, "w.", 0, 1, "10"},
    {"in their order", {10, 20, 30}, 5, false, "...", 0, 0, "000"},
    {"older ones: the newest", {1, 2, 3}, 5, false, "...", 0, 2, "110"},
    {"the newest older one, then the rest", {1, 2, 10}, 5, false, "...", 0, 1, "100"},
    {"the newest older one is answered", {1, 2, 10}, 5, false, ".w.", 0, 2, "110"},
    {"clocks differ: an old time behind a new one", {10, 2}, 5, false, "w.", 0, 1, "10"},
    {"an answered one says that those before are done", {10, 20, 30}, 5, false, ".w.", 0, 2, "110"},
    {"segmented: one answer may not be all", {10}, 5, true, "s", 0, 0, "0"},
    {"segmented: refused as a whole", {10}, 5, true, "w", 0, -1, "1"},
    {"segmented: known to be complete", {10, 20}, 5, true, "s.", 1, 1, "10"},
    {"segmented: those before the newest answered one are done",
     {10, 20, 30},
     5,
     true,
     "ss.",
     0,
     1,
     "100"},
    {"segmented: complete beyond", {10, 20}, 5, true, "ss", 2, -1, "11"},
};

struct context {
    const struct scene *scene;
    const struct event *const *events;
};

static bool has_answer(void *ctx, const struct event *dataset, bool *ret_is_whole)
{
    const struct context *c = ctx;

    for (size_t i = 0; i < MAX; i++)
        if (c->events[i] == dataset) {
            *ret_is_whole = c->scene->answers[i] == 'w';
            return c->scene->answers[i] != '.';
        }
    return false;
}

static void what_is_owed_follows_from_the_log(void **state)
{
    static const char *const ids[MAX] = {"e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7"};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(SCENES); k++) {
        const struct scene *s = &SCENES[k];
        struct event events[MAX] = {0};
        const struct event *list[MAX] = {NULL};
        struct context ctx = {s, list};
        struct owed_input in = {.datasets = list,
                                .first_declared_unix_ms = s->declared_ms,
                                .is_segmented = s->is_segmented,
                                .has_answer = has_answer,
                                .ctx = &ctx};
        size_t next;

        for (; in.n < MAX && s->times_ms[in.n]; in.n++) {
            events[in.n] =
                (struct event){.id = ids[in.n], .time_unix_us = s->times_ms[in.n] * 1000};
            list[in.n] = &events[in.n];
        }
        in.complete = s->complete ? ids[s->complete - 1] : NULL;
        next = owed_next(&in);
        if (next != (s->next < 0 ? OWED_NONE : (size_t)s->next))
            fail_msg("%s: next is %zd", s->label, (ssize_t)next);
        for (size_t i = 0; i < in.n; i++)
            if (owed_is_done(&in, ids[i]) != (s->done[i] == '1'))
                fail_msg("%s: event %zu", s->label, i);
        assert_true(owed_is_done(&in, "of another dataset"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_owed_follows_from_the_log)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
