/* train: the window, the trainer's parameters, the search over them, and the limits. */
#include <math.h>

#include "common/pipeline_internal.h"

#define AT(member) offsetof(struct pipeline, member)

static const char *const tree_methods[] = {"auto", "exact", "approx", "hist", NULL};
static const char *const grow_policies[] = {"depthwise", "lossguide", NULL};
static const char *const boosters[] = {"gbtree", "dart", NULL};
static const char *const sample_types[] = {"uniform", "weighted", NULL};
static const char *const normalize_types[] = {"tree", "forest", NULL};

/* What XGBoost 1.7 takes for trees on a CPU, less what the loop sets by itself: objective and
 * num_class (task), seed (train.seed), nthread.  XGBoost passes over a parameter that it does not
 * know with a warning that nobody reads; here it is an error.  `rounds` and `early_stopping` are
 * ours. Ranges are those of XGBoost's documentation. */
static const struct key xgboost_keys[] = {
    {.name = "rounds", .kind = KEY_INT, .min = 1, .max = 100000},
    {.name = "early_stopping", .kind = KEY_INT, .min = 0, .max = 100000},
    {.name = "eta", .kind = KEY_NUMBER, .min = 0, .max = 1, .is_open_min = true},
    {.name = "learning_rate", .kind = KEY_NUMBER, .min = 0, .max = 1, .is_open_min = true},
    {.name = "gamma", .kind = KEY_NUMBER, .min = 0, .max = INFINITY},
    {.name = "min_split_loss", .kind = KEY_NUMBER, .min = 0, .max = INFINITY},
    {.name = "max_depth", .kind = KEY_INT, .min = 0, .max = 64},
    {.name = "min_child_weight", .kind = KEY_NUMBER, .min = 0, .max = INFINITY},
    {.name = "max_delta_step", .kind = KEY_NUMBER, .min = 0, .max = INFINITY},
    {.name = "subsample", .kind = KEY_NUMBER, .min = 0, .max = 1, .is_open_min = true},
    {.name = "colsample_bytree", .kind = KEY_NUMBER, .min = 0, .max = 1, .is_open_min = true},
    {.name = "colsample_bylevel", .kind = KEY_NUMBER, .min = 0, .max = 1, .is_open_min = true},
    {.name = "colsample_bynode", .kind = KEY_NUMBER, .min = 0, .max = 1, .is_open_min = true},
    {.name = "lambda", .kind = KEY_NUMBER, .min = 0, .max = INFINITY},
    {.name = "reg_lambda", .kind = KEY_NUMBER, .min = 0, .max = INFINITY},
    {.name = "alpha", .kind = KEY_NUMBER, .min = 0, .max = INFINITY},
    {.name = "reg_alpha", .kind = KEY_NUMBER, .min = 0, .max = INFINITY},
    {.name = "scale_pos_weight",
     .kind = KEY_NUMBER,
     .min = 0,
     .max = INFINITY,
     .is_open_min = true},
    {.name = "base_score", .kind = KEY_NUMBER},
    {.name = "max_leaves", .kind = KEY_INT, .min = 0, .max = 1 << 20},
    {.name = "max_bin", .kind = KEY_INT, .min = 2, .max = 65536},
    {.name = "num_parallel_tree", .kind = KEY_INT, .min = 1, .max = 1000},
    {.name = "tree_method", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = tree_methods},
    {.name = "grow_policy", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = grow_policies},
    {.name = "booster", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = boosters},
    {.name = "monotone_constraints", .kind = KEY_TEXT},
    {.name = "interaction_constraints", .kind = KEY_TEXT},
    {.name = "rate_drop", .kind = KEY_NUMBER, .min = 0, .max = 1},
    {.name = "skip_drop", .kind = KEY_NUMBER, .min = 0, .max = 1},
    {.name = "sample_type", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = sample_types},
    {.name = "normalize_type",
     .kind = KEY_WORD,
     .offset = KEY_NOT_STORED,
     .words = normalize_types},
    {.name = "one_drop", .kind = KEY_INT, .min = 0, .max = 1},
    {0},
};

static int read_window(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key keys[] = {
        {.name = "snapshots",
         .kind = KEY_INT,
         .offset = AT(window_size),
         .min = 1,
         .max = PIPELINE_WINDOW_MAX},
        {.name = "rows", .kind = KEY_INT, .offset = AT(window_size), .min = 1, .max = 1e12},
        {0},
    };
    struct pipeline *p = target;

    if (n->kind == YAML_SCALAR && strcmp(n->scalar, "all") == 0) {
        p->window = WINDOW_ALL;
        p->window_size = 0;
        return 0;
    }
    if (n->kind != YAML_MAPPING)
        return pipeline__wrong(rd, n, "be {snapshots: N}, {rows: N} or all");
    if (n->n > 1 || (n->n == 1 && yaml_is_null(n->items[0])))
        return pipeline__fail(rd, n->line, "must be one of {snapshots: N}, {rows: N} or all");
    if (pipeline__map(rd, n, keys, p))
        return -1;
    if (yaml_get(n, "snapshots"))
        p->window = WINDOW_SNAPSHOTS;
    else if (yaml_get(n, "rows"))
        p->window = WINDOW_ROWS;
    return 0;
}

