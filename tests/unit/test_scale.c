/* "train=2,serve=3": how many instances of which agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agents/relearn/scale.h"

static void agents_that_are_not_named_stay_as_they_are(void **state)
{
    struct scale s;
    struct err err = {0};
    (void)state;
    scale_init(&s);
    assert_int_equal(scale_parse(&s, "train=2,serve=32", &err), 0);
    assert_int_equal(s.n[scale_index("train")], 2);
    assert_int_equal(s.n[scale_index("serve")], 32);
    assert_int_equal(s.n[scale_index("gate")], 1);
    assert_int_equal(scale_parse(&s, "train=1", &err), 0);
    assert_int_equal(s.n[scale_index("serve")], 32);
    assert_int_equal(scale_parse(&s, NULL, &err), 0);
    assert_int_equal(scale_parse(&s, "", &err), 0);
    assert_int_equal(scale_index("broker"), -1); /* there is one bus */
}

static void what_is_written_is_read_again(void **state)
{
    struct scale s, again;
    struct err err = {0};
    CLEANUP(buf_fini) struct buf text = {0};
    (void)state;
    scale_init(&s);
    scale_write(&s, &text);
    assert_int_equal(text.len, 0);
    assert_int_equal(scale_parse(&s, "serve=3,ingest=2", &err), 0);
    scale_write(&s, &text);
    assert_string_equal(text.data, "ingest=2,serve=3");
    scale_init(&again);
    assert_int_equal(scale_parse(&again, text.data, &err), 0);
    assert_memory_equal(&again, &s, sizeof(s));
}

static void nonsense_is_refused_and_changes_nothing(void **state)
{
    static const struct {
        const char *text, *part;
    } BAD[] = {
        {"train", "'train': give AGENT=N"},
        {"train=", "train=: give 1 to 32"},
        {"train=0", "give 1 to 32"},
        {"train=33", "give 1 to 32"},
        {"train=2x", "give 1 to 32"},
        {"train=2,trian=2", "there is no agent 'trian'"},
        {"broker=2", "there is no agent 'broker'"},
        {"train=2,,gate=2", "'': give AGENT=N"},
        {" train=2", "there is no agent ' train'"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct scale s, before;
        struct err err = {0};
        scale_init(&s);
        before = s;
        assert_int_equal(scale_parse(&s, BAD[i].text, &err), -1);
        assert_memory_equal(&s, &before, sizeof(s));
        if (!strstr(err.msg, BAD[i].part))
            fail_msg("%s: '%s' says nothing of '%s'", BAD[i].text, err.msg, BAD[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agents_that_are_not_named_stay_as_they_are),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(nonsense_is_refused_and_changes_nothing),
    };
    return cmocka_run_group_tests_name("scale", tests, NULL, NULL);
}
