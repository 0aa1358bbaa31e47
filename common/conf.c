#include "common/conf_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

enum {
    NAME_MAX_CHARS = 63, /* of an option: what is longer cannot be a misspelt one */
};

const struct conf_option conf__builtin[] = {
    {.name = "help", .type = CONF_BOOL, .help = "print this and exit", .letter = 'h'},
    {.name = "version", .type = CONF_BOOL, .help = "print the version and exit"},
    {.name = "print-config",
     .type = CONF_BOOL,
     .help = "print every option's value and where it comes from, and exit"},
    {.name = "docs", .type = CONF_BOOL, .help = "print the options as a Markdown table and exit"},
    {0},
};

bool conf__is_builtin(const struct conf_option *o)
{
    return o >= conf__builtin && o < conf__builtin + ARRAY_LEN(conf__builtin);
}

void conf__env_name(const char *name, char out[CONF_ENV_MAX_CHARS])
{
    size_t n = sizeof("RELEARN_") - 1;

    memcpy(out, "RELEARN_", n);
    for (; *name && n < CONF_ENV_MAX_CHARS - 1; name++)
        out[n++] = *name == '-' || *name == '.' ? '_' : (char)toupper((unsigned char)*name);
    out[n] = '\0';
}

bool conf__is_secret(const char *name)
{
    return str_has_suffix(name, "token") || str_has_suffix(name, "password") ||
           str_has_suffix(name, "secret");
}

/* --- finding ------------------------------------------------------------------------------------
 */

static struct conf_value *find_name(const struct conf *c, const char *name, size_t n)
{
    for (size_t i = 0; i < c->n_values; i++) {
        const char *known = c->values[i].option->name;

        if (strncmp(known, name, n) == 0 && known[n] == '\0')
            return &c->values[i];
    }
    return NULL;
}

static struct conf_value *find_letter(const struct conf *c, char letter)
{
    for (size_t i = 0; i < c->n_values; i++) {
        if (c->values[i].option->letter == letter)
            return &c->values[i];
    }
    return NULL;
}

static const struct conf_value *must_find(const struct conf *c, const char *name)
{
    const struct conf_value *v = find_name(c, name, strlen(name));

    BUG_ON(!v); /* the program asks for an option that none of its tables has */
    return v;
}

/* Levenshtein's distance, one row at a time. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[NAME_MAX_CHARS + 1];

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t cost = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < cost)
                cost = row[j] + 1;
            if (row[j - 1] + 1 < cost)
                cost = row[j - 1] + 1;
            row[j] = cost;
        }
    }
    return row[b_len];
}

static const char *closest(const struct conf *c, const char *name, size_t n)
{
    const char *best = NULL;
    size_t best_distance = n / 3 + 2; /* more changes than that is another word */

    if (n > NAME_MAX_CHARS)
        return NULL;
    for (size_t i = 0; i < c->n_values; i++) {
        const char *known = c->values[i].option->name;
        size_t d = distance(name, n, known, strlen(known));

        if (d < best_distance) {
            best_distance = d;
            best = known;
        }
    }
    return best;
}

static int unknown_option(const struct conf *c, const char *name, size_t n, struct err *err)
{
    const char *close = closest(c, name, n);

    if (close)
        return err_inval(err, "unknown option --%.*s; did you mean --%s?", (int)n, name, close);
    return err_inval(err, "unknown option --%.*s; --help lists them", (int)n, name);
}

/* --- values -------------------------------------------------------------------------------------
 */

static int parse_bool(const char *text, int64_t *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no",
                                                                                "off", "0"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *ret = strcmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return -1;
}

static int parse_text(enum conf_type type, const char *text, int64_t *i64, double *number)
{
    int failed = 0;

    switch (type) {
    case CONF_INT:
        failed = str_to_i64(text, i64);
        break;
    case CONF_BOOL:
        failed = parse_bool(text, i64);
        break;
    case CONF_DURATION:
        failed = str_to_duration_ms(text, i64);
        break;
    case CONF_SIZE:
        failed = str_to_size_bytes(text, i64);
        break;
    case CONF_DOUBLE:
        return str_to_double(text, number);
    case CONF_STR:
    case CONF_TYPE_COUNT:
        return 0;
    }
    if (!failed)
        *number = (double)*i64;
    return failed;
}

bool conf__has_range(const struct conf_option *o)
{
    return o->type != CONF_STR && o->type != CONF_BOOL && (o->min != 0 || o->max != 0);
}

/* A max below min is none: {.min = 1} reads as "at least 1". */
static bool in_range(const struct conf_option *o, double v)
{
    return !conf__has_range(o) || (v >= o->min && (v <= o->max || o->max < o->min));
}