static int read_param(struct reader *rd, const struct yaml_node *n, const char *name,
                      struct param *ret)
{
    struct key text = {.kind = KEY_TEXT, .must = "be a number or a word"};
    double number = NAN;

    if (n->kind == YAML_SCALAR && !n->quoted && str_to_double(n->scalar, &number))
        number = NAN;
    *ret = (struct param){.name = name, .number = number};
    text.offset = offsetof(struct param, text);
    return pipeline__value(rd, n, &text, ret);
}

/* Names of params and axes: passed on to a trainer as names of files and arguments. */
static int param_name(struct reader *rd, const struct yaml_node *n, size_t i, const char **ret)
{
    if (!pipeline__is_word(n->keys[i]) || strlen(n->keys[i]) > PIPELINE_NAME_MAX)
        return pipeline__fail(
            rd, n->key_lines[i],
            "a parameter's name is 1 to %d of A-Z a-z 0-9 _ . -, beginning with a letter or _",
            PIPELINE_NAME_MAX);
    *ret = arena_strdup(&rd->p->arena, n->keys[i]);
    return 0;
}

static int read_params(struct reader *rd, const struct yaml_node *n, void *target)
{
    struct pipeline *p = target;
    struct param *params;

    if (n->kind != YAML_MAPPING)
        return pipeline__wrong(rd, n, "be a mapping of parameters");
    if (n->n > PIPELINE_MAX_PARAMS)
        return pipeline__fail(rd, n->line, "%zu parameters; at most %d", n->n, PIPELINE_MAX_PARAMS);
    params = arena_alloc(&p->arena, (n->n + 1) * sizeof(*params));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter(rd, n->keys[i]);
        const char *name = NULL;

        if (param_name(rd, n, i, &name) || read_param(rd, n->items[i], name, &params[i]))
            return -1;
        pipeline__leave(rd, mark);
    }
    p->params = params;
    p->n_params = n->n;
    return 0;
}

static int read_axis(struct reader *rd, const struct yaml_node *n, struct search_axis *axis)
{
    struct param *values;

    if (n->kind != YAML_SEQUENCE || n->n < 1 || n->n > PIPELINE_MAX_VALUES)
        return pipeline__fail(rd, n->line, "must be a list of 1 to %d values to try",
                              PIPELINE_MAX_VALUES);
    values = arena_alloc(&rd->p->arena, n->n * sizeof(*values));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter_index(rd, i);

        if (read_param(rd, n->items[i], axis->name, &values[i]))
            return -1;
        for (size_t j = 0; j < i; j++)
            if (strcmp(values[j].text, values[i].text) == 0)
                return pipeline__fail(rd, n->items[i]->line, "'%s' is listed twice",
                                      values[i].text);
        pipeline__leave(rd, mark);
    }
    axis->values = values;
    axis->n = n->n;
    return 0;
}

static int read_over(struct reader *rd, const struct yaml_node *n, void *target)
{
    struct pipeline *p = target;
    struct search_axis *axes;

    if (n->kind != YAML_MAPPING || n->n < 1 || n->n > PIPELINE_MAX_AXES)
        return pipeline__fail(
            rd, n->line,
            "must be a mapping of 1 to %d parameters, each with a list of values to try",
            PIPELINE_MAX_AXES);
    axes = arena_alloc(&p->arena, n->n * sizeof(*axes));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter(rd, n->keys[i]);

        if (param_name(rd, n, i, &axes[i].name) || read_axis(rd, n->items[i], &axes[i]))
            return -1;
        pipeline__leave(rd, mark);
    }
    p->axes = axes;
    p->n_axes = n->n;
    return 0;
}

static int read_search_by(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const char *const words[] = {"grid", "random", NULL};
    static const struct key word = {.kind = KEY_WORD, .words = words};
    int v = 0;

    if (pipeline__value(rd, n, &word, &v))
        return -1;
    ((struct pipeline *)target)->search = v ? SEARCH_RANDOM : SEARCH_GRID;
    return 0;
}

static const struct key search_keys[] = {
    {.name = "by", .kind = KEY_CUSTOM, .read = read_search_by},
    {.name = "trials", .kind = KEY_INT, .offset = AT(trials), .min = 1, .max = PIPELINE_MAX_TRIALS},
    {.name = "over",
     .kind = KEY_CUSTOM,
     .read = read_over,
     .needed = "which parameters to try, such as {max_depth: [4, 6, 8]}"},
    {0},
};

