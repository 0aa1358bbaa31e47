/* The tree is built from libyaml's events with an explicit stack, so that depth is capped before
 * anything recurses.  Whatever gives one text two meanings is refused: anchors, aliases, tags, more
 * than one document, duplicate keys, keys that are no scalars. */
#include "common/yaml.h"

#include <string.h>
#include <yaml.h>

enum {
    YAML_TEXT_MAX_BYTES = 1 << 20, /* written by people; parsed, it takes up to 100 times as much */
    YAML_DEPTH_MAX = 32,           /* our deepest declaration has 6 levels */
    YAML_KEYS_MAX =
        10000, /* of one mapping, for a contract of so many columns; searched one by one */
};

struct level {
    struct yaml_node *node;
    size_t cap;
    const char *key; /* of a mapping, when its value is to come */
    int key_line;
};

struct builder {
    yaml_parser_t parser;
    const char *what;
    struct slice text;
    struct arena *arena;
    struct level stack[YAML_DEPTH_MAX];
    size_t depth;
    struct yaml_node *root;
    struct err *err;
};

static int fail_at(struct builder *b, yaml_mark_t mark, const char *text)
{
    return err_inval(b->err, "%s:%zu:%zu: %s", b->what, mark.line + 1, mark.column + 1, text);
}

/* Errors of the reader (encoding, control characters) come with an offset only. */
static yaml_mark_t mark_of_offset(struct slice text, size_t offset)
{
    yaml_mark_t m = {0};

    for (size_t i = 0; i < offset && i < text.n; i++) {
        if (text.p[i] == '\n') {
            m.line++;
            m.column = 0;
        } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
            m.column++;
        }
    }
    return m;
}

static int fail_parse(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    yaml_mark_t mark = p->problem_mark;
    const char *problem = p->problem ? p->problem : "malformed";

    BUG_ON(p->error == YAML_MEMORY_ERROR);
    if (p->error == YAML_READER_ERROR)
        mark = mark_of_offset(b->text, p->problem_offset);
    if (p->context)
        return err_inval(b->err, "%s:%zu:%zu: %s, %s", b->what, mark.line + 1, mark.column + 1,
                         p->context, problem);
    return fail_at(b, mark, problem);
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, yaml_mark_t mark)
{
    struct yaml_node *n = arena_alloc(b->arena, sizeof(*n));

    n->kind = kind;
    n->line = (int)mark.line + 1;
    n->column = (int)mark.column + 1;
    return n;
}

static void *grown(struct arena *a, const void *old, size_t n, size_t cap, size_t size_bytes)
{
    void *p = arena_alloc(a, cap * size_bytes);

    if (n)
        memcpy(p, old, n * size_bytes);
    return p;
}

static void level_add(struct builder *b, struct level *l, struct yaml_node *child)
{
    struct yaml_node *n = l->node;

    if (n->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 4;
        n->items = grown(b->arena, n->items, n->n, l->cap, sizeof(*n->items));
        if (n->kind == YAML_MAPPING) {
            n->keys = grown(b->arena, n->keys, n->n, l->cap, sizeof(*n->keys));
            n->key_lines = grown(b->arena, n->key_lines, n->n, l->cap, sizeof(*n->key_lines));
        }
    }
    n->items[n->n] = child;
    if (n->kind == YAML_MAPPING) {
        n->keys[n->n] = l->key;
        n->key_lines[n->n] = l->key_line;
        l->key = NULL;
    }
    n->n++;
}

static int set_key(struct builder *b, struct level *l, const char *key, yaml_mark_t mark)
{
    if (l->node->n == YAML_KEYS_MAX)
        return err_inval(b->err, "%s:%zu:%zu: more than %d keys in one mapping", b->what,
                         mark.line + 1, mark.column + 1, YAML_KEYS_MAX);
    for (size_t i = 0; i < l->node->n; i++)
        if (strcmp(l->node->keys[i], key) == 0)
            return err_inval(b->err, "%s:%zu:%zu: key \"%s\" is there already, on line %d", b->what,
                             mark.line + 1, mark.column + 1, key, l->node->key_lines[i]);
    l->key = key;
    l->key_line = (int)mark.line + 1;
    return 0;
}

