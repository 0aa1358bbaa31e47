/* The structure of a model text, so far as XGBoost 1.7 relies on it without looking: of 300 damaged
 * models 43 ended its process.  Every index that prediction follows is checked here: children,
 * features, categories, classes; each node that can be reached is reached once, so that every walk
 * ends at a leaf. */
#include <math.h>

#include "common/xgb_doc.h"
#include "common/xgb_internal.h"

enum {
    MAX_NODES = 1 << 24,    /* of one tree */
    MAX_CATEGORY = 1 << 20, /* XGBoost allocates one bit for each value up to the greatest */
    MAX_CLASSES = 1 << 16,
    BASE_SCORE_CHARS = 16 * MAX_CLASSES,
};

struct checker {
    struct arena arena;
    struct xgb_facts facts;
    size_t tree; /* for messages */
    struct err *err;
};

static int bad(const struct checker *c, const char *what)
{
    err_set(c->err, ERR_CODEC, NEXT_REJECT, "model: %s", what);
    return -1;
}

static int bad_tree(const struct checker *c, const char *what)
{
    err_set(c->err, ERR_CODEC, NEXT_REJECT, "model: tree %zu: %s", c->tree, what);
    return -1;
}

/* ---- one tree ---- */

struct tree {
    size_t n_nodes;
    struct doc left, right, parent, index, split_type, categories, cat_nodes, cat_segments,
        cat_sizes;
};

