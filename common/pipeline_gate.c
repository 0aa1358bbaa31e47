/* gate: what a candidate must show. */
#include <math.h>

#include "common/metrics.h"
#include "common/pipeline_internal.h"

#define AT(member) offsetof(struct pipeline, member)
#define DAY_MS 86400000.0

/* ---- gate ---- */

static const char *const severities[] = {
    [SEVERITY_BLOCK] = "block", [SEVERITY_WARN] = "warn", [SEVERITY_OBSERVE] = "observe", NULL};
static const char *const baselines[] = {"champion", NULL};
static const char *const rule_kinds[] = {[RULE_AT_LEAST] = "at_least",
                                         [RULE_AT_MOST] = "at_most",
                                         [RULE_NO_WORSE_THAN] = "no_worse_than",
                                         [RULE_BETTER_THAN] = "better_than"};

#define RULE(member) offsetof(struct gate_rule, member)
static const struct key rule_keys[] = {
    {.name = "metric",
     .kind = KEY_TEXT,
     .offset = RULE(metric),
     .must = "be a metric",
     .needed = "what the rule is about: accuracy, auc, logloss, ..."},
    {.name = "at_least", .kind = KEY_NUMBER, .offset = RULE(bound)},
    {.name = "at_most", .kind = KEY_NUMBER, .offset = RULE(bound)},
    {.name = "no_worse_than", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = baselines},
    {.name = "better_than", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = baselines},
    {.name = "by", .kind = KEY_NUMBER, .offset = RULE(by), .min = 0, .max = INFINITY},
    {.name = "by_interval", .kind = KEY_BOOL, .offset = RULE(by_interval)},
    {.name = "slice", .kind = KEY_TEXT, .offset = RULE(slice), .must = "be the name of a column"},
    {.name = "severity", .kind = KEY_WORD, .offset = RULE(severity), .words = severities},
    {0},
};

static int read_rule(struct reader *rd, const struct yaml_node *n, struct gate_rule *r)
{
    int n_kinds = 0;

    *r = (struct gate_rule){.line = n->line};
    if (pipeline__map(rd, n, rule_keys, r))
        return -1;
    r->metric = pipeline__metric_name(rd, r->metric);
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
    if (r->kind == RULE_AT_LEAST || r->kind == RULE_AT_MOST) {
        if (!yaml_is_null(yaml_get(n, "by")) || r->by_interval)
            return pipeline__fail(
                rd, n->line,
                "by and by_interval go with no_worse_than and better_than, not with %s",
                rule_kinds[r->kind]);
    } else {
        r->baseline = baselines[0];
    }
    return 0;
}

static int read_rules(struct reader *rd, const struct yaml_node *n, void *target)
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

/* automatic, manual, or {manual: {deadline: 24h}} */
static int read_approval(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const char *const words[] = {
        [APPROVAL_AUTOMATIC] = "automatic", [APPROVAL_MANUAL] = "manual", NULL};
    static const struct key word = {.kind = KEY_WORD, .offset = AT(approval), .words = words};
    static const struct key deadline_keys[] = {
        {.name = "deadline",
         .kind = KEY_DURATION,
         .offset = AT(approval_deadline_ms),
         .min = 1000,
         .max = 30 * DAY_MS},
        {0},
    };
    static const struct key keys[] = {
        {.name = "manual", .kind = KEY_MAP, .keys = deadline_keys, .needed = "{deadline: 24h}"},
        {0},
    };

    if (n->kind == YAML_SCALAR)
        return pipeline__value(rd, n, &word, target);
    if (pipeline__map(rd, n, keys, target))
        return -1;
    ((struct pipeline *)target)->approval = APPROVAL_MANUAL;
    return 0;
}

static const char *const inconclusives[] = {[INCONCLUSIVE_REJECT] = "reject",
                                            [INCONCLUSIVE_PROMOTE] = "promote",
                                            [INCONCLUSIVE_ASK] = "ask",
                                            NULL};

const struct key pipeline__gate_keys[] = {
    {.name = "min_rows", .kind = KEY_INT, .offset = AT(min_rows), .min = 1, .max = 1e9},
    {.name = "rules", .kind = KEY_CUSTOM, .read = read_rules},
    {.name = "approval", .kind = KEY_CUSTOM, .read = read_approval},
    {.name = "inconclusive", .kind = KEY_WORD, .offset = AT(inconclusive), .words = inconclusives},
    {0},
};

/* ---- checks: metrics against the task, columns against each other ---- */

static int fail_metric(struct reader *rd, const char *path, const char *subject, const char *name)
{
    const char *known[METRIC_COUNT];
    size_t n = 0;
    int rc;

    for (int i = METRIC_NONE + 1; i < METRIC_COUNT; i++)
        if (metric_fits((enum metric)i, rd->p->task))
            known[n++] = metric_example((enum metric)i);
    pipeline__leave(rd, 0);
    pipeline__enter(rd, path);
    rc = pipeline__unknown(rd, pipeline__given(rd, path)->line, subject, name, known, n);
    pipeline__leave(rd, 0);
    return rc;
}