/* Puts a node where the text has it; a collection then becomes the innermost level. */
static int place(struct builder *b, struct yaml_node *n, yaml_mark_t mark)
{
    struct level *l = b->depth ? &b->stack[b->depth - 1] : NULL;

    if (l && l->node->kind == YAML_MAPPING && !l->key) {
        if (n->kind != YAML_SCALAR)
            return fail_at(b, mark, "a key must be plain text");
        return set_key(b, l, n->scalar, mark);
    }
    if (l)
        level_add(b, l, n);
    else
        b->root = n;
    if (n->kind == YAML_SCALAR)
        return 0;
    if (b->depth == YAML_DEPTH_MAX)
        return err_inval(b->err, "%s:%d:%d: nested more than %d levels deep", b->what, n->line,
                         n->column, YAML_DEPTH_MAX);
    b->stack[b->depth++] = (struct level){.node = n};
    return 0;
}

static int refuse_extras(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag,
                         yaml_mark_t mark)
{
    if (anchor)
        return fail_at(b, mark, "anchors (&name) are not taken: write the value out");
    if (tag)
        return fail_at(b, mark, "tags (!name) are not taken: quote a value to make it text");
    return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *ev)
{
    const char *text = (const char *)ev->data.scalar.value;
    size_t n = ev->data.scalar.length;
    struct yaml_node *node;

    if (refuse_extras(b, ev->data.scalar.anchor, ev->data.scalar.tag, ev->start_mark))
        return -1;
    if (memchr(text, '\0', n))
        return fail_at(b, ev->start_mark, "a value must not contain \\0");
    node = node_new(b, YAML_SCALAR, ev->start_mark);
    node->scalar = arena_strndup(b->arena, text, n);
    node->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return place(b, node, ev->start_mark);
}

static int on_event(struct builder *b, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->root)
            return fail_at(b, ev->start_mark, "a second document begins: one per file");
        if (ev->data.document_start.tag_directives.start !=
            ev->data.document_start.tag_directives.end)
            return fail_at(b, ev->start_mark, "%TAG is not taken");
        return 0;
    case YAML_ALIAS_EVENT:
        return fail_at(b, ev->start_mark, "aliases (*name) are not taken: write the value out");
    case YAML_SCALAR_EVENT:
        return on_scalar(b, ev);
    case YAML_SEQUENCE_START_EVENT:
        if (refuse_extras(b, ev->data.sequence_start.anchor, ev->data.sequence_start.tag,
                          ev->start_mark))
            return -1;
        return place(b, node_new(b, YAML_SEQUENCE, ev->start_mark), ev->start_mark);
    case YAML_MAPPING_START_EVENT:
        if (refuse_extras(b, ev->data.mapping_start.anchor, ev->data.mapping_start.tag,
                          ev->start_mark))
            return -1;
        return place(b, node_new(b, YAML_MAPPING, ev->start_mark), ev->start_mark);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return 0;
    default:
        return 0;
    }
}

static int build(struct builder *b)
{
    for (;;) {
        yaml_event_t ev;
        yaml_event_type_t type;
        int rc;

        if (!yaml_parser_parse(&b->parser, &ev))
            return fail_parse(b);
        type = ev.type;
        rc = on_event(b, &ev);
        yaml_event_delete(&ev);
        if (rc)
            return -1;
        if (type == YAML_STREAM_END_EVENT)
            return b->root ? 0 : fail_at(b, (yaml_mark_t){0}, "there is nothing in it");
    }
}

int yaml_parse(struct slice text, const char *what, struct arena *arena,
               const struct yaml_node **ret, struct err *err)
{
    struct builder b = {.what = what, .text = text, .arena = arena, .err = err};
    int rc;

    if (text.n > YAML_TEXT_MAX_BYTES)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "%s: YAML text of %zu bytes, %d at most", what,
                       text.n, YAML_TEXT_MAX_BYTES);
    BUG_ON(!yaml_parser_initialize(&b.parser));
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    rc = build(&b);
    yaml_parser_delete(&b.parser);
    if (rc)
        return -1;
    *ret = b.root;
    return 0;
}

const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key)
{
    if (!mapping || mapping->kind != YAML_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->n; i++)
        if (strcmp(mapping->keys[i], key) == 0)
            return mapping->items[i];
    return NULL;
}

bool yaml_is_null(const struct yaml_node *n)
{
    if (!n)
        return true;
    if (n->kind != YAML_SCALAR || n->quoted)
        return false;
    return !*n->scalar || strcmp(n->scalar, "~") == 0 || strcmp(n->scalar, "null") == 0 ||
           strcmp(n->scalar, "Null") == 0 || strcmp(n->scalar, "NULL") == 0;
}