/* `where` is how the user knows the option: "--port", "RELEARN_PORT". */
static int set_value(struct conf_value *v, enum conf_source source, const char *where,
                     const char *text, struct err *err)
{
    static const char *const expected[CONF_TYPE_COUNT] = {
        [CONF_STR] = "text",
        [CONF_INT] = "a whole number",
        [CONF_BOOL] = "true or false",
        [CONF_DURATION] = "a duration such as 250ms, 30s, 10m, 2h or 1d",
        [CONF_SIZE] = "a size such as 64MiB, 2GiB or 10k",
        [CONF_DOUBLE] = "a number",
    };
    const char *shown = conf__is_secret(v->option->name) ? "***" : text;
    CLEANUP(buf_fini) struct buf range = {0};
    int64_t i64 = 0;
    double number = NAN;

    if (parse_text(v->option->type, text, &i64, &number))
        return err_inval(err, "%s: \"%s\" is not %s", where, shown, expected[v->option->type]);
    if (!in_range(v->option, number)) {
        conf__range(v->option, &range);
        return err_inval(err, "%s: %s is out of range; allowed is %s", where, shown, range.data);
    }
    free(v->text);
    v->text = xstrdup(text);
    v->i64 = i64;
    v->number = number;
    v->source = source;
    return 0;
}

/* --- the command line ---------------------------------------------------------------------------
 */

static void push(char ***list, size_t *n, size_t *cap, const char *text)
{
    *list = xgrow(*list, cap, *n + 1, sizeof(**list));
    (*list)[(*n)++] = xstrdup(text);
}

static int push_x(struct conf *c, const char *where, const char *text, struct err *err)
{
    const char *equals = strchr(text, '=');

    if (!equals || equals == text)
        return err_inval(err, "%s: \"%s\" is not name=value", where, text);
    push(&c->x, &c->n_x, &c->x_cap, text);
    return 0;
}

struct words {
    char **argv;
    int argc, at;
};

static const char *next_word(struct words *w)
{
    return w->at + 1 < w->argc ? w->argv[++w->at] : NULL;
}

static int need_value(const struct conf_option *o, const char *where, struct err *err)
{
    return err_inval(err, "%s needs a value%s%s", where, o->meta ? ": " : "",
                     o->meta ? o->meta : "");
}

/* "--name value", "--name=value", "--flag", "--no-flag"; word begins behind the dashes. */
static int parse_long(struct conf *c, struct words *w, const char *word, struct err *err)
{
    size_t n = strcspn(word, "=");
    const char *text = word[n] == '=' ? word + n + 1 : NULL;
    struct conf_value *v = find_name(c, word, n);
    CLEANUP_FREE char *where = NULL;

    if (!v && !text && str_has_prefix(word, "no-")) {
        v = find_name(c, word + 3, n - 3);
        if (v && v->option->type == CONF_BOOL)
            text = "false";
        else
            v = NULL;
    }
    if (!v)
        return unknown_option(c, word, n, err);
    where = xasprintf("--%s", v->option->name);
    if (!text && v->option->type == CONF_BOOL)
        text = "true";
    if (!text)
        text = next_word(w);
    if (text && text[0] == '-' && text[1] == '-' && word[n] != '=')
        return err_inval(
            err, "%s needs a value, and the next word is %s; write %s=%s if that is the value",
            where, text, where, text);
    return text ? set_value(v, CONF_FROM_COMMAND_LINE, where, text, err)
                : need_value(v->option, where, err);
}

/* "-p 80", "-p80", "-ab" of two flags; word begins behind the dash. */
static int parse_letters(struct conf *c, struct words *w, const char *word, struct err *err)
{
    for (; *word; word++) {
        struct conf_value *v = find_letter(c, *word);
        char where[] = {'-', *word, '\0'};
        const char *text;

        if (*word == 'X' || (v && v->option->type != CONF_BOOL)) {
            text = word[1] ? word + 1 : next_word(w);
            if (*word == 'X')
                return text ? push_x(c, where, text, err)
                            : err_inval(err, "-X needs a value: NAME=VALUE");
            return text ? set_value(v, CONF_FROM_COMMAND_LINE, where, text, err)
                        : need_value(v->option, where, err);
        }
        if (!v)
            return err_inval(err, "unknown option -%c; --help lists them", *word);
        if (set_value(v, CONF_FROM_COMMAND_LINE, where, "true", err))
            return -1;
    }
    return 0;
}

/* "-" is a name for standard input, "-0.5" a number, as long as no option has that letter. */
static bool is_positional(const struct conf *c, const char *word)
{
    return word[0] != '-' || word[1] == '\0' ||
           ((isdigit((unsigned char)word[1]) || word[1] == '.') && !find_letter(c, word[1]));
}