static int check_metric(struct reader *rd, const char *path, const char *name)
{
    struct metric_spec m;
    struct err err = {0};
    char subject[96];
    int rc = metric_parse(name, &m, &err);

    if (rc && m.id == METRIC_NONE) {
        snprintf(subject, sizeof(subject), "unknown metric '%.48s'", name);
        return fail_metric(rd, path, subject, name);
    }
    if (!metric_fits(m.id, rd->p->task)) {
        snprintf(subject, sizeof(subject), "'%.48s' is no metric of a %s task", name,
                 task_str(rd->p->task));
        return fail_metric(rd, path, subject, "");
    }
    if (rc)
        return pipeline__fail_at(rd, path, "%s", err.msg);
    if (metric_needs_groups(m.id) && !rd->p->asides[ASIDE_GROUP])
        return pipeline__fail_at(rd, path,
                                 "'%s' ranks the rows of a group: name their column in "
                                 "evaluate.group",
                                 name);
    if (m.id == METRIC_COST && !rd->p->cost)
        return pipeline__fail_at(rd, path, "'cost' needs evaluate.cost, what wrong answers cost");
    return 0;
}

/* The values that a metric can take; a bound outside of them says always or never. */
static int check_bound(struct reader *rd, const char *path, const char *metric, double bound)
{
    struct metric_spec m;
    double low, high;

    if (metric_parse(metric, &m, NULL) || isnan(bound))
        return 0;
    metric_range(m.id, &low, &high);
    if (bound < low)
        return pipeline__fail_at(rd, path, "%s is never less than %g", metric, low);
    if (bound > high)
        return pipeline__fail_at(rd, path, "%s is never more than %g", metric, high);
    return 0;
}

static int check_rules(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    char path[64];

    if (!pipeline__given(rd, "gate.rules"))
        return 0;
    for (size_t i = 0; i < p->n_rules; i++) {
        const struct gate_rule *r = &p->rules[i];

        snprintf(path, sizeof(path), "gate.rules[%zu].metric", i);
        if (check_metric(rd, path, r->metric))
            return -1;
        snprintf(path, sizeof(path), "gate.rules[%zu].%s", i, rule_kinds[r->kind]);
        if (check_bound(rd, path, r->metric, r->bound))
            return -1;
        for (size_t j = 0; j < i; j++) {
            const struct gate_rule *s = &p->rules[j];

            if (s->kind == r->kind && s->severity == r->severity &&
                strcmp(s->metric, r->metric) == 0 &&
                strcmp(s->slice ? s->slice : "", r->slice ? r->slice : "") == 0 &&
                s->by_interval == r->by_interval)
                return pipeline__fail_at(rd, path,
                                         "the same rule as gate.rules[%zu]; one of them can go", j);
        }
    }
    return 0;
}

/* Slices are features: evaluate groups the rows of a snapshot by them. */
static int check_slice(struct reader *rd, const char *path, const char *column)
{
    const struct pipeline *p = rd->p;

    if (strcmp(column, p->label) == 0)
        return pipeline__fail_at(rd, path, "'%s' is the label", column);
    if (p->segment && strcmp(column, p->segment) == 0)
        return pipeline__fail_at(
            rd, path, "'%s' is the segment column: within a line it is always the same", column);
    for (size_t i = 0; i < p->n_columns; i++)
        if (strcmp(p->columns[i].name, column) == 0 && p->columns[i].type == COLUMN_IGNORE)
            return pipeline__fail_at(
                rd, path, "'%s' is ignored by contract.columns, so no snapshot has it", column);
    return 0;
}

static int check_slices(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    char path[64];

    for (size_t i = 0; i < p->n_slices; i++) {
        snprintf(path, sizeof(path), "evaluate.slices[%zu]", i);
        if (check_slice(rd, path, p->slices[i]))
            return -1;
    }
    for (size_t i = 0; i < p->n_rules; i++) {
        snprintf(path, sizeof(path), "gate.rules[%zu].slice", i);
        if (p->rules[i].slice && check_slice(rd, path, p->rules[i].slice))
            return -1;
    }
    return 0;
}

static int check_quality(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    bool has_least = !isnan(p->quality_at_least), has_most = !isnan(p->quality_at_most);
    struct metric_spec m;

    if (!p->quality_metric)
        return 0;
    if (check_metric(rd, "monitor.quality.metric", p->quality_metric) ||
        metric_parse(p->quality_metric, &m, rd->err))
        return -1;
    if (metric_needs_groups(m.id) || m.id == METRIC_COST)
        return pipeline__fail_at(rd, "monitor.quality.metric",
                                 "'%s' cannot be told from predictions and labels alone",
                                 p->quality_metric);
    rd->p->quality_metric = pipeline__metric_name(rd, p->quality_metric);
    if (has_least == has_most)
        return pipeline__fail_at(rd, "monitor.quality", "needs one of at_least and at_most");
    if (has_most && metric_higher_is_better(m.id))
        return pipeline__fail_at(rd, "monitor.quality.at_most",
                                 "%s is better when it is higher: at_least", p->quality_metric);
    if (has_least && !metric_higher_is_better(m.id))
        return pipeline__fail_at(rd, "monitor.quality.at_least",
                                 "%s is better when it is lower: at_most", p->quality_metric);
    if (check_bound(rd, "monitor.quality.at_least", p->quality_metric, p->quality_at_least))
        return -1;
    return check_bound(rd, "monitor.quality.at_most", p->quality_metric, p->quality_at_most);
}

int pipeline__check_gate(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    char path[64];

    if (pipeline__check_evaluate(rd))
        return -1;
    for (size_t i = 0; i < p->n_metrics; i++) {
        snprintf(path, sizeof(path), "evaluate.metrics[%zu]", i);
        if (check_metric(rd, path, p->metrics[i]))
            return -1;
    }
    if (check_rules(rd) || check_slices(rd))
        return -1;
    return check_quality(rd);
}