static int take_arrays(struct checker *c, const struct doc *t, struct tree *ret)
{
    struct doc unused;
    const struct {
        const char *key;
        struct doc *at;
        bool per_node;
    } arrays[] = {
        {"left_children", &ret->left, true},
        {"right_children", &ret->right, true},
        {"parents", &ret->parent, true},
        {"split_indices", &ret->index, true},
        {"split_type", &ret->split_type, true},
        {"split_conditions", &unused, true},
        {"default_left", &unused, true},
        {"base_weights", &unused, true},
        {"loss_changes", &unused, true},
        {"sum_hessian", &unused, true},
        {"categories", &ret->categories, false},
        {"categories_nodes", &ret->cat_nodes, false},
        {"categories_segments", &ret->cat_segments, false},
        {"categories_sizes", &ret->cat_sizes, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(arrays); i++) {
        if (!doc_vector(doc_get(t, arrays[i].key), &c->arena, arrays[i].at))
            return bad_tree(c, "an array is missing or holds other than numbers");
        if (arrays[i].per_node && arrays[i].at->n != ret->n_nodes)
            return bad_tree(c, "an array has another length than the tree has nodes");
    }
    return 0;
}

static bool is_index(double v, size_t n)
{
    return v >= 0 && v < (double)n && v == floor(v);
}

/* Marks node `child` of `parent` as reached; false when it is no index, was reached before or has
 * another parent. */
static bool reach(const struct tree *t, uint8_t *seen, double child, size_t parent, uint32_t *ret)
{
    if (!is_index(child, t->n_nodes) || child == 0 || seen[(size_t)child])
        return false;
    if (doc_at(&t->parent, (size_t)child) != (double)parent)
        return false;
    seen[(size_t)child] = 1;
    *ret = (uint32_t)child;
    return true;
}

static int walk(struct checker *c, const struct tree *t)
{
    uint8_t *seen = xcalloc(t->n_nodes, 1);
    uint32_t *todo = xmalloc(t->n_nodes * sizeof(*todo));
    size_t n_todo = 1;
    const char *wrong = NULL;

    todo[0] = 0;
    seen[0] = 1;
    while (n_todo > 0 && !wrong) {
        size_t node = todo[--n_todo];
        double left = doc_at(&t->left, node), right = doc_at(&t->right, node);

        if (left == -1 && right == -1)
            continue;
        if (!reach(t, seen, left, node, &todo[n_todo]) ||
            !reach(t, seen, right, node, &todo[n_todo + 1]))
            wrong = "children that are no nodes of it, or reached twice";
        else if (!is_index(doc_at(&t->index, node), c->facts.n_features))
            wrong = "a split on a feature that the model does not have";
        else
            n_todo += 2;
    }
    free(seen);
    free(todo);
    return wrong ? bad_tree(c, wrong) : 0;
}

static int check_categories(struct checker *c, const struct tree *t)
{
    size_t n = t->cat_nodes.n, n_splits = 0;
    double last = -1;

    if (t->cat_segments.n != n || t->cat_sizes.n != n)
        return bad_tree(c, "arrays of categories of different lengths");
    for (size_t i = 0; i < n; i++) {
        double node = doc_at(&t->cat_nodes, i), from = doc_at(&t->cat_segments, i),
               size = doc_at(&t->cat_sizes, i);

        if (!is_index(node, t->n_nodes) || node <= last ||
            doc_at(&t->split_type, (size_t)node) != 1)
            return bad_tree(c, "categories of a node that has none");
        if (!is_index(from, t->categories.n + 1) || !is_index(size, t->categories.n + 1) ||
            size < 1 || from + size > (double)t->categories.n)
            return bad_tree(c, "categories beyond the end of their array");
        last = node;
    }
    for (size_t i = 0; i < t->categories.n; i++)
        if (!is_index(doc_at(&t->categories, i), MAX_CATEGORY))
            return bad_tree(c, "a category that is no code");
    for (size_t i = 0; i < t->n_nodes; i++) {
        double type = doc_at(&t->split_type, i);

        if (type != 0 && type != 1)
            return bad_tree(c, "a split of unknown type");
        n_splits += type == 1;
    }
    return n_splits == n ? 0 : bad_tree(c, "a split by category without its categories");
}

static int check_tree(struct checker *c, const struct doc *t)
{
    const struct doc *param = doc_get(t, "tree_param");
    struct tree tree = {0};
    size_t n_features, deleted, leaf = 1;

    if (!doc_count(doc_get(param, "num_nodes"), &tree.n_nodes) || tree.n_nodes < 1 ||
        tree.n_nodes > MAX_NODES)
        return bad_tree(c, "number of nodes is missing or wrong");
    if (!doc_count(doc_get(param, "num_feature"), &n_features) || n_features != c->facts.n_features)
        return bad_tree(c, "another number of features than the model");
    if (!doc_count(doc_get(param, "num_deleted"), &deleted) || deleted >= tree.n_nodes)
        return bad_tree(c, "number of deleted nodes is missing or wrong");
    if (doc_get(param, "size_leaf_vector") &&
        (!doc_count(doc_get(param, "size_leaf_vector"), &leaf) || leaf > 1))
        return bad_tree(c, "leaves of several values are not supported");
    if (take_arrays(c, t, &tree) || walk(c, &tree))
        return -1;
    return check_categories(c, &tree);
}

/* ---- the ensemble ---- */

static int check_trees(struct checker *c, const struct doc *model)
{
    const struct doc *trees = doc_get(model, "trees"),
                     *param = doc_get(model, "gbtree_model_param");
    size_t n, parallel = 1, outputs = c->facts.n_classes > 1 ? c->facts.n_classes : 1;
    struct doc info;

    if (!doc_count(doc_get(param, "num_trees"), &n) || !trees || trees->n != n ||
        (n > 0 && trees->kind != DOC_LIST))
        return bad(c, "another number of trees than it says");
    if (doc_get(param, "num_parallel_tree") &&
        (!doc_count(doc_get(param, "num_parallel_tree"), &parallel) || parallel < 1))
        return bad(c, "num_parallel_tree is wrong");
    if (n % (parallel * outputs) != 0)
        return bad(c, "trees do not fill the last round");
    if (!doc_vector(doc_get(model, "tree_info"), &c->arena, &info) || info.n != n)
        return bad(c, "tree_info is missing or of another length than the trees");
    for (size_t i = 0; i < n; i++)
        if (!is_index(doc_at(&info, i), outputs))
            return bad(c, "a tree of a class that the model does not have");
    if (doc_get(doc_get(model, "cats"), "enc") && doc_get(doc_get(model, "cats"), "enc")->n > 0)
        return bad(c, "categories are coded inside the model, which libxgboost 1.7 does not know; "
                      "train on plain codes");
    c->facts.n_trees = n;
    for (const struct doc *t = trees->child; t; t = t->next, c->tree++)
        if (check_tree(c, t))
            return -1;
    return 0;
}

static int check_booster(struct checker *c, const struct doc *booster)
{
    const struct doc *name = doc_get(booster, "name");
    struct doc drop;

    if (!name || name->kind != DOC_STRING)
        return bad(c, "gradient_booster is missing or wrong");
    if (slice_eq_str(name->text, "gbtree"))
        return check_trees(c, doc_get(booster, "model"));
    if (!slice_eq_str(name->text, "dart"))
        return bad(c, "its booster is neither gbtree nor dart");
    if (check_trees(c, doc_get(doc_get(booster, "gbtree"), "model")))
        return -1;
    if (!doc_vector(doc_get(booster, "weight_drop"), &c->arena, &drop) ||
        drop.n != c->facts.n_trees)
        return bad(c, "weight_drop is missing or of another length than the trees");
    return 0;
}

/* A number, or a list of one for each class: equal ones are one. */
static int check_base_score(struct checker *c, const struct doc *d)
{
    struct xgb_facts *f = &c->facts;
    char *text, *rest;
    double v;

    if (!d || d->kind != DOC_STRING || d->text.n < 1 || d->text.n > BASE_SCORE_CHARS)
        return bad(c, "base_score is missing or wrong");
    text = arena_strndup(&c->arena, d->text.p, d->text.n);
    if (text[0] == '[' && text[d->text.n - 1] == ']') {
        f->base_score_list_n = d->text.n;
        text[d->text.n - 1] = '\0';
        text++;
        rest = strchr(text, ',');
        if (rest)
            *rest++ = '\0';
        for (size_t n = strlen(text); rest && *rest; rest += n + (rest[n] == ','))
            if (strncmp(rest, text, n) != 0 || (rest[n] && rest[n] != ','))
                return bad(c, "base_score is not the same for all classes, and libxgboost 1.7 "
                              "knows only one; set it in the trainer, base_score=0.5 say");
    }
    if (!str_copy(f->base_score, sizeof(f->base_score), text) || str_to_double(f->base_score, &v))
        return bad(c, "base_score is no number");
    return 0;
}

static int check_objective(struct checker *c, const struct doc *objective)
{
    const struct doc *name = doc_get(objective, "name");
    size_t n;

    if (!name || name->kind != DOC_STRING || name->text.n >= sizeof(c->facts.objective))
        return bad(c, "objective is missing or wrong");
    memcpy(c->facts.objective, name->text.p, name->text.n);
    if (strncmp(c->facts.objective, "multi:", 6) != 0)
        return c->facts.n_classes > 1 ? bad(c, "classes without an objective of several classes")
                                      : 0;
    if (!doc_count(doc_get(doc_get(objective, "softmax_multiclass_param"), "num_class"), &n) ||
        n != c->facts.n_classes || n < 2)
        return bad(c, "its objective has another number of classes than the model");
    return 0;
}

static int check_learner(struct checker *c, const struct doc *learner)
{
    const struct doc *param = doc_get(learner, "learner_model_param");
    size_t targets = 1;

    if (!doc_count(doc_get(param, "num_feature"), &c->facts.n_features) || c->facts.n_features < 1)
        return bad(c, "num_feature is missing or wrong");
    if (!doc_count(doc_get(param, "num_class"), &c->facts.n_classes) ||
        c->facts.n_classes > MAX_CLASSES)
        return bad(c, "num_class is missing or wrong");
    if (doc_get(param, "num_target") &&
        (!doc_count(doc_get(param, "num_target"), &targets) || targets != 1))
        return bad(c, "several targets are not supported");
    if (check_base_score(c, doc_get(param, "base_score")) ||
        check_objective(c, doc_get(learner, "objective")))
        return -1;
    return check_booster(c, doc_get(learner, "gradient_booster"));
}

int xgb__inspect(struct slice model, struct xgb_facts *ret, struct err *err)
{
    struct checker c = {.err = err};
    struct doc *root = NULL, version;
    int rc = doc_parse(model, &c.arena, &root, err);

    if (rc == 0 && (!doc_vector(doc_get(root, "version"), &c.arena, &version) || version.n != 3))
        rc = bad(&c, "version is missing or wrong");
    if (rc == 0)
        rc = check_learner(&c, doc_get(root, "learner"));
    arena_fini(&c.arena);
    if (rc == 0)
        *ret = c.facts;
    return rc;
}

int xgb_check(struct slice model, size_t n_features, struct err *err)
{
    struct xgb_facts facts;

    if (xgb__inspect(model, &facts, err))
        return -1;
    if (n_features && facts.n_features != n_features)
        return err_set(err, ERR_CODEC, NEXT_REJECT, "model: made for %zu features, not %zu",
                       facts.n_features, n_features);
    return 0;
}

int xgb__plain_base_score(struct slice model, const struct xgb_facts *facts, struct buf *ret,
                          struct err *err)
{
    static const char json_key[] = "\"base_score\"",
                      ubj_key[] = "L\0\0\0\0\0\0\0\012base_score"; /* 10 characters */
    const char *key = doc_is_json(model) ? json_key : ubj_key;
    size_t key_n = (doc_is_json(model) ? sizeof(json_key) : sizeof(ubj_key)) - 1,
           plain_n = strlen(facts->base_score);
    const char *at = memmem(model.p, model.n, key, key_n), *open;
    unsigned char length[9] = {'L', 0, 0, 0, 0, 0, 0, 0, (unsigned char)plain_n};

    if (!at || memmem(at + key_n, (size_t)(model.p + model.n - at) - key_n, key, key_n))
        return err_set(err, ERR_CODEC, NEXT_REJECT, "model: base_score is not there once");
    open = memchr(at + key_n, '[', (size_t)(model.p + model.n - at) - key_n);
    if (!open || (size_t)(model.p + model.n - open) < facts->base_score_list_n ||
        memcmp(open + 1, facts->base_score, plain_n) != 0)
        return err_set(err, ERR_CODEC, NEXT_REJECT, "model: base_score is not where it was read");
    if (doc_is_json(model)) {
        buf_add(ret, model.p, (size_t)(open - model.p));
    } else {
        buf_add(ret, model.p, (size_t)(at + key_n + 1 - model.p)); /* up to the S */
        buf_add(ret, length, sizeof(length));
    }
    buf_add(ret, facts->base_score, plain_n);
    open += facts->base_score_list_n;
    buf_add(ret, open, (size_t)(model.p + model.n - open));
    return ret->overflow ? err_set(err, ERR_LIMIT, NEXT_REJECT, "model: too large") : 0;
}
