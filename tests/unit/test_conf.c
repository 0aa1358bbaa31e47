#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf.h"
#include "tests/support/aborts.h"

static const struct conf_option shared[] = {
    {.name = "brokers",
     .fallback = "localhost:9092",
     .meta = "HOSTS",
     .help = "where Kafka is",
     .letter = 'b'},
    {.name = "artifact-store", .meta = "URL", .help = "folder or bucket"},
    {.name = "registry-token", .help = "what the registry asks for"},
    {0},
};
static const struct conf_option own[] = {
    {.name = "port",
     .type = CONF_INT,
     .fallback = "8080",
     .min = 1,
     .max = 65535,
     .help = "port to listen on",
     .letter = 'p'},
    {.name = "verbose", .type = CONF_BOOL, .help = "say more", .letter = 'v'},
    {.name = "color", .type = CONF_BOOL, .fallback = "true", .help = "colours", .letter = 'c'},
    {.name = "interval",
     .type = CONF_DURATION,
     .fallback = "30s",
     .min = 1000,
     .max = 3600000,
     .help = "time between"},
    {.name = "memory",
     .type = CONF_SIZE,
     .fallback = "64MiB",
     .min = 1048576,
     .help = "at most this much"},
    {.name = "ratio", .type = CONF_DOUBLE, .fallback = "0.5", .max = 1, .help = "share a|b"},
    {.name = "offset", .type = CONF_INT, .help = "any number"},
    {0},
};
static const struct conf_option *const tables[] = {shared, own, NULL};

enum { WORDS_MAX = 12 };

