/* evaluate: what is measured, on which rows they count how much, and what wrong answers cost. */
#include <math.h>

#include "common/digest.h"
#include "common/metrics.h"
#include "common/pipeline_internal.h"

#define AT(member) offsetof(struct pipeline, member)
#define PIPELINE_MAX_COSTS 10000 /* pairs of classes in evaluate.cost.matrix: a hundred classes */

/* The one form that events carry and rules are matched by; what is no metric stays as it is, for
 * check_metric to refuse. */
const char *pipeline__metric_name(struct reader *rd, const char *name)
{
    char text[METRIC_NAME_SIZE];
    struct metric_spec m;

    if (metric_parse(name, &m, NULL))
        return name;
    metric_str(&m, text);
    return strcmp(text, name) == 0 ? name : arena_strdup(&rd->p->arena, text);
}

static int read_metrics(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key item = {.kind = KEY_TEXT, .must = "be a metric"};
    struct pipeline *p = target;
    const char *const *names;
    const char **list;

    if (pipeline__texts(rd, n, &item, 1, PIPELINE_MAX_METRICS, &names, &p->n_metrics))
        return -1;
    list = arena_alloc(&p->arena, p->n_metrics * sizeof(*list));
    for (size_t i = 0; i < p->n_metrics; i++) {
        list[i] = pipeline__metric_name(rd, names[i]);
        for (size_t j = 0; j < i; j++)
            if (strcmp(list[i], list[j]) == 0)
                return pipeline__fail(rd, n->items[i]->line, "'%s' and '%s' are the same metric",
                                      names[j], names[i]);
    }
    p->metrics = list;
    return 0;
}

static int read_slices(struct reader *rd, const struct yaml_node *n, void *target)
{
    struct pipeline *p = target;

    return pipeline__texts(rd, n, &pipeline__column_name, 0, PIPELINE_MAX_SLICES, &p->slices,
                           &p->n_slices);
}

/* ---- cost ---- */

static int read_cell(struct reader *rd, const struct yaml_node *n, double *ret)
{
    *ret = NAN;
    if (n->kind != YAML_SCALAR ||
        (strcmp(n->scalar, "value") != 0 && str_to_double(n->scalar, ret)))
        return pipeline__wrong(rd, n, "be a number, or the word value: the row's value");
    return 0;
}

static size_t count_cells(const struct yaml_node *n)
{
    size_t cells = 0;

    for (size_t i = 0; i < n->n; i++)
        cells += n->items[i]->n;
    return cells;
}

static int read_costs_of(struct reader *rd, const struct yaml_node *n, const char *label,
                         struct cost *c, struct answer_cost *answers)
{
    if (n->kind != YAML_MAPPING)
        return pipeline__wrong(rd, n, "be a mapping of answers to what they cost");
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter(rd, n->keys[i]);
        struct answer_cost *a = &answers[c->n];

        a->label = arena_strdup(&rd->p->arena, label);
        a->answer = arena_strdup(&rd->p->arena, n->keys[i]);
        if (read_cell(rd, n->items[i], &a->cost))
            return -1;
        c->n++;
        pipeline__leave(rd, mark);
    }
    return 0;
}

/* matrix: {fraud: {honest: value}, honest: {fraud: 5}}: label, answer, cost */
static int read_matrix(struct reader *rd, const struct yaml_node *n, void *target)
{
    struct cost *c = target;
    struct answer_cost *answers;

    if (n->kind != YAML_MAPPING)
        return pipeline__wrong(rd, n, "be a mapping of classes to mappings of answers");
    if (count_cells(n) > PIPELINE_MAX_COSTS)
        return pipeline__fail(rd, n->line, "has more than %d costs", PIPELINE_MAX_COSTS);
    answers = arena_alloc(&rd->p->arena, (count_cells(n) + 1) * sizeof(*answers));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter(rd, n->keys[i]);

        if (read_costs_of(rd, n->items[i], n->keys[i], c, answers))
            return -1;
        pipeline__leave(rd, mark);
    }
    c->answers = answers;
    return 0;
}

static int read_cost(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key keys[] = {
        {.name = "value",
         .kind = KEY_TEXT,
         .offset = offsetof(struct cost, value),
         .must = "be the name of a column"},
        {.name = "matrix", .kind = KEY_CUSTOM, .read = read_matrix},
        {0},
    };
    struct pipeline *p = target;
    struct cost *c = arena_alloc(&p->arena, sizeof(*c));

    if (pipeline__map(rd, n, keys, c))
        return -1;
    p->cost = c;
    p->asides[ASIDE_VALUE] = c->value;
    return 0;
}

