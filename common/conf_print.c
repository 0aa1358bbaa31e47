/* What conf prints: --help, --print-config, --docs, --version, all from the option tables. */
#include "common/conf_internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#ifndef RELEARN_VERSION
#define RELEARN_VERSION "unknown"
#endif

enum { HELP_COLUMN = 30, HELP_WIDTH = 100 };

static const char *const type_names[CONF_TYPE_COUNT] = {
    [CONF_STR] = "text",          [CONF_INT] = "integer", [CONF_BOOL] = "flag",
    [CONF_DURATION] = "duration", [CONF_SIZE] = "size",   [CONF_DOUBLE] = "number",
};

/* In the largest unit that divides it: 90000 ms is "90s". */
static void add_quantity(struct buf *out, enum conf_type type, double v)
{
    static const struct {
        double factor;
        const char *name;
    } times[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}},
      sizes[] = {{0x1p40, "TiB"}, {0x1p30, "GiB"}, {0x1p20, "MiB"}, {0x1p10, "KiB"}, {1, "B"}};
    bool is_time = type == CONF_DURATION;
    char number[32];

    for (size_t i = 0; i < ARRAY_LEN(times) && (is_time || type == CONF_SIZE); i++) {
        double count = v / (is_time ? times[i].factor : sizes[i].factor);

        if (count >= 1 && count == (double)(int64_t)count) {
            buf_addf(out, "%lld%s", (long long)count, is_time ? times[i].name : sizes[i].name);
            return;
        }
    }
    double_to_str(v, number);
    buf_add_str(out, number);
}

void conf__range(const struct conf_option *o, struct buf *out)
{
    if (!conf__has_range(o))
        return;
    if (o->max < o->min)
        buf_add_str(out, "at least ");
    add_quantity(out, o->type, o->min);
    if (o->max >= o->min) {
        buf_add_str(out, " to ");
        add_quantity(out, o->type, o->max);
    }
}

static const char *meta_of(const struct conf_option *o)
{
    static const char *const metas[CONF_TYPE_COUNT] = {
        [CONF_STR] = "TEXT",      [CONF_INT] = "N",     [CONF_BOOL] = "",
        [CONF_DURATION] = "TIME", [CONF_SIZE] = "SIZE", [CONF_DOUBLE] = "NUMBER",
    };

    return o->meta && o->type != CONF_BOOL ? o->meta : metas[o->type];
}

