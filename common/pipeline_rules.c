/* gate.rules: what is asked of a candidate, each rule by itself. */
#include <math.h>

#include "common/metrics.h"
#include "common/pipeline_internal.h"

static const char *const severities[] = {
    [SEVERITY_BLOCK] = "block", [SEVERITY_WARN] = "warn", [SEVERITY_OBSERVE] = "observe", NULL};
static const char *const baselines[] = {"champion",   "best",   "last_good", "naive",
                                        "last_value", "golden", NULL};
static const char *const rule_kinds[] = {[RULE_AT_LEAST] = "at_least",
                                         [RULE_AT_MOST] = "at_most",
                                         [RULE_NO_WORSE_THAN] = "no_worse_than",
                                         [RULE_BETTER_THAN] = "better_than"};

#define RULE(member) offsetof(struct gate_rule, member)

/* by: 0.01 in the metric's unit, or by: 2% of the baseline's value. */
static int read_by(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key number = {
        .kind = KEY_NUMBER, .offset = RULE(by), .min = 0, .max = INFINITY};
    struct gate_rule *r = target;
    size_t length = n->kind == YAML_SCALAR ? strlen(n->scalar) : 0;
    char share[32];

    if (length < 2 || length > sizeof(share) || n->scalar[length - 1] != '%')
        return pipeline__value(rd, n, &number, target);
    memcpy(share, n->scalar, length - 1);
    share[length - 1] = '\0';
    if (str_to_double(share, &r->by) || !(r->by >= 0 && r->by <= 100))
        return pipeline__wrong(rd, n, "be a number at least 0, or 0% to 100%");
    r->by /= 100;
    r->is_relative = true;
    return 0;
}

static const struct key rule_keys[] = {
    {.name = "metric", .kind = KEY_TEXT, .offset = RULE(metric), .must = "be a metric"},
    {.name = "fact", .kind = KEY_TEXT, .offset = RULE(fact), .must = "be a fact"},
    {.name = "at_least", .kind = KEY_NUMBER, .offset = RULE(bound)},
    {.name = "at_most", .kind = KEY_NUMBER, .offset = RULE(bound)},
    {.name = "no_worse_than", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = baselines},
    {.name = "better_than", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = baselines},
    {.name = "by", .kind = KEY_CUSTOM, .read = read_by},
    {.name = "by_interval", .kind = KEY_BOOL, .offset = RULE(by_interval)},
    {.name = "slice",
     .kind = KEY_TEXT,
     .offset = RULE(slice),
     .must = "be the name of a column, COLUMN=VALUE, or '*'"},
    {.name = "severity", .kind = KEY_WORD, .offset = RULE(severity), .words = severities},
    {0},
};

/* What the rule is about: one metric, on rows, or one fact. */
static int read_subject(struct reader *rd, const struct yaml_node *n, struct gate_rule *r)
{
    char *equals;

    if (!r->metric == !r->fact)
        return pipeline__fail(rd, n->line,
                              "needs exactly one of metric (accuracy, auc, logloss, ...) and fact "
                              "(trained_rows, data_age_hours, ...)");
    if (r->metric)
        r->metric = pipeline__metric_name(rd, r->metric);
    if (r->fact && r->slice)
        return pipeline__fail(rd, n->line, "a fact is of the whole run: it has no slice");
    if (!r->slice || !(equals = strchr(r->slice, '=')))
        return 0;
    if (equals == r->slice || !equals[1])
        return pipeline__fail(rd, n->line, "slice '%s': write COLUMN=VALUE", r->slice);
    r->slice_value = arena_strdup(&rd->p->arena, equals + 1);
    r->slice = arena_strndup(&rd->p->arena, r->slice, (size_t)(equals - r->slice));
    return 0;
}

static int read_comparison(struct reader *rd, const struct yaml_node *n, struct gate_rule *r)
{
    r->baseline = yaml_get(n, rule_kinds[r->kind])->scalar;
    for (size_t i = 0; baselines[i]; i++)
        if (strcmp(baselines[i], r->baseline) == 0)
            r->baseline = baselines[i];
    if (r->fact)
        return pipeline__fail(rd, n->line, "a fact is held against a number: at_least or at_most");
    if (r->slice && strcmp(r->baseline, baselines[0]) != 0)
        return pipeline__fail(rd, n->line,
                              "on slices only the champion is compared with, %s on all rows alone",
                              r->baseline);
    return 0;
}

