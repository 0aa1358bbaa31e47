/* POST /v1/labels: one label, a list of them, or CSV.  A label's value is text; a JSON number is
 * taken as its text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/mem.h"

static int add(struct console *c, struct batch *b, const struct label_observed *l, struct err *err)
{
    struct label_observed *own = arena_memdup(batch_arena(b), l, sizeof(*l));
    struct batch_item item = {.record = RECORD_LABEL_OBSERVED, .rec = own};
    return intake_label(c, own, err) || batch_add(b, &item, err) ? -1 : 0;
}

/* ---- JSON ---- */

static const char *number_text(const struct json *j, struct arena *arena)
{
    double v = json_num(j, NAN);
    char text[32];
    if (v == floor(v) && fabs(v) < 1e15)
        return arena_printf(arena, "%.0f", v);
    double_to_str(v, text);
    return arena_strdup(arena, text);
}

static int add_object(struct console *c, struct batch *b, const struct json *item, const char *line,
                      struct err *err)
{
    const void *rec = NULL;
    const struct json *value = json_get(item, "value");
    CLEANUP(json_freep) struct json *j = NULL;
    if (!json_is_object(item))
        return err_inval(err, "give a JSON object");
    j = json_copy(item);
    if (json_is_number(value))
        json_set_str(j, "value", number_text(value, batch_arena(b)));
    if (line && !json_get(j, "line"))
        json_set_str(j, "line", line);
    if (codec_from_json(RECORD_LABEL_OBSERVED, j, batch_arena(b), &rec, err))
        return -1;
    return add(c, b, rec, err);
}

/* {"line": L, "labels": [...]}; a label may name a line of its own. */
static int add_list(struct console *c, struct batch *b, const struct json *j, struct err *err)
{
    const struct json *list = json_get(j, "labels"), *line = json_get(j, "line"), *value;
    const char *key;
    for (void *it = json_next(j, NULL, &key, &value); it; it = json_next(j, it, &key, &value))
        if (strcmp(key, "labels") != 0 && strcmp(key, "line") != 0)
            return err_inval(err, "%.100s: unknown member", key);
    if (!json_is_array(list))
        return err_inval(err, "labels: must be a list");
    if (line && !json_is_string(line))
        return err_inval(err, "line: must be a string");
    for (size_t i = 0; i < json_len(list); i++)
        if (add_object(c, b, json_at(list, i), json_str(line, NULL), err))
            return err_wrap(err, "labels[%zu]", i);
    return 0;
}

/* ---- CSV: "prediction,value" lines, with or without that header; ?line= names the line ---- */

struct csv {
    const char *p, *end;
    size_t line;
};

/* One field; RFC 4180 but for line breaks inside quotes, which no id and no label has. */
static int csv_field(struct csv *csv, struct arena *arena, const char **ret, struct err *err)
{
    CLEANUP(buf_fini) struct buf b = {0};
    bool is_quoted = csv->p < csv->end && *csv->p == '"';
    if (is_quoted) {
        bool is_closed = false;
        for (csv->p++; csv->p < csv->end && *csv->p != '\n' && !is_closed; csv->p++) {
            if (*csv->p != '"') {
                buf_add_char(&b, *csv->p);
            } else if (csv->p + 1 < csv->end && csv->p[1] == '"') {
                buf_add_char(&b, '"');
                csv->p++;
            } else {
                is_closed = true;
            }
        }
        if (!is_closed)
            return err_inval(err, "a quote is opened and never closed");
    }
    const char *from = csv->p;
    while (csv->p < csv->end && *csv->p != ',' && *csv->p != '\n')
        csv->p++;
    size_t n = (size_t)(csv->p - from);
    if (n && csv->p[-1] == '\r' && (csv->p == csv->end || *csv->p == '\n'))
        n--;
    if (is_quoted && n)
        return err_inval(err, "text after a closing quote");
    buf_add(&b, from, n);
    if (memchr(b.data ? b.data : "", '\0', b.len))
        return err_inval(err, "a NUL byte");
    *ret = arena_strndup(arena, b.data ? b.data : "", b.len);
    return 0;
}

static int csv_record(struct csv *csv, struct arena *arena, const char *fields[2], size_t *ret_n,
                      struct err *err)
{
    size_t n = 0;
    for (;;) {
        const char *field = NULL;
        if (csv_field(csv, arena, &field, err))
            return -1;
        if (n < 2)
            fields[n] = field;
        n++;
        bool is_last = csv->p == csv->end || *csv->p == '\n';
        if (csv->p < csv->end)
            csv->p++;
        if (is_last)
            break;
    }
    csv->line++;
    *ret_n = n;
    return 0;
}

static int add_csv(struct console *c, struct batch *b, struct slice text, const char *line,
                   struct err *err)
{
    struct csv csv = {.p = text.p, .end = text.p + text.n};
    while (csv.p < csv.end) {
        const char *f[2] = {NULL, NULL};
        size_t n = 0;
        if (csv_record(&csv, batch_arena(b), f, &n, err))
            return err_wrap(err, "line %zu", csv.line + 1);
        if (n == 1 && !f[0][0])
            continue;
        if (n != 2)
            return err_inval(err, "line %zu: %zu fields: give prediction,value", csv.line, n);
        if (csv.line == 1 && strcmp(f[0], "prediction") == 0 && strcmp(f[1], "value") == 0)
            continue;
        struct label_observed l = {
            .line = line, .prediction = f[0], .value = f[1], .observed_unix_ms = ABSENT_I64};
        if (add(c, b, &l, err))
            return err_wrap(err, "line %zu", csv.line);
    }
    return 0;
}

void intake_labels(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct batch *b = batch_new(c, rq);
    int rc;
    (void)segs;
    if (intake_is_type(rq, "text/csv")) {
        const char *line = httpd_query(rq, "line");
        rc = add_csv(c, b, httpd_body(rq), arena_strdup(batch_arena(b), line), &err);
    } else {
        const struct json *j = batch_json(b, &err);
        rc = !j                      ? -1
             : json_get(j, "labels") ? add_list(c, b, j, &err)
                                     : add_object(c, b, j, NULL, &err);
    }
    if (rc)
        batch_refuse(b, 400, &err);
    else
        batch_send(b);
}
