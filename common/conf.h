/* Options of a program from one table: command line `--name value` / `--name=value`, environment
 * RELEARN_NAME (upper case, - becomes _), default.  --help, --print-config and --docs are printed
 * from the same table.  Thread: main, at start.
 *
 * Built in: --help (-h), --version, --print-config, --docs, -X.  The environment has RELEARN_X for
 * -X, "name=value;name=value".  An empty variable is an unset one.  Values of options whose names
 * end in token, password or secret are never printed.  `--` ends the options; "-" and negative
 * numbers are positional. */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include "common/buf.h"
#include "common/err.h"

enum conf_type {
    CONF_STR = 0,
    CONF_INT,
    CONF_BOOL,
    CONF_DURATION,
    CONF_SIZE,
    CONF_DOUBLE,
    CONF_TYPE_COUNT
};

struct conf_option {
    const char *name; /* "artifact-store"; the environment variable follows from it */
    enum conf_type type;
    const char *fallback; /* default as text; NULL: no value */
    const char *meta;     /* what stands after the name in --help: "URL" */
    const char *help;     /* one sentence */
    double min, max; /* numbers and durations (ms), sizes (bytes); both 0: any; max < min: no max */
    char letter;     /* short form, 0 for none */
};

struct conf; /* values; opaque */

/* `tables` is a NULL-terminated list of tables, each ending with a {0} row, whose rows stay.  Names
 * and letters are unique over all of them (BUG otherwise).  argv[0] is passed over.  Positional
 * arguments are kept in order.  `-X name=value` may repeat (librdkafka properties).
 * Errors: ERR_INVAL naming the option, the value, what is allowed, a close match if misspelt. */
int conf_parse(const struct conf_option *const *tables, int argc, char **argv, struct conf **ret,
               struct err *err) WARN_UNUSED;
void conf_free(struct conf *c);
/* The value of an option; BUG when no table has it.  Unset: NULL, 0, NaN, false. */
const char *conf_str(const struct conf *c, const char *name);
int64_t conf_int(const struct conf *c, const char *name); /* int, duration in ms, size in bytes */
double conf_double(const struct conf *c, const char *name);
bool conf_bool(const struct conf *c, const char *name);
bool conf_is_set(const struct conf *c, const char *name); /* by command line or environment */
size_t conf_args(const struct conf *c, const char *const **ret); /* positionals */
size_t conf_x(const struct conf *c, const char *const **ret);    /* "name=value" of -X, in order */
/* True when --help, --version, --print-config or --docs was given: it is printed to out. */
bool conf_print_if_asked(const struct conf *c, const char *program, const char *purpose,
                         const char *example, struct buf *out);
void conf_print_help(const struct conf_option *const *tables, const char *program,
                     const char *purpose, const char *example, struct buf *out);

#endif