/* Parses the words, NULL-terminated; "program" is put in front. */
static int parse(const char *const *words, struct conf **ret, struct err *err)
{
    char *argv[WORDS_MAX + 1] = {(char *)(uintptr_t) "program"};
    int argc = 1;

    for (; *words && argc < WORDS_MAX; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    return conf_parse(tables, argc, argv, ret, err);
}

#define PARSE(ret, err, ...) parse((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL}, ret, err)

static struct conf *must_parse(const char *const *words)
{
    struct conf *c = NULL;
    struct err err = {0};

    if (parse(words, &c, &err))
        fail_msg("%s", err.msg);
    return c;
}

#define MUST_PARSE(...) must_parse((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void free_conf(struct conf **c)
{
    conf_free(*c);
}
#define CONF CLEANUP(free_conf) struct conf *

static int clear_environment(void **state)
{
    (void)state;
    unsetenv("RELEARN_PORT");
    unsetenv("RELEARN_BROKERS");
    unsetenv("RELEARN_ARTIFACT_STORE");
    unsetenv("RELEARN_VERBOSE");
    unsetenv("RELEARN_COLOR");
    unsetenv("RELEARN_HELP");
    unsetenv("RELEARN_X");
    return 0;
}

static void defaults_hold_when_nothing_is_said(void **state)
{
    CONF c = MUST_PARSE(NULL);
    const char *const *list;

    (void)state;
    assert_string_equal(conf_str(c, "brokers"), "localhost:9092");
    assert_null(conf_str(c, "artifact-store"));
    assert_int_equal(conf_int(c, "port"), 8080);
    assert_false(conf_bool(c, "verbose"));
    assert_true(conf_bool(c, "color"));
    assert_int_equal(conf_int(c, "interval"), 30000);
    assert_int_equal(conf_int(c, "memory"), 67108864);
    assert_true(conf_double(c, "ratio") == 0.5);
    assert_int_equal(conf_int(c, "offset"), 0);
    assert_true(isnan(conf_double(c, "offset")));
    assert_false(conf_is_set(c, "port"));
    assert_int_equal(conf_args(c, &list), 0);
    assert_int_equal(conf_x(c, &list), 0);
}

static void values_come_in_every_form(void **state)
{
    CONF c = MUST_PARSE("--port", "1", "--artifact-store=file:///a=b", "-b", "k1:9092", "--offset",
                        "-5", "-vc");
    CONF d = MUST_PARSE("-p42", "--no-color", "--verbose=yes", "--ratio=1",
                        "--artifact-store=", "--interval", "1m30s");

    (void)state;
    assert_int_equal(conf_int(c, "port"), 1);
    assert_string_equal(conf_str(c, "artifact-store"), "file:///a=b");
    assert_string_equal(conf_str(c, "brokers"), "k1:9092");
    assert_int_equal(conf_int(c, "offset"), -5);
    assert_true(conf_bool(c, "verbose"));
    assert_true(conf_bool(c, "color"));
    assert_true(conf_is_set(c, "port"));
    assert_int_equal(conf_int(d, "port"), 42);
    assert_false(conf_bool(d, "color"));
    assert_true(conf_bool(d, "verbose"));
    assert_true(conf_double(d, "ratio") == 1);
    assert_string_equal(conf_str(d, "artifact-store"), "");
    assert_int_equal(conf_int(d, "interval"), 90000);
}

static void last_one_wins(void **state)
{
    CONF c = MUST_PARSE("--port", "1", "--port=2", "-p", "3", "--verbose", "--no-verbose");

    (void)state;
    assert_int_equal(conf_int(c, "port"), 3);
    assert_false(conf_bool(c, "verbose"));
}

static void positionals_keep_their_order(void **state)
{
    CONF c = MUST_PARSE("predict", "--port", "1", "-", "-0.5", "-.5", "--", "--port", "-v", "--");
    static const char *const expected[] = {"predict", "-", "-0.5", "-.5", "--port", "-v", "--"};
    const char *const *args;

    (void)state;
    assert_int_equal(conf_args(c, &args), ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_string_equal(args[i], expected[i]);
    assert_int_equal(conf_int(c, "port"), 1);
    assert_false(conf_bool(c, "verbose"));
}

static void properties_repeat_in_order(void **state)
{
    const char *const *x;

    (void)state;
    setenv("RELEARN_X", "linger.ms=5;acks=all;", 1);
    CONF c = MUST_PARSE("-X", "linger.ms=0", "-Xdebug=broker,topic=x");
    assert_int_equal(conf_x(c, &x), 4);
    assert_string_equal(x[0], "linger.ms=5"); /* those of the command line come last and win */
    assert_string_equal(x[1], "acks=all");
    assert_string_equal(x[2], "linger.ms=0");
    assert_string_equal(x[3], "debug=broker,topic=x");
}

static void environment_is_between_default_and_command_line(void **state)
{
    (void)state;
    setenv("RELEARN_PORT", "7", 1);
    setenv("RELEARN_ARTIFACT_STORE", "s3://bucket", 1);
    setenv("RELEARN_COLOR", "off", 1);
    setenv("RELEARN_BROKERS", "", 1); /* empty is unset */
    setenv("RELEARN_HELP", "true", 1);
    CONF c = MUST_PARSE(NULL);
    CONF d = MUST_PARSE("--port", "8");
    assert_int_equal(conf_int(c, "port"), 7);
    assert_true(conf_is_set(c, "port"));
    assert_string_equal(conf_str(c, "artifact-store"), "s3://bucket");
    assert_false(conf_bool(c, "color"));
    assert_string_equal(conf_str(c, "brokers"), "localhost:9092");
    assert_false(conf_is_set(c, "brokers"));
    assert_false(conf_bool(c, "help")); /* only the command line asks for help */
    assert_int_equal(conf_int(d, "port"), 8);
}

static void errors_say_what_is_wrong_and_what_is_allowed(void **state)
{
    static const struct {
        const char *words[4];
        const char *message;
    } rows[] = {
        {{"--port", "0"}, "--port: 0 is out of range; allowed is 1 to 65535"},
        {{"--port=65536"}, "--port: 65536 is out of range; allowed is 1 to 65535"},
        {{"-p", "x"}, "-p: \"x\" is not a whole number"},
        {{"--port=8080 "}, "--port: \"8080 \" is not a whole number"},
        {{"--interval=100ms"}, "--interval: 100ms is out of range; allowed is 1s to 1h"},
        {{"--interval", "30"},
         "--interval: \"30\" is not a duration such as 250ms, 30s, 10m, 2h or 1d"},
        {{"--memory", "1k"}, "--memory: 1k is out of range; allowed is at least 1MiB"},
        {{"--memory=much"}, "--memory: \"much\" is not a size such as 64MiB, 2GiB or 10k"},
        {{"--ratio=1.5"}, "--ratio: 1.5 is out of range; allowed is 0 to 1"},
        {{"--ratio=nan"}, "--ratio: \"nan\" is not a number"},
        {{"--verbose=maybe"}, "--verbose: \"maybe\" is not true or false"},
        {{"--brokers"}, "--brokers needs a value: HOSTS"},
        {{"-b"}, "-b needs a value: HOSTS"},
        {{"--registry-token"}, "--registry-token needs a value"},
        {{"--brokers", "--verbose"},
         "--brokers needs a value, and the next word is --verbose; write --brokers=--verbose if "
         "that is the value"},
        {{"--prot", "1"}, "unknown option --prot; did you mean --port?"},
        {{"--broker=x"}, "unknown option --broker; did you mean --brokers?"},
        {{"--artefact-store", "x"},
         "unknown option --artefact-store; did you mean --artifact-store?"},
        {{"--hepl"}, "unknown option --hepl; did you mean --help?"},
        {{"--completely-different"}, "unknown option --completely-different; --help lists them"},
        {{"--no-port"}, "unknown option --no-port; did you mean --port?"},
        {{"-q"}, "unknown option -q; --help lists them"},
        {{"-vq"}, "unknown option -q; --help lists them"},
        {{"-X"}, "-X needs a value: NAME=VALUE"},
        {{"-X", "linger"}, "-X: \"linger\" is not name=value"},
        {{"-X", "=5"}, "-X: \"=5\" is not name=value"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conf *c = NULL;
        struct err err = {0};

        assert_int_equal(parse(rows[i].words, &c, &err), -1);
        assert_string_equal(err.msg, rows[i].message);
        assert_int_equal(err.code, ERR_INVAL);
        assert_null(c);
    }
}

static void bad_variable_is_named_but_does_not_keep_help_away(void **state)
{
    struct conf *c = NULL;
    struct err err = {0};

    (void)state;
    setenv("RELEARN_PORT", "many", 1);
    assert_int_equal(PARSE(&c, &err, "x"), -1);
    assert_string_equal(err.msg, "RELEARN_PORT: \"many\" is not a whole number");
    CONF d = MUST_PARSE("--help");
    assert_true(conf_bool(d, "help"));
}

static void secrets_are_not_shown_in_errors_or_configuration(void **state)
{
    static const struct conf_option secret[] = {
        {.name = "number-secret", .type = CONF_INT, .help = "x"},
        {0},
    };
    const struct conf_option *const list[] = {secret, NULL};
    char *argv[] = {(char *)(uintptr_t) "p", (char *)(uintptr_t) "--number-secret=abc"};
    CLEANUP(buf_fini) struct buf out = {0};
    struct conf *c = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(conf_parse(list, 2, argv, &c, &err), -1);
    assert_null(strstr(err.msg, "abc"));
    CONF d = MUST_PARSE("--registry-token=hush", "-X", "sasl.password=hush", "--print-config");
    assert_true(conf_print_if_asked(d, "p", "q", NULL, &out));
    assert_null(strstr(out.data, "hush"));
    assert_non_null(strstr(out.data, "registry-token=***  # command line\n"));
    assert_non_null(strstr(out.data, "-X sasl.password=***\n"));
    assert_string_equal(conf_str(d, "registry-token"), "hush");
}

static void configuration_says_where_each_value_comes_from(void **state)
{
    CLEANUP(buf_fini) struct buf out = {0};

    (void)state;
    setenv("RELEARN_PORT", "7", 1);
    CONF c = MUST_PARSE("--print-config", "--interval", "1m", "-X", "linger.ms=0");
    assert_true(conf_print_if_asked(c, "relearn-x", "does x", NULL, &out));
    assert_string_equal(out.data, "brokers=localhost:9092  # default\n"
                                  "artifact-store=  # not set\n"
                                  "registry-token=  # not set\n"
                                  "port=7  # RELEARN_PORT\n"
                                  "verbose=  # not set\n"
                                  "color=true  # default\n"
                                  "interval=1m  # command line\n"
                                  "memory=64MiB  # default\n"
                                  "ratio=0.5  # default\n"
                                  "offset=  # not set\n"
                                  "-X linger.ms=0\n");
}

static void help_names_every_option_within_the_width(void **state)
{
    static const char *const names[] = {
        "--brokers", "--artifact-store", "--registry-token", "--port",  "--verbose",
        "--color",   "--interval",       "--memory",         "--ratio", "--offset",
        "--help",    "--version",        "--print-config",   "--docs",  "-X NAME=VALUE"};
    CONF c = MUST_PARSE("-h");
    CLEANUP(buf_fini) struct buf out = {0};

    (void)state;
    assert_true(conf_print_if_asked(c, "relearn-x", "does x", "relearn-x --port 1", &out));
    assert_true(str_has_prefix(
        out.data,
        "relearn-x: does x\n\nUsage: relearn-x [options]\n\nExample:\n  relearn-x --port 1\n"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!strstr(out.data, names[i]))
            fail_msg("%s is missing", names[i]);
    }
    assert_non_null(
        strstr(out.data, "  -p, --port N                port to listen on (1 to 65535) [8080]\n"));
    assert_non_null(strstr(out.data, "      --artifact-store URL    folder or bucket\n"));
    for (char *line = out.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        assert_true(end - line <= 100);
        assert_true(end == line || end[-1] != ' ');
    }
}

static void long_help_is_wrapped(void **state)
{
    static const struct conf_option wordy[] = {
        {.name = "an-option-with-quite-a-long-name",
         .meta = "SOMETHING",
         .help = "word word word word word word word word word word word word word word word word "
                 "word word"},
        {0},
    };
    const struct conf_option *const list[] = {wordy, NULL};
    CLEANUP(buf_fini) struct buf out = {0};

    (void)state;
    conf_print_help(list, "p", "q", NULL, &out);
    assert_non_null(strstr(out.data, "      --an-option-with-quite-a-long-name SOMETHING\n"
                                     "                              word word word"));
    for (char *line = out.data, *end; (end = strchr(line, '\n')); line = end + 1)
        assert_true(end - line <= 100 && (end == line || end[-1] != ' '));
}

static void docs_are_a_markdown_table_of_the_programs_options(void **state)
{
    CONF c = MUST_PARSE("--docs");
    CLEANUP(buf_fini) struct buf out = {0};

    (void)state;
    assert_true(conf_print_if_asked(c, "p", "q", NULL, &out));
    assert_true(str_has_prefix(
        out.data, "| option | variable | type | default | allowed | meaning |\n| --- |"));
    assert_non_null(strstr(out.data, "\n| `--port`, `-p` | `RELEARN_PORT` | integer | 8080 | 1 to "
                                     "65535 | port to listen on |\n"));
    assert_non_null(
        strstr(out.data, "| `RELEARN_ARTIFACT_STORE` | text |  |  | folder or bucket |\n"));
    assert_non_null(strstr(out.data, "share a\\|b |\n"));
    assert_null(strstr(out.data, "--help"));
}

static void version_is_printed(void **state)
{
    CONF c = MUST_PARSE("--version");
    CLEANUP(buf_fini) struct buf out = {0};

    (void)state;
    assert_true(conf_print_if_asked(c, "relearn-x", "q", NULL, &out));
    assert_string_equal(out.data, "relearn-x " RELEARN_VERSION "\n");
}

static void nothing_is_printed_when_nobody_asks(void **state)
{
    CONF c = MUST_PARSE("--port=1");
    CLEANUP(buf_fini) struct buf out = {0};

    (void)state;
    assert_false(conf_print_if_asked(c, "p", "q", NULL, &out));
    assert_int_equal(out.len, 0);
    conf_free(NULL);
}

static const struct conf_option twice[] = {{.name = "port", .help = "again"}, {0}};
static const struct conf_option letter_twice[] = {{.name = "other", .help = "x", .letter = 'p'},
                                                  {0}};
static const struct conf_option bad_default[] = {
    {.name = "n", .type = CONF_INT, .fallback = "many", .help = "x"}, {0}};

static void parse_bad_tables(void *arg)
{
    char *argv[] = {(char *)(uintptr_t) "p"};
    const struct conf_option *const list[] = {own, arg, NULL};
    struct conf *c = NULL;
    struct err err;

    (void)!conf_parse(list, 1, argv, &c, &err);
}

static void ask_for_unknown(void *arg)
{
    (void)conf_str(arg, "no-such-option");
}

static void broken_tables_and_unknown_names_are_bugs(void **state)
{
    CONF c = MUST_PARSE(NULL);

    (void)state;
    assert_true(aborts(parse_bad_tables, (void *)(uintptr_t)twice));
    assert_true(aborts(parse_bad_tables, (void *)(uintptr_t)letter_twice));
    assert_true(aborts(parse_bad_tables, (void *)(uintptr_t)bad_default));
    assert_true(aborts(ask_for_unknown, c));
}

#define TEST(f) cmocka_unit_test_setup(f, clear_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_hold_when_nothing_is_said),
        TEST(values_come_in_every_form),
        TEST(last_one_wins),
        TEST(positionals_keep_their_order),
        TEST(properties_repeat_in_order),
        TEST(environment_is_between_default_and_command_line),
        TEST(errors_say_what_is_wrong_and_what_is_allowed),
        TEST(bad_variable_is_named_but_does_not_keep_help_away),
        TEST(secrets_are_not_shown_in_errors_or_configuration),
        TEST(configuration_says_where_each_value_comes_from),
        TEST(help_names_every_option_within_the_width),
        TEST(long_help_is_wrapped),
        TEST(docs_are_a_markdown_table_of_the_programs_options),
        TEST(version_is_printed),
        TEST(nothing_is_printed_when_nobody_asks),
        TEST(broken_tables_and_unknown_names_are_bugs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
