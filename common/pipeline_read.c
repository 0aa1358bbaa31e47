/* The reader: values by kind, mappings and lists by table. */
#include <math.h>

#include "common/pipeline_internal.h"

/* ---- values ---- */

/* 5400000 -> "1h30m"; what str_to_duration_ms reads. */
void pipeline__duration_str(int64_t ms, char out[32])
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t len = 0;

    snprintf(out, 32, "0s");
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (ms < units[i].ms || len > 20)
            continue;
        len += (size_t)snprintf(out + len, 32 - len, "%lld%s", (long long)(ms / units[i].ms),
                                units[i].name);
        ms %= units[i].ms;
    }
}

static void size_str(double v, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;

    for (; v >= 1024 && i + 1 < ARRAY_LEN(units); i++)
        v /= 1024;
    snprintf(out, 32, "%.0f%s", v, units[i]);
}

static void bound_str(enum key_kind kind, double v, char out[32])
{
    if (kind == KEY_DURATION)
        pipeline__duration_str((int64_t)v, out);
    else if (kind == KEY_SIZE)
        size_str(v, out);
    else if (kind == KEY_INT)
        snprintf(out, 32, "%.0f", v);
    else
        double_to_str(v, out);
}

/* "be a number from 0 to 1" */
static void must_str(const struct key *k, char *out, size_t size)
{
    static const char *const kinds[] = {
        [KEY_NUMBER] = "a number",
        [KEY_INT] = "a whole number",
        [KEY_DURATION] = "a duration such as 30s, 10m or 2h,",
        [KEY_SIZE] = "a size such as 64MiB or 2GiB,",
    };
    char low[32], high[32];
    bool has_min = k->min > -INFINITY, has_max = k->max < INFINITY;
    const char *above = k->is_open_min ? "above" : "at least";

    bound_str(k->kind, k->min, low);
    bound_str(k->kind, k->max, high);
    if ((k->min == 0 && k->max == 0) || (!has_min && !has_max))
        snprintf(out, size, "be %s", kinds[k->kind]);
    else if (!has_max)
        snprintf(out, size, "be %s %s %s", kinds[k->kind], above, low);
    else if (!has_min)
        snprintf(out, size, "be %s %s %s", kinds[k->kind], k->is_open_max ? "below" : "at most",
                 high);
    else if (k->is_open_min || k->is_open_max)
        snprintf(out, size, "be %s %s %s and %s %s", kinds[k->kind], above, low,
                 k->is_open_max ? "below" : "at most", high);
    else
        snprintf(out, size, "be %s from %s to %s", kinds[k->kind], low, high);
    if (out[strlen(out) - 1] == ',')
        out[strlen(out) - 1] = '\0';
}

static int scalar_number(const struct yaml_node *n, enum key_kind kind, double *ret,
                         int64_t *ret_int)
{
    int rc = -1;

    if (n->kind != YAML_SCALAR || n->quoted)
        return -1;
    if (kind == KEY_NUMBER)
        return str_to_double(n->scalar, ret);
    if (kind == KEY_INT)
        rc = str_to_i64(n->scalar, ret_int);
    else if (kind == KEY_DURATION)
        rc = str_to_duration_ms(n->scalar, ret_int);
    else if (kind == KEY_SIZE)
        rc = str_to_size_bytes(n->scalar, ret_int);
    if (!rc)
        *ret = (double)*ret_int;
    return rc;
}

static int read_number(struct reader *rd, const struct yaml_node *n, const struct key *k,
                       void *target)
{
    double v = 0;
    int64_t i = 0;
    char must[160];
    bool is_bounded = k->min != 0 || k->max != 0;

    if (scalar_number(n, k->kind, &v, &i) ||
        (is_bounded && (v < k->min || v > k->max || (k->is_open_min && v <= k->min) ||
                        (k->is_open_max && v >= k->max)))) {
        must_str(k, must, sizeof(must));
        return pipeline__wrong(rd, n, must);
    }
    if (k->kind == KEY_NUMBER)
        memcpy((char *)target + k->offset, &v, sizeof(v));
    else
        memcpy((char *)target + k->offset, &i, sizeof(i));
    return 0;
}

static int read_text(struct reader *rd, const struct yaml_node *n, const struct key *k,
                     void *target)
{
    const char *text;

    if (n->kind != YAML_SCALAR || yaml_is_null(n))
        return pipeline__wrong(rd, n, k->must ? k->must : "be a text");
    if (!n->scalar[0] || strlen(n->scalar) > PIPELINE_TEXT_MAX || !pipeline__is_text(n->scalar))
        return pipeline__fail(rd, n->line,
                              "must be 1 to %d bytes of text without control characters",
                              PIPELINE_TEXT_MAX);
    if (k->is_valid && !k->is_valid(n->scalar))
        return pipeline__wrong(rd, n, k->must);
    text = arena_strdup(&rd->p->arena, n->scalar);
    memcpy((char *)target + k->offset, &text, sizeof(text));
    return 0;
}

