/* What conf.c (parsing, values) and conf_print.c (help, tables) share. */
#ifndef COMMON_CONF_INTERNAL_H
#define COMMON_CONF_INTERNAL_H

#include "common/conf.h"

enum conf_source { CONF_FROM_DEFAULT = 0, CONF_FROM_ENVIRONMENT, CONF_FROM_COMMAND_LINE };

struct conf_value {
    const struct conf_option *option;
    enum conf_source source;
    char *text; /* NULL: unset */
    int64_t i64;
    double number;
};

struct conf {
    const struct conf_option **tables; /* a copy of the list, NULL at its end */
    struct conf_value *values;         /* in the order of the tables, the built-in ones last */
    size_t n_values;
    char **args, **x;
    size_t n_args, args_cap, n_x, x_cap;
};

extern const struct conf_option conf__builtin[];
bool conf__is_builtin(const struct conf_option *o); /* of the command line alone: no variable */
enum { CONF_ENV_MAX_CHARS = 96 };

/* "RELEARN_ARTIFACT_STORE" of "artifact-store". */
void conf__env_name(const char *name, char out[CONF_ENV_MAX_CHARS]);
bool conf__is_secret(const char *name);
bool conf__has_range(const struct conf_option *o);
/* "1 to 65535", "at least 1s"; empty when any value goes. */
void conf__range(const struct conf_option *o, struct buf *out);

#endif