static int read_rule(struct reader *rd, const struct yaml_node *n, struct gate_rule *r)
{
    int n_kinds = 0;

    *r = (struct gate_rule){.line = n->line};
    if (pipeline__map(rd, n, rule_keys, r) || read_subject(rd, n, r))
        return -1;
    for (int k = 0; k < (int)ARRAY_LEN(rule_kinds); k++) {
        if (yaml_is_null(yaml_get(n, rule_kinds[k])))
            continue;
        n_kinds++;
        r->kind = (enum rule_kind)k;
    }
    if (n_kinds != 1)
        return pipeline__fail(
            rd, n->line,
            "needs exactly one of at_least, at_most, no_worse_than, better_than, and has %d",
            n_kinds);
    if (r->kind != RULE_AT_LEAST && r->kind != RULE_AT_MOST)
        return read_comparison(rd, n, r);
    if (!yaml_is_null(yaml_get(n, "by")) || r->by_interval)
        return pipeline__fail(
            rd, n->line, "by and by_interval go with no_worse_than and better_than, not with %s",
            rule_kinds[r->kind]);
    return 0;
}

int pipeline__rules(struct reader *rd, const struct yaml_node *n, void *target)
{
    struct pipeline *p = target;
    struct gate_rule *rules;

    if (n->kind != YAML_SEQUENCE || n->n < 1 || n->n > PIPELINE_MAX_RULES)
        return pipeline__fail(rd, n->line, "must be a list of 1 to %d rules", PIPELINE_MAX_RULES);
    rules = arena_alloc(&p->arena, n->n * sizeof(*rules));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter_index(rd, i);

        if (read_rule(rd, n->items[i], &rules[i]))
            return -1;
        pipeline__leave(rd, mark);
    }
    p->rules = rules;
    p->n_rules = n->n;
    return 0;
}

/* ---- checks ---- */

static bool is_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool is_same_rule(const struct gate_rule *a, const struct gate_rule *b)
{
    return a->kind == b->kind && a->severity == b->severity && is_text(a->metric, b->metric) &&
           is_text(a->fact, b->fact) && is_text(a->slice, b->slice) &&
           is_text(a->slice_value, b->slice_value) && is_text(a->baseline, b->baseline) &&
           a->by_interval == b->by_interval;
}

static int check_fact(struct reader *rd, const char *path, const char *fact)
{
    const char *const *names = gate_fact_names();
    char subject[96];
    size_t n = 0;

    for (; names[n]; n++)
        if (strcmp(names[n], fact) == 0)
            return 0;
    snprintf(subject, sizeof(subject), "unknown fact '%.48s'", fact);
    pipeline__leave(rd, 0);
    pipeline__enter(rd, path);
    int rc = pipeline__unknown(rd, pipeline__given(rd, path)->line, subject, fact, names, n);
    pipeline__leave(rd, 0);
    return rc;
}

static int check_rule(struct reader *rd, size_t i)
{
    const struct gate_rule *r = &rd->p->rules[i];
    char path[64];

    snprintf(path, sizeof(path), "gate.rules[%zu].%s", i, r->fact ? "fact" : "metric");
    if (r->fact ? check_fact(rd, path, r->fact) : pipeline__check_metric(rd, path, r->metric))
        return -1;
    snprintf(path, sizeof(path), "gate.rules[%zu].%s", i, rule_kinds[r->kind]);
    if (r->metric && pipeline__check_bound(rd, path, r->metric, r->bound))
        return -1;
    for (size_t j = 0; j < i; j++)
        if (is_same_rule(&rd->p->rules[j], r))
            return pipeline__fail_at(rd, path,
                                     "the same rule as gate.rules[%zu]; one of them can go", j);
    return 0;
}

int pipeline__check_rules(struct reader *rd)
{
    if (!pipeline__given(rd, "gate.rules"))
        return 0;
    for (size_t i = 0; i < rd->p->n_rules; i++)
        if (check_rule(rd, i))
            return -1;
    return 0;
}
