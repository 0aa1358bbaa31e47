/* gate: what a candidate must show. */
#include <math.h>

#include "common/metrics.h"
#include "common/pipeline_internal.h"

#define AT(member) offsetof(struct pipeline, member)
#define DAY_MS 86400000.0

/* people: {ann: risk, bob: data}, names with their roles */
static int read_people(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key role = {.kind = KEY_TEXT, .offset = offsetof(struct approver, role)};
    struct pipeline *p = target;
    struct approver *all;

    if (n->kind != YAML_MAPPING || n->n < 1 || n->n > PIPELINE_MAX_APPROVERS)
        return pipeline__fail(rd, n->line, "must be 1 to %d names with a role each: {ann: risk}",
                              PIPELINE_MAX_APPROVERS);
    all = arena_alloc(&p->arena, n->n * sizeof(*all));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter(rd, n->keys[i]);

        all[i] = (struct approver){.name = arena_strdup(&p->arena, n->keys[i])};
        if (pipeline__value(rd, n->items[i], &role, &all[i]))
            return -1;
        pipeline__leave(rd, mark);
    }
    p->approvers = all;
    p->n_approvers = n->n;
    return 0;
}

/* automatic, manual, or {manual: {deadline: 24h, people: {ann: risk, bob: data}, approvals: 2}} */
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
        {.name = "people", .kind = KEY_CUSTOM, .read = read_people},
        {.name = "approvals", .kind = KEY_INT, .offset = AT(approvals), .min = 1, .max = 2},
        {.name = "expires",
         .kind = KEY_DURATION,
         .offset = AT(approval_expires_ms),
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
    struct pipeline *p = target;
    p->approval = APPROVAL_MANUAL;
    if (p->n_approvers && (int64_t)p->n_approvers < p->approvals)
        return pipeline__fail(rd, n->line, "%lld approvals are asked of %zu people",
                              (long long)p->approvals, p->n_approvers);
    return 0;
}

/* reject, promote, ask, or {wait: {rows: 500, deadline: 24h, then: ask}} */
static int read_inconclusive(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const char *const words[] = {[INCONCLUSIVE_REJECT] = "reject",
                                        [INCONCLUSIVE_PROMOTE] = "promote",
                                        [INCONCLUSIVE_ASK] = "ask",
                                        NULL};
    static const struct key word = {.kind = KEY_WORD, .offset = AT(inconclusive), .words = words};
    static const struct key wait_keys[] = {
        {.name = "rows",
         .kind = KEY_INT,
         .offset = AT(wait_rows),
         .min = 1,
         .max = 1e9,
         .needed = "how many more test rows are waited for"},
        {.name = "deadline",
         .kind = KEY_DURATION,
         .offset = AT(wait_deadline_ms),
         .min = 1000,
         .max = 30 * DAY_MS,
         .needed = "until when they are waited for"},
        {.name = "then", .kind = KEY_WORD, .offset = AT(wait_then), .words = words},
        {0},
    };
    static const struct key keys[] = {
        {.name = "wait",
         .kind = KEY_MAP,
         .keys = wait_keys,
         .needed = "{rows: 500, deadline: 24h, then: ask}"},
        {0},
    };

    if (n->kind == YAML_SCALAR)
        return pipeline__value(rd, n, &word, target);
    if (pipeline__map(rd, n, keys, target))
        return -1;
    ((struct pipeline *)target)->inconclusive = INCONCLUSIVE_WAIT;
    return 0;
}

static const struct key ratchet_keys[] = {
    {.name = "metric",
     .kind = KEY_TEXT,
     .offset = AT(ratchet_metric),
     .must = "be a metric",
     .needed = "whose steps are added up"},
    {.name = "by",
     .kind = KEY_NUMBER,
     .offset = AT(ratchet_by),
     .min = 0,
     .max = INFINITY,
     .needed = "how much they may add up to"},
    {.name = "window",
     .kind = KEY_DURATION,
     .offset = AT(ratchet_window_ms),
     .min = 1000,
     .max = 3650 * DAY_MS},
    {.name = "generations",
     .kind = KEY_INT,
     .offset = AT(ratchet_generations),
     .min = 1,
     .max = PIPELINE_RATCHET_MAX},
    {0},
};

/* gate.ratchet: {metric: auc, by: 0.02, window: 30d} or {..., generations: 20} */
static int read_ratchet(struct reader *rd, const struct yaml_node *n, void *target)
{
    struct pipeline *p = target;

    if (pipeline__map(rd, n, ratchet_keys, p))
        return -1;
    if (!p->ratchet_window_ms == !p->ratchet_generations)
        return pipeline__fail(rd, n->line, "needs one of window (30d) and generations (20)");
    p->ratchet_metric = pipeline__metric_name(rd, p->ratchet_metric);
    return 0;
}

const struct key pipeline__gate_keys[] = {
    {.name = "min_rows", .kind = KEY_INT, .offset = AT(min_rows), .min = 1, .max = 1e9},
    {.name = "rules", .kind = KEY_CUSTOM, .read = pipeline__rules},
    {.name = "approval", .kind = KEY_CUSTOM, .read = read_approval},
    {.name = "inconclusive", .kind = KEY_CUSTOM, .read = read_inconclusive},
    {.name = "ratchet", .kind = KEY_CUSTOM, .read = read_ratchet},
    {.name = "freeze", .kind = KEY_CUSTOM, .read = pipeline__freezes},
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

int pipeline__check_metric(struct reader *rd, const char *path, const char *name)
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
int pipeline__check_bound(struct reader *rd, const char *path, const char *metric, double bound)
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
        const char *slice = p->rules[i].slice;

        snprintf(path, sizeof(path), "gate.rules[%zu].slice", i);
        if (slice && strcmp(slice, RULE_EVERY_SLICE) == 0 && !p->n_slices)
            return pipeline__fail_at(rd, path,
                                     "every slice of which columns? name them in evaluate.slices");
        if (slice && strcmp(slice, RULE_EVERY_SLICE) != 0 && check_slice(rd, path, slice))
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
    if (pipeline__check_metric(rd, "monitor.quality.metric", p->quality_metric) ||
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
    if (pipeline__check_bound(rd, "monitor.quality.at_least", p->quality_metric,
                              p->quality_at_least))
        return -1;
    return pipeline__check_bound(rd, "monitor.quality.at_most", p->quality_metric,
                                 p->quality_at_most);
}

int pipeline__check_gate(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    char path[64];

    if (pipeline__check_evaluate(rd))
        return -1;
    for (size_t i = 0; i < p->n_metrics; i++) {
        snprintf(path, sizeof(path), "evaluate.metrics[%zu]", i);
        if (pipeline__check_metric(rd, path, p->metrics[i]))
            return -1;
    }
    if (p->ratchet_metric && pipeline__check_metric(rd, "gate.ratchet.metric", p->ratchet_metric))
        return -1;
    if (pipeline__check_rules(rd) || check_slices(rd))
        return -1;
    return check_quality(rd);
}