static int read_word(struct reader *rd, const struct yaml_node *n, const struct key *k,
                     void *target)
{
    size_t n_words = 0;
    char subject[96];

    while (k->words[n_words])
        n_words++;
    if (n->kind != YAML_SCALAR) {
        pipeline__node_str(n, subject, sizeof(subject) - 16);
        return pipeline__fail(rd, n->line, "must be one word, not %s; known: %s, ...", subject,
                              k->words[0]);
    }
    for (int i = 0; i < (int)n_words; i++) {
        if (strcmp(n->scalar, k->words[i]) != 0)
            continue;
        if (k->offset != KEY_NOT_STORED)
            memcpy((char *)target + k->offset, &i, sizeof(i));
        return 0;
    }
    snprintf(subject, sizeof(subject), "unknown value '%.64s'", n->scalar);
    return pipeline__unknown(rd, n->line, subject, n->scalar, k->words, n_words);
}

static int read_bool(struct reader *rd, const struct yaml_node *n, const struct key *k,
                     void *target)
{
    bool v = n->kind == YAML_SCALAR && strcmp(n->scalar, "true") == 0;

    if (n->kind != YAML_SCALAR || n->quoted || (!v && strcmp(n->scalar, "false") != 0))
        return pipeline__wrong(rd, n, "be true or false");
    memcpy((char *)target + k->offset, &v, sizeof(v));
    return 0;
}

int pipeline__value(struct reader *rd, const struct yaml_node *n, const struct key *k, void *target)
{
    switch (k->kind) {
    case KEY_TEXT:
        return read_text(rd, n, k, target);
    case KEY_NUMBER:
    case KEY_INT:
    case KEY_DURATION:
    case KEY_SIZE:
        return read_number(rd, n, k, target);
    case KEY_BOOL:
        return read_bool(rd, n, k, target);
    case KEY_WORD:
        return read_word(rd, n, k, target);
    case KEY_MAP:
        return pipeline__map(rd, n, k->keys, target);
    case KEY_CUSTOM:
        break;
    }
    return k->read(rd, n, target);
}

/* ---- collections ---- */

static int unknown_key(struct reader *rd, const struct yaml_node *n, size_t at,
                       const struct key *keys)
{
    const char *known[64];
    size_t n_known = 0;

    for (const struct key *k = keys; k->name && n_known < ARRAY_LEN(known); k++)
        known[n_known++] = k->name;
    return pipeline__unknown(rd, n->key_lines[at], "unknown key", n->keys[at], known, n_known);
}

int pipeline__map(struct reader *rd, const struct yaml_node *n, const struct key *keys,
                  void *target)
{
    if (n->kind != YAML_MAPPING)
        return pipeline__wrong(rd, n, "be a mapping");
    for (size_t i = 0; i < n->n; i++) {
        const struct key *k = keys;
        size_t mark = pipeline__enter(rd, n->keys[i]);

        while (k->name && strcmp(k->name, n->keys[i]) != 0)
            k++;
        if (!k->name)
            return unknown_key(rd, n, i, keys);
        if (!yaml_is_null(n->items[i]) && pipeline__value(rd, n->items[i], k, target))
            return -1;
        pipeline__leave(rd, mark);
    }
    for (const struct key *k = keys; k->name; k++) {
        if (!k->needed || !yaml_is_null(yaml_get(n, k->name)))
            continue;
        pipeline__enter(rd, k->name);
        return pipeline__fail(rd, n->line, "missing: %s", k->needed);
    }
    return 0;
}

int pipeline__texts(struct reader *rd, const struct yaml_node *n, const struct key *item,
                    size_t min, size_t max, const char *const **ret, size_t *ret_n)
{
    const char **texts;

    if (n->kind != YAML_SEQUENCE)
        return pipeline__wrong(rd, n, "be a list");
    if (n->n < min || n->n > max)
        return pipeline__fail(rd, n->line, "must have %zu to %zu items, not %zu", min, max, n->n);
    texts = arena_alloc(&rd->p->arena, (n->n + 1) * sizeof(*texts));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter_index(rd, i);

        if (pipeline__value(rd, n->items[i], item, &texts[i]))
            return -1;
        for (size_t j = 0; j < i; j++)
            if (strcmp(texts[j], texts[i]) == 0)
                return pipeline__fail(rd, n->items[i]->line, "'%s' is listed twice", texts[i]);
        pipeline__leave(rd, mark);
    }
    *ret = texts;
    *ret_n = n->n;
    return 0;
}