static const struct key limit_keys[] = {
    {.name = "wall",
     .kind = KEY_DURATION,
     .offset = AT(wall_ms),
     .min = 1000,
     .max = 7 * 86400000.0},
    {.name = "cpu", .kind = KEY_DURATION, .offset = AT(cpu_ms), .min = 1000, .max = 7 * 86400000.0},
    {.name = "memory",
     .kind = KEY_SIZE,
     .offset = AT(memory_bytes),
     .min = 64.0 * (1 << 20),
     .max = 1024.0 * (1 << 30)},
    {0},
};

const struct key pipeline__train_keys[] = {
    {.name = "trainer",
     .kind = KEY_TEXT,
     .offset = AT(trainer),
     .is_valid = pipeline_name_is_valid,
     .must = "be xgboost or a name that the train agent's operator allows"},
    {.name = "window", .kind = KEY_CUSTOM, .read = read_window},
    {.name = "params", .kind = KEY_CUSTOM, .read = read_params},
    {.name = "search", .kind = KEY_MAP, .keys = search_keys},
    {.name = "seed", .kind = KEY_INT, .offset = AT(seed), .min = 0, .max = 9007199254740992.0},
    {.name = "limits", .kind = KEY_MAP, .keys = limit_keys},
    {0},
};

/* ---- checks ---- */

static int check_xgboost_param(struct reader *rd, const char *path, const struct yaml_node *n,
                               const char *name)
{
    const char *known[ARRAY_LEN(xgboost_keys)];
    const struct key *k = xgboost_keys;
    size_t n_known = 0;
    union {
        double number;
        int64_t integer;
        const char *text;
    } unused;

    while (k->name && strcmp(k->name, name) != 0)
        k++;
    pipeline__leave(rd, 0);
    pipeline__enter(rd, path);
    if (!k->name) {
        for (k = xgboost_keys; k->name; k++)
            known[n_known++] = k->name;
        return pipeline__unknown(rd, n->line, "unknown XGBoost parameter", name, known, n_known);
    }
    return pipeline__value(rd, n, k, &unused);
}

static int check_xgboost(struct reader *rd)
{
    const struct yaml_node *params = pipeline__given(rd, "train.params"),
                           *over = pipeline__given(rd, "train.search.over");
    char path[PIPELINE_PATH_SIZE];

    for (size_t i = 0; params && i < params->n; i++) {
        snprintf(path, sizeof(path), "train.params.%s", params->keys[i]);
        if (check_xgboost_param(rd, path, params->items[i], params->keys[i]))
            return -1;
    }
    for (size_t i = 0; over && i < over->n; i++) {
        for (size_t j = 0; j < over->items[i]->n; j++) {
            snprintf(path, sizeof(path), "train.search.over.%s[%zu]", over->keys[i], j);
            if (check_xgboost_param(rd, path, over->items[i]->items[j], over->keys[i]))
                return -1;
        }
    }
    return 0;
}

static bool has_early_stopping(const struct pipeline *p)
{
    for (size_t i = 0; i < p->n_params; i++)
        if (strcmp(p->params[i].name, "early_stopping") == 0 && p->params[i].number > 0)
            return true;
    return false;
}

static int check_search(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    bool has_by = pipeline__given(rd, "train.search.by") != NULL;
    double grid = 1;

    if (!p->n_axes)
        return 0;
    for (size_t i = 0; i < p->n_axes; i++)
        grid *= (double)p->axes[i].n;
    if (has_by && p->search == SEARCH_GRID && grid > PIPELINE_MAX_TRIALS)
        return pipeline__fail_at(
            rd, "train.search.over",
            "a grid of %.0f trials; at most %d. Take away values, or say by: random", grid,
            PIPELINE_MAX_TRIALS);
    if (has_by && p->search == SEARCH_GRID && pipeline__given(rd, "train.search.trials") &&
        (double)p->trials < grid)
        return pipeline__fail_at(rd, "train.search.trials",
                                 "the grid has %.0f points: leave trials out, or say by: random",
                                 grid);
    if (p->valid <= 0)
        return pipeline__fail_at(
            rd, "split.valid",
            "must be more than 0: the trials of train.search are compared on it");
    return 0;
}

int pipeline__check_train(struct reader *rd)
{
    const struct pipeline *p = rd->p;

    if (strcmp(p->trainer, "xgboost") == 0 && check_xgboost(rd))
        return -1;
    pipeline__leave(rd, 0);
    if (p->valid + p->test >= 1)
        return pipeline__fail_at(
            rd, "split",
            "valid %g and test %g leave nothing to train on: together they must be less than 1",
            p->valid, p->test);
    if (p->valid <= 0 && has_early_stopping(p))
        return pipeline__fail_at(rd, "train.params.early_stopping",
                                 "needs split.valid of more than 0");
    return check_search(rd);
}
