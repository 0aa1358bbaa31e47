#include "agents/relearn/compare.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

struct runs {
    const struct json *const *facts, *const *distances;
    size_t n;
    struct json *document;
};

/* ---- rows ---- */

static struct json *section(const struct runs *r, const char *name)
{
    struct json *sections = (struct json *)(uintptr_t)json_get(r->document, "sections");
    struct json *s = json_add(sections, json_object());
    json_set_str(s, "section", name);
    return json_set(s, "rows", json_array());
}

static bool is_same(const struct json *a, const struct json *b)
{
    CLEANUP(buf_fini) struct buf x = {0}, y = {0};
    json_write(a, 0, true, &x);
    json_write(b, 0, true, &y);
    return slice_eq(buf_slice(&x), buf_slice(&y));
}

/* Takes values, one for each run. */
static struct json *add_row(struct json *rows, const char *name, struct json *values)
{
    bool differs = false, is_known = false;
    for (size_t i = 0; i < json_len(values); i++) {
        differs = differs || !is_same(json_at(values, 0), json_at(values, i));
        is_known = is_known || !json_is_null(json_at(values, i));
    }
    if (!is_known) {
        json_free(values);
        return NULL;
    }
    struct json *row = json_add(rows, json_object());
    json_set_str(row, "name", name);
    json_set(row, "values", values);
    json_set_bool(row, "differs", differs);
    return row;
}

static void add_value(struct json *values, const struct json *v)
{
    if (v)
        json_add(values, json_copy(v));
    else
        json_add_str(values, NULL); /* written as null */
}

/* The same member of each run: of its facts, or of the record in them. */
static void add_member(const struct runs *r, struct json *rows, const char *record,
                       const char *member, const char *name)
{
    struct json *values = json_array();
    for (size_t i = 0; i < r->n; i++) {
        const struct json *from = record ? json_get(r->facts[i], record) : r->facts[i];
        add_value(values, json_get(from, member));
    }
    add_row(rows, name, values);
}

/* ---- sections ---- */

struct member {
    const char *record, *member, *name;
};

static void add_members(const struct runs *r, const char *title, const struct member *members,
                        size_t n)
{
    struct json *rows = section(r, title);
    for (size_t i = 0; i < n; i++)
        add_member(r, rows, members[i].record, members[i].member, members[i].name);
}

static const struct json *named(const struct json *list, const char *key, const char *name)
{
    for (size_t i = 0; i < json_len(list); i++)
        if (strcmp(json_get_str(json_at(list, i), key, ""), name) == 0)
            return json_at(list, i);
    return NULL;
}

static void add_parameters(const struct runs *r)
{
    struct json *rows = section(r, "parameters");
    add_member(r, rows, "trained", "trainer", "trainer");
    for (size_t i = 0; i < r->n; i++) {
        const struct json *params = json_get(json_get(r->facts[i], "trained"), "params");
        for (size_t k = 0; k < json_len(params); k++) {
            const char *name = json_get_str(json_at(params, k), "name", "");
            struct json *values;
            if (named(rows, "name", name))
                continue;
            values = json_array();
            for (size_t j = 0; j < r->n; j++)
                add_value(values,
                          json_get(named(json_get(json_get(r->facts[j], "trained"), "params"),
                                         "name", name),
                                   "value"));
            add_row(rows, name, values);
        }
    }
    add_member(r, rows, "planned_record", "pipeline_sha256", "pipeline as declared");
}

static void add_versions(const struct runs *r, struct json *rows)
{
    static const char *const MEMBERS[] = {"version", "snapshot"};
    for (size_t m = 0; m < ARRAY_LEN(MEMBERS); m++) {
        struct json *values = json_array();
        for (size_t i = 0; i < r->n; i++) {
            const struct json *data = json_get(r->facts[i], "data");
            CLEANUP(buf_fini) struct buf text = {0};
            for (size_t k = 0; k < json_len(data); k++)
                buf_addf(&text, "%s%.12s", k ? " " : "",
                         json_get_str(json_at(data, k), MEMBERS[m], "unknown"));
            json_add_str(values, text.data ? text.data : "none");
        }
        add_row(rows, m ? "snapshots" : "versions", values);
    }
}

static void add_data(const struct runs *r)
{
    struct json *rows = section(r, "data");
    add_member(r, rows, NULL, "rows", "rows to learn from");
    add_member(r, rows, "trained", "trained_rows", "rows trained on");
    add_member(r, rows, "trained", "valid_rows", "rows to stop by");
    add_member(r, rows, "evaluated", "rows", "rows evaluated on");
    add_versions(r, rows);
}

/* Of each column how far it is from that of the first run. */
static void add_distances(const struct runs *r)
{
    struct json *rows = section(r, "distance of the data (PSI from the first)");
    for (size_t i = 1; i < r->n; i++) {
        const struct json *columns = json_get(r->distances[i], "columns");
        for (size_t k = 0; k < json_len(columns); k++) {
            const char *name = json_get_str(json_at(columns, k), "column", "");
            if (named(rows, "name", name))
                continue;
            struct json *values = json_array();
            json_add_num(values, 0);
            for (size_t j = 1; j < r->n; j++)
                add_value(
                    values,
                    json_get(named(json_get(r->distances[j], "columns"), "column", name), "psi"));
            add_row(rows, name, values);
        }
    }
}