static int parse_command_line(struct conf *c, int argc, char **argv, struct err *err)
{
    struct words w = {.argv = argv, .argc = argc};
    bool ended = false;
    const char *word;

    while ((word = next_word(&w))) {
        int failed = 0;

        if (ended || is_positional(c, word))
            push(&c->args, &c->n_args, &c->args_cap, word);
        else if (strcmp(word, "--") == 0)
            ended = true;
        else if (word[1] == '-')
            failed = parse_long(c, &w, word + 2, err);
        else
            failed = parse_letters(c, &w, word + 1, err);
        if (failed)
            return -1;
    }
    return 0;
}

/* --- defaults, environment ----------------------------------------------------------------------
 */

static void add_table(struct conf *c, const struct conf_option *table, size_t *cap)
{
    struct err err;

    for (const struct conf_option *o = table; o->name; o++) {
        struct conf_value *v;

        BUG_ON(strlen(o->name) > NAME_MAX_CHARS || find_name(c, o->name, strlen(o->name)));
        BUG_ON(o->letter && (o->letter == 'X' || find_letter(c, o->letter)));
        c->values = xgrow(c->values, cap, c->n_values + 1, sizeof(*c->values));
        v = &c->values[c->n_values++];
        *v = (struct conf_value){.option = o, .number = NAN};
        if (o->fallback)
            BUG_ON(set_value(v, CONF_FROM_DEFAULT, o->name, o->fallback, &err));
    }
}

/* RELEARN_X="a=b;c=d": what a container, which has no command line, gives for -X. */
static int read_x_environment(struct conf *c, struct err *err)
{
    const char *text = getenv("RELEARN_X");
    size_t n;

    for (; text && *text; text += n + (text[n] == ';')) {
        CLEANUP_FREE char *part = NULL;

        n = strcspn(text, ";");
        part = xstrndup(text, n);
        if (n && push_x(c, "RELEARN_X", part, err))
            return -1;
    }
    return 0;
}

/* What the command line has set stays; an empty variable is an unset one. */
static int read_environment(struct conf *c, struct err *err)
{
    for (size_t i = 0; i < c->n_values; i++) {
        struct conf_value *v = &c->values[i];
        char name[CONF_ENV_MAX_CHARS];
        const char *text;

        conf__env_name(v->option->name, name);
        text = getenv(name);
        if (v->source != CONF_FROM_DEFAULT || conf__is_builtin(v->option) || !text || !*text)
            continue;
        if (set_value(v, CONF_FROM_ENVIRONMENT, name, text, err))
            return -1;
    }
    return 0;
}

int conf_parse(const struct conf_option *const *tables, int argc, char **argv, struct conf **ret,
               struct err *err)
{
    struct conf *c = xcalloc(1, sizeof(*c));
    size_t cap = 0, n_tables = 0;

    for (; tables[n_tables]; n_tables++)
        add_table(c, tables[n_tables], &cap);
    c->tables = xmemdup(tables, (n_tables + 1) * sizeof(*tables));
    add_table(c, conf__builtin, &cap);
    if (read_x_environment(c, err) || parse_command_line(c, argc, argv, err))
        goto fail;
    /* a variable with a bad value must not keep anybody from reading how to set it */
    if (!conf_bool(c, "help") && !conf_bool(c, "docs") && !conf_bool(c, "version") &&
        read_environment(c, err))
        goto fail;
    *ret = c;
    return 0;
fail:
    conf_free(c);
    return -1;
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_values; i++)
        free(c->values[i].text);
    for (size_t i = 0; i < c->n_args; i++)
        free(c->args[i]);
    for (size_t i = 0; i < c->n_x; i++)
        free(c->x[i]);
    free(c->tables);
    free(c->values);
    free(c->args);
    free(c->x);
    free(c);
}

const char *conf_str(const struct conf *c, const char *name)
{
    return must_find(c, name)->text;
}

int64_t conf_int(const struct conf *c, const char *name)
{
    return must_find(c, name)->i64;
}

double conf_double(const struct conf *c, const char *name)
{
    return must_find(c, name)->number;
}

bool conf_bool(const struct conf *c, const char *name)
{
    return must_find(c, name)->i64 != 0;
}

bool conf_is_set(const struct conf *c, const char *name)
{
    return must_find(c, name)->source != CONF_FROM_DEFAULT;
}

size_t conf_args(const struct conf *c, const char *const **ret)
{
    *ret = (const char *const *)c->args;
    return c->n_args;
}

size_t conf_x(const struct conf *c, const char *const **ret)
{
    *ret = (const char *const *)c->x;
    return c->n_x;
}