static bool is_digest(const char *text)
{
    return strlen(text) == DIGEST_HEX_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

static const char
    *const intervals[] = {[INTERVALS_AUTO] = "auto",
                          [INTERVALS_BOOTSTRAP] = "bootstrap",
                          [INTERVALS_CLOSED] = "closed",
                          NULL},
           *const corrections[] =
               {[CORRECTION_NONE] = "none", [CORRECTION_BONFERRONI] = "bonferroni", NULL},
           *const sequentials[] = {[SEQUENTIAL_OFF] = "off",
                                   [SEQUENTIAL_ATTEMPTS] = "attempts",
                                   [SEQUENTIAL_ANYTIME] = "anytime",
                                   NULL};

const struct key pipeline__evaluate_keys[] = {
    {.name = "metrics", .kind = KEY_CUSTOM, .read = read_metrics},
    {.name = "slices", .kind = KEY_CUSTOM, .read = read_slices},
    {.name = "weight",
     .kind = KEY_TEXT,
     .offset = AT(asides[ASIDE_WEIGHT]),
     .must = "be the name of a column"},
    {.name = "group",
     .kind = KEY_TEXT,
     .offset = AT(asides[ASIDE_GROUP]),
     .must = "be the name of a column"},
    {.name = "cluster",
     .kind = KEY_TEXT,
     .offset = AT(asides[ASIDE_CLUSTER]),
     .must = "be the name of a column"},
    {.name = "cost", .kind = KEY_CUSTOM, .read = read_cost},
    {.name = "golden",
     .kind = KEY_TEXT,
     .offset = AT(golden),
     .is_valid = is_digest,
     .must = "be a snapshot's digest, 64 lower-case hex digits"},
    {.name = "interval", .kind = KEY_WORD, .offset = AT(interval), .words = intervals},
    {.name = "correction", .kind = KEY_WORD, .offset = AT(correction), .words = corrections},
    {.name = "sequential", .kind = KEY_WORD, .offset = AT(sequential), .words = sequentials},
    {.name = "confidence", .kind = KEY_NUMBER, .offset = AT(confidence), .min = 0.5, .max = 0.999},
    {.name = "bootstrap_rounds",
     .kind = KEY_INT,
     .offset = AT(bootstrap_rounds),
     .min = 50,
     .max = 10000},
    {.name = "test_snapshots",
     .kind = KEY_INT,
     .offset = AT(test_snapshots),
     .min = 0,
     .max = PIPELINE_WINDOW_MAX},
    {0},
};

/* ---- checks ---- */

static bool is_class(const struct pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_classes; i++)
        if (strcmp(p->classes[i], name) == 0)
            return true;
    return p->n_classes == 0;
}

static int check_cost(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    const struct cost *c = p->cost;
    bool wants_value = c && c->n == 0;

    if (!c)
        return 0;
    if (p->task == TASK_REGRESSION)
        return pipeline__fail_at(rd, "evaluate.cost", "a regression has no classes to mistake");
    if (!c->value && c->n == 0)
        return pipeline__fail_at(rd, "evaluate.cost", "needs value, matrix or both");
    for (size_t i = 0; i < c->n; i++) {
        const struct answer_cost *a = &c->answers[i];

        wants_value |= isnan(a->cost);
        if (!is_class(p, a->label) || !is_class(p, a->answer))
            return pipeline__fail_at(rd, "evaluate.cost.matrix", "'%s' is not one of classes",
                                     is_class(p, a->label) ? a->answer : a->label);
    }
    if (wants_value && !c->value)
        return pipeline__fail_at(rd, "evaluate.cost.matrix",
                                 "says value: name the column in evaluate.cost.value");
    if (!wants_value)
        return c->value ? pipeline__fail_at(rd, "evaluate.cost.value",
                                            "no entry of evaluate.cost.matrix says value")
                        : 0;
    return 0;
}

int pipeline__check_evaluate(struct reader *rd)
{
    static const char *const paths[ASIDE_COUNT] = {[ASIDE_WEIGHT] = "evaluate.weight",
                                                   [ASIDE_GROUP] = "evaluate.group",
                                                   [ASIDE_VALUE] = "evaluate.cost.value",
                                                   [ASIDE_CLUSTER] = "evaluate.cluster"};

    for (size_t i = 0; i < ASIDE_COUNT; i++)
        if (rd->p->asides[i] && strcmp(rd->p->asides[i], rd->p->label) == 0)
            return pipeline__fail_at(rd, paths[i], "'%s' is the label", rd->p->label);
    return check_cost(rd);
}