/* Words of `text` from HELP_COLUMN on, broken before HELP_WIDTH. */
static void add_wrapped(struct buf *out, const char *text)
{
    size_t column = HELP_COLUMN;

    for (const char *separator = ""; *text; separator = " ") {
        size_t n = strcspn(text, " ");

        if (column + strlen(separator) + n > HELP_WIDTH) {
            buf_addf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else {
            buf_add_str(out, separator);
            column += strlen(separator);
        }
        buf_add(out, text, n);
        column += n;
        text += n + (text[n] == ' ');
    }
}

static void help_line(struct buf *out, const struct conf_option *o)
{
    CLEANUP(buf_fini) struct buf left = {0}, right = {0};
    const char *meta = meta_of(o);

    buf_add_str(&left, o->letter ? "  -" : "    ");
    if (o->letter)
        buf_addf(&left, "%c%s", o->letter, o->name ? ", " : "");
    if (o->name)
        buf_addf(&left, "%s--%s", o->letter ? "" : "  ", o->name);
    buf_addf(&left, "%s%s", *meta ? " " : "", meta);
    buf_add_str(&right, o->help);
    if (conf__has_range(o)) {
        buf_add_str(&right, " (");
        conf__range(o, &right);
        buf_add_char(&right, ')');
    }
    if (o->fallback && *o->fallback)
        buf_addf(&right, " [%s]", o->fallback);
    buf_addf(out, "%-*s", HELP_COLUMN, left.data);
    if (left.len >= HELP_COLUMN)
        buf_addf(out, "\n%*s", HELP_COLUMN, "");
    add_wrapped(out, right.data);
    buf_add_char(out, '\n');
}

void conf_print_help(const struct conf_option *const *tables, const char *program,
                     const char *purpose, const char *example, struct buf *out)
{
    static const struct conf_option property = {
        .letter = 'X',
        .meta = "NAME=VALUE",
        .help = "a property of librdkafka; may repeat (RELEARN_X: NAME=VALUE;NAME=VALUE)",
    };

    buf_addf(out, "%s: %s\n\nUsage: %s [options]\n", program, purpose, program);
    if (example)
        buf_addf(out, "\nExample:\n  %s\n", example);
    buf_add_str(out, "\nOptions [default]:\n");
    for (; *tables; tables++) {
        for (const struct conf_option *o = *tables; o->name; o++)
            help_line(out, o);
    }
    help_line(out, &property);
    for (const struct conf_option *o = conf__builtin; o->name; o++)
        help_line(out, o);
    buf_add_str(
        out, "\nEach option is an environment variable too: --some-name is RELEARN_SOME_NAME.\n");
}

static void print_config(const struct conf *c, struct buf *out)
{
    for (size_t i = 0; i < c->n_values; i++) {
        const struct conf_value *v = &c->values[i];
        char env[CONF_ENV_MAX_CHARS];

        if (conf__is_builtin(v->option))
            continue;
        conf__env_name(v->option->name, env);
        buf_addf(out, "%s=%s  # %s\n", v->option->name,
                 !v->text                           ? ""
                 : conf__is_secret(v->option->name) ? "***"
                                                    : v->text,
                 v->source == CONF_FROM_COMMAND_LINE  ? "command line"
                 : v->source == CONF_FROM_ENVIRONMENT ? env
                 : v->text                            ? "default"
                                                      : "not set");
    }
    for (size_t i = 0; i < c->n_x; i++) {
        CLEANUP_FREE char *name = xstrndup(c->x[i], strcspn(c->x[i], "="));

        buf_addf(out, "-X %s=%s\n", name,
                 conf__is_secret(name) ? "***" : c->x[i] + strlen(name) + 1);
    }
}

static void add_cell(struct buf *out, const char *text)
{
    for (; text && *text; text++) {
        if (*text == '|')
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
    buf_add_str(out, " | ");
}

static void print_docs(const struct conf *c, struct buf *out)
{
    buf_add_str(out, "| option | variable | type | default | allowed | meaning |\n"
                     "| --- | --- | --- | --- | --- | --- |\n");
    for (const struct conf_option *const *t = c->tables; *t; t++) {
        for (const struct conf_option *o = *t; o->name; o++) {
            CLEANUP(buf_fini) struct buf name = {0}, range = {0};
            char env[CONF_ENV_MAX_CHARS];

            buf_addf(&name, "`--%s`", o->name);
            if (o->letter)
                buf_addf(&name, ", `-%c`", o->letter);
            conf__env_name(o->name, env);
            conf__range(o, &range);
            buf_add_str(out, "| ");
            add_cell(out, name.data);
            buf_addf(out, "`%s` | ", env);
            add_cell(out, type_names[o->type]);
            add_cell(out, o->fallback);
            add_cell(out, range.data);
            add_cell(out, o->help);
            out->data[--out->len] = '\0'; /* no blank at the end of a line */
            buf_add_char(out, '\n');
        }
    }
}

bool conf_print_if_asked(const struct conf *c, const char *program, const char *purpose,
                         const char *example, struct buf *out)
{
    if (conf_bool(c, "help"))
        conf_print_help((const struct conf_option *const *)c->tables, program, purpose, example,
                        out);
    else if (conf_bool(c, "version"))
        buf_addf(out, "%s %s\n", program, RELEARN_VERSION);
    else if (conf_bool(c, "docs"))
        print_docs(c, out);
    else if (conf_bool(c, "print-config"))
        print_config(c, out);
    else
        return false;
    return true;
}
