/* Where the reader is, and errors that say so: file, line, path, what is allowed, what was probably
 * meant. */
#include <stdarg.h>

#include "common/pipeline_internal.h"

/* ---- where we are ---- */

static size_t path_add(struct reader *rd, const char *separator, const char *part,
                       const char *after)
{
    size_t mark = rd->path_len;

    snprintf(rd->path + mark, sizeof(rd->path) - mark, "%s%s%s", separator, part, after);
    rd->path_len = strlen(rd->path);
    return mark;
}

size_t pipeline__enter(struct reader *rd, const char *key)
{
    return path_add(rd, rd->path_len ? "." : "", key, "");
}

size_t pipeline__enter_index(struct reader *rd, size_t i)
{
    char number[24];

    snprintf(number, sizeof(number), "%zu", i);
    return path_add(rd, "[", number, "]");
}

void pipeline__leave(struct reader *rd, size_t mark)
{
    rd->path_len = mark;
    rd->path[mark] = '\0';
}

/* One step of a path at *at, "rules" or "[1]"; *ret_line the line of the key.  NULL when it is not
 * there. */
static const struct yaml_node *step(const struct yaml_node *n, const char **at, int *ret_line)
{
    char key[64];
    size_t len = strcspn(*at, ".["), i = 0;

    if (**at == '[') {
        i = (size_t)strtoul(*at + 1, NULL, 10);
        *at = strchr(*at, ']') + 1;
        if (n->kind != YAML_SEQUENCE || i >= n->n)
            return NULL;
        *ret_line = n->items[i]->line;
    } else {
        snprintf(key, sizeof(key), "%.*s", (int)len, *at);
        *at += len;
        for (i = 0; n->kind == YAML_MAPPING && i < n->n && strcmp(n->keys[i], key) != 0; i++)
            continue;
        if (n->kind != YAML_MAPPING || i == n->n)
            return NULL;
        *ret_line = n->key_lines[i];
    }
    *at += **at == '.';
    return n->items[i];
}

/* Follows a path as far as it was written; *ret_line is the line of the last key that is there. */
static const struct yaml_node *follow(const struct reader *rd, const char *path, int *ret_line)
{
    const struct yaml_node *n = rd->root;

    *ret_line = n ? n->line : 0;
    while (n && *path)
        n = step(n, &path, ret_line);
    return n;
}

const struct yaml_node *pipeline__given(const struct reader *rd, const char *path)
{
    int line;
    const struct yaml_node *n = follow(rd, path, &line);

    return yaml_is_null(n) ? NULL : n;
}

/* ---- errors ---- */

static int fail_v(struct reader *rd, int line, const char *path, const char *fmt, va_list ap)
    PRINTF(4, 0);
static int fail_v(struct reader *rd, int line, const char *path, const char *fmt, va_list ap)
{
    char text[sizeof(rd->err->msg)];

    vsnprintf(text, sizeof(text), fmt, ap);
    return err_inval(rd->err, "%s:%d: %s%s%s", rd->what, line, path, *path ? ": " : "", text);
}

int pipeline__fail(struct reader *rd, int line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_v(rd, line, rd->path, fmt, ap);
    va_end(ap);
    return -1;
}

int pipeline__fail_at(struct reader *rd, const char *path, const char *fmt, ...)
{
    va_list ap;
    int line;

    follow(rd, path, &line);
    va_start(ap, fmt);
    fail_v(rd, line, path, fmt, ap);
    va_end(ap);
    return -1;
}

/* What a value is, in words. */
void pipeline__node_str(const struct yaml_node *n, char *out, size_t size)
{
    if (n->kind == YAML_MAPPING)
        snprintf(out, size, "a mapping");
    else if (n->kind == YAML_SEQUENCE)
        snprintf(out, size, "a list");
    else if (yaml_is_null(n))
        snprintf(out, size, "nothing");
    else
        snprintf(out, size, "%s'%.64s'", n->quoted ? "the text " : "", n->scalar);
}

int pipeline__wrong(struct reader *rd, const struct yaml_node *n, const char *must)
{
    char is[96];

    pipeline__node_str(n, is, sizeof(is));
    return pipeline__fail(rd, n->line, "must %s, not %s", must, is);
}

/* Edits (insert, delete, change, swap of neighbours) between two short words; more than `cap`
 * counts as cap. */
static size_t edits(const char *a, const char *b, size_t cap)
{
    enum { WORD_MAX = 40 };
    size_t row[3][WORD_MAX + 1] = {{0}}, n = strlen(a), m = strlen(b);

    if (n > WORD_MAX || m > WORD_MAX)
        return cap;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *above = row[(i + 2) % 3], *before = row[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m] < cap ? row[n % 3][m] : cap;
}

/* The known word that was probably meant: one that begins like it, else the nearest; NULL when none
 * is near. */
static const char *closest(const char *word, const char *const *known, size_t n)
{
    size_t best = strlen(word) / 3 + 1; /* one edit for short words, a third of long ones */
    const char *found = NULL;

    best = best > 4 ? 4 : best + 1;
    for (size_t i = 0; i < n; i++)
        if ((strlen(word) >= 3 && str_has_prefix(known[i], word)) ||
            (strlen(known[i]) >= 3 && str_has_prefix(word, known[i])))
            return known[i];
    for (size_t i = 0; i < n; i++) {
        size_t d = edits(word, known[i], best);

        if (d < best) {
            best = d;
            found = known[i];
        }
    }
    return found;
}

int pipeline__unknown(struct reader *rd, int line, const char *subject, const char *word,
                      const char *const *known, size_t n_known)
{
    const char *meant = closest(word, known, n_known);
    CLEANUP(buf_fini) struct buf list = {0};

    for (size_t i = 0; i < n_known && i < PIPELINE_KNOWN_SHOWN; i++)
        buf_addf(&list, "%s%s", i ? ", " : "", known[i]);
    if (n_known > PIPELINE_KNOWN_SHOWN)
        buf_add_str(&list, ", ...");
    if (meant)
        return pipeline__fail(rd, line, "%s; did you mean '%s'? Known: %s", subject, meant,
                              list.data);
    return pipeline__fail(rd, line, "%s; known: %s", subject, list.data ? list.data : "none");
}
