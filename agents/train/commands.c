#include "agents/train/commands.h"

#include "common/fsx.h"
#include "common/pipeline.h"

enum {
    MAX_WORDS = 64,
    MAX_COMMANDS = 256,
    FILE_MAX_BYTES = 256 << 10,
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct string_list split(struct arena *arena, const char *text)
{
    const char **words = arena_alloc(arena, MAX_WORDS * sizeof(*words));
    size_t n = 0;

    for (;;) {
        const char *from;

        while (is_blank(*text))
            text++;
        if (!*text || n == MAX_WORDS)
            return (struct string_list){words, n};
        from = text;
        while (*text && !is_blank(*text))
            text++;
        words[n++] = arena_strndup(arena, from, (size_t)(text - from));
    }
}

int commands_add(struct commands *c, const char *text, struct err *err)
{
    const char *equals = strchr(text, '=');
    char *name = arena_strndup(&c->arena, text, equals ? (size_t)(equals - text) : 0);
    struct string_list words = equals ? split(&c->arena, equals + 1) : (struct string_list){0};

    if (!pipeline_name_is_valid(name) || words.n == 0)
        return err_inval(
            err,
            "trainer '%.100s': say NAME=/path/to/command ARGUMENT..., the name of a-z 0-9 . _ -",
            text);
    if (strcmp(name, "xgboost") == 0 || commands_find(c, name))
        return err_inval(err, "trainer '%s' is there already", name);
    if (words.items[0][0] != '/')
        return err_inval(err, "trainer '%s': '%s' must be a path from the root", name,
                         words.items[0]);
    if (c->n == MAX_COMMANDS)
        return err_inval(err, "more than %d trainers", MAX_COMMANDS);
    if (!c->items)
        c->items = arena_alloc(&c->arena, MAX_COMMANDS * sizeof(*c->items));
    c->items[c->n++] = (struct named_command){name, words};
    return 0;
}

int commands_add_file(struct commands *c, const char *path, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    size_t number = 0;

    if (fsx_read_file(path, FILE_MAX_BYTES, &text, err))
        return -1;
    for (char *line = text.data, *next; line && *line; line = next) {
        char *end = strchr(line, '\n');

        number++;
        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        while (is_blank(*line))
            line++;
        if (*line && *line != '#' && commands_add(c, line, err))
            return err_wrap(err, "%s:%zu", path, number);
    }
    return 0;
}

const struct string_list *commands_find(const struct commands *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->items[i].name, name) == 0)
            return &c->items[i].words;
    return NULL;
}

void commands_names(const struct commands *c, struct buf *out)
{
    buf_add_str(out, "xgboost");
    for (size_t i = 0; i < c->n; i++)
        buf_addf(out, ", %s", c->items[i].name);
}

void commands_fini(struct commands *c)
{
    arena_fini(&c->arena);
    *c = (struct commands){0};
}