static const struct json *metric_of(const struct json *facts, const char *metric, const char *slice)
{
    const struct json *list = json_get(json_get(facts, "evaluated"), "metrics");
    for (size_t i = 0; i < json_len(list); i++)
        if (strcmp(json_get_str(json_at(list, i), "metric", ""), metric) == 0 &&
            strcmp(json_get_str(json_at(list, i), "slice", ""), slice) == 0)
            return json_at(list, i);
    return NULL;
}

static struct json *metric_value(const struct json *m)
{
    static const char *const KEYS[] = {"candidate", "champion", "difference", "low", "high"};
    struct json *v = json_object();
    for (size_t i = 0; i < ARRAY_LEN(KEYS); i++)
        json_set_num(v, KEYS[i], json_get_num(m, KEYS[i], NAN));
    json_set_int(v, "rows", json_get_int(m, "rows", 0));
    if (json_get_str(m, "undefined", NULL))
        json_set_str(v, "undefined", json_get_str(m, "undefined", NULL));
    return v;
}

static void add_metric(const struct runs *r, struct json *rows, const struct json *m)
{
    const char *metric = json_get_str(m, "metric", ""), *slice = json_get_str(m, "slice", "");
    bool is_whole = strcmp(slice, "all") == 0, rises = json_get_bool(m, "higher_is_better", true);
    CLEANUP_FREE char *name = is_whole ? xstrdup(metric) : xasprintf("%s where %s", metric, slice);
    struct json *values, *row;
    double best = NAN;
    int64_t best_at = -1;
    if (named(rows, "name", name))
        return;
    values = json_array();
    for (size_t i = 0; i < r->n; i++) {
        const struct json *one = metric_of(r->facts[i], metric, slice);
        double v = json_get_num(one, "candidate", NAN);
        if (one)
            json_add(values, metric_value(one));
        else
            add_value(values, NULL);
        if (isfinite(v) && (!isfinite(best) || (rises ? v > best : v < best))) {
            best = v;
            best_at = (int64_t)i;
        }
    }
    row = add_row(rows, name, values);
    if (row && best_at >= 0)
        json_set_int(row, "best", best_at);
}

static void add_metrics(const struct runs *r, const char *title, bool slices)
{
    struct json *rows = section(r, title);
    for (size_t i = 0; i < r->n; i++) {
        const struct json *list = json_get(json_get(r->facts[i], "evaluated"), "metrics");
        for (size_t k = 0; k < json_len(list); k++) {
            const struct json *m = json_at(list, k);
            if ((strcmp(json_get_str(m, "slice", ""), "all") != 0) == slices)
                add_metric(r, rows, m);
        }
    }
}

struct json *compare_document(const struct json *const *facts, const struct json *const *distances,
                              size_t n)
{
    static const struct member ABOUT[] = {{NULL, "line", "line"},
                                          {NULL, "trigger", "trigger"},
                                          {NULL, "state", "state"},
                                          {NULL, "decision", "decision"},
                                          {NULL, "reason", "reason"},
                                          {NULL, "generation", "generation"},
                                          {"evaluated", "against", "against generation"},
                                          {NULL, "planned", "planned"},
                                          {NULL, "closed", "closed"},
                                          {NULL, "model", "model"}};
    static const struct member COST[] = {{"trained", "seconds", "seconds of training"},
                                         {"trained", "cpu_seconds", "CPU seconds of training"},
                                         {"trained", "max_rss_bytes", "memory at most, bytes"},
                                         {"trained", "rounds", "rounds"},
                                         {"trained", "trials", "trials"},
                                         {"trained", "attempt", "attempts"},
                                         {"evaluated", "seconds", "seconds of evaluation"}};
    struct runs r = {facts, distances, n, json_object()};
    struct json *list = json_set(r.document, "runs", json_array()), *unknown;
    for (size_t i = 0; i < n; i++) {
        struct json *one = json_add(list, json_object());
        json_set_str(one, "run", json_get_str(facts[i], "run", NULL));
        json_set_str(one, "line", json_get_str(facts[i], "line", NULL));
        json_set_str(one, "planned", json_get_str(facts[i], "planned", NULL));
        json_set_str(one, "model", json_get_str(facts[i], "model", NULL));
    }
    json_set(r.document, "sections", json_array());
    add_members(&r, "run", ABOUT, ARRAY_LEN(ABOUT));
    add_parameters(&r);
    add_data(&r);
    add_distances(&r);
    add_metrics(&r, "metrics", false);
    add_metrics(&r, "slices", true);
    add_members(&r, "cost", COST, ARRAY_LEN(COST));
    unknown = json_set(r.document, "unknown", json_array());
    json_add_str(unknown, "importance of the features: no event carries it");
    json_add_str(unknown, "calibration: no evaluation carries its curve");
    json_add_str(unknown, "progress by round: it is not kept once a run is over");
    return r.document;
}
