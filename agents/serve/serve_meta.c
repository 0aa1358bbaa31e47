/* What there is to ask about models: names, metadata, readiness. */
#include <string.h>

#include "agents/serve/serve_internal.h"
#include "common/json.h"

static bool is_in_service(const struct served *s)
{
    return s->now && s->now->n > 0;
}

void serve__models(struct serve *sv, struct httpd_request *rq)
{
    struct json *root = json_object(), *names = json_set(root, "models", json_array());

    for (struct served *s = lines_first(sv->lines); s; s = s->next)
        if (is_in_service(s))
            json_add_str(names, s->line);
    serve__answer_json(rq, 200, root);
}

/* ---- one model ---- */

static void add_tensor(struct json *list, const char *name, const char *datatype, int64_t width)
{
    struct json *t = json_add(list, json_object()), *shape;

    json_set_str(t, "name", name);
    json_set_str(t, "datatype", datatype);
    shape = json_set(t, "shape", json_array());
    json_add_int(shape, -1);
    json_add_int(shape, width);
}

static const char *datatype_of(enum column_type t)
{
    switch (t) {
    case COLUMN_CATEGORY:
    case COLUMN_DATE:
        return "BYTES";
    case COLUMN_BOOL:
        return "BOOL";
    case COLUMN_INT:
        return "INT64";
    default:
        return "FP64";
    }
}

static void add_shapes(struct json *root, const struct model *m)
{
    static const char *const numbers[] = {[TASK_BINARY] = "probability",
                                          [TASK_MULTICLASS] = "probabilities",
                                          [TASK_REGRESSION] = "value"};
    struct json *inputs = json_set(root, "inputs", json_array());
    struct json *outputs = json_set(root, "outputs", json_array());

    for (size_t i = 0; i < m->shape.n_columns; i++)
        add_tensor(inputs, m->shape.columns[i].name, datatype_of(m->shape.columns[i].type), 1);
    add_tensor(outputs, numbers[m->task], "FP64",
               m->task == TASK_MULTICLASS ? (int64_t)m->shape.n_classes : 1);
    if (m->task != TASK_REGRESSION)
        add_tensor(outputs, "label", "BYTES", 1);
}

static void add_versions(struct json *root, const struct served *s)
{
    struct json *versions = json_set(root, "versions", json_array());
    char text[24];

    for (size_t i = 0; s->now && i < s->now->n; i++) {
        snprintf(text, sizeof(text), "%lld", (long long)s->now->shares[i].generation);
        json_add_str(versions, text);
    }
}

static struct json *routes_json(const struct served *s)
{
    struct json *list = json_array();

    for (size_t i = 0; s->now && i < s->now->n; i++) {
        struct json *r = json_add(list, json_object());

        json_set_int(r, "generation", s->now->shares[i].generation);
        json_set_str(r, "model", s->now->boosters[i]->digest);
        json_set_str(r, "role", route_role_str(s->now->roles[i]));
        json_set_num(r, "weight", s->now->shares[i].weight);
    }
    return list;
}

/* Booster that describes the line: the generation asked for when it is in memory, else the
 * champion. */
static const struct booster *describing(const struct served *s, int64_t generation)
{
    for (size_t i = 0; s->now && i < s->now->n; i++)
        if (generation ? s->now->shares[i].generation == generation : (int)i == s->now->champion)
            return s->now->boosters[i];
    return s->now && s->now->n && !generation ? s->now->boosters[0] : NULL;
}

static void answer_line(const struct served *s, struct httpd_request *rq, int64_t generation)
{
    const struct booster *b = describing(s, generation);
    struct json *root = json_object(), *parameters;

    json_set_str(root, "name", s->line);
    add_versions(root, s);
    json_set_str(root, "platform", b ? "xgboost_ubj" : "xgboost");
    if (b) {
        add_shapes(root, b->model);
    } else {
        json_set(root, "inputs", json_array());
        json_set(root, "outputs", json_array());
    }
    parameters = json_set(root, "parameters", json_object());
    json_set_str(parameters, "state", served_state_str(s->state));
    json_set_str(parameters, "reason", s->reason);
    json_set_int(parameters, "sequence", s->sequence);
    json_set(parameters, "routes", routes_json(s));
    serve__answer_json(rq, 200, root);
}

/* A pipeline with segments, by its own name. */
static void answer_pipeline(struct serve *sv, struct httpd_request *rq, const struct pipeline *p)
{
    struct json *root = json_object(), *parameters, *names;

    json_set_str(root, "name", p->name);
    json_set(root, "versions", json_array());
    json_set_str(root, "platform", "xgboost");
    add_tensor(json_set(root, "inputs", json_array()), p->segment, "BYTES", 1);
    json_set(root, "outputs", json_array());
    parameters = json_set(root, "parameters", json_object());
    json_set_str(parameters, "segment", p->segment);
    names = json_set(parameters, "models", json_array());
    for (struct served *s = lines_first(sv->lines); s; s = s->next)
        if (is_in_service(s) && strcmp(s->fold->pipeline, p->name) == 0)
            json_add_str(names, s->line);
    serve__answer_json(rq, 200, root);
}

static bool has_generation(const struct served *s, const char *version, int64_t *ret)
{
    return str_to_i64(version, ret) == 0 && *ret > 0 && lines_model_of(s->fold, *ret) != NULL;
}

static struct served *find(struct serve *sv, const char *name)
{
    struct served *s = lines_find(sv->lines, name);

    return s && s->fold->deployment && s->state != SERVED_WITHDRAWN ? s : NULL;
}

void serve__model(struct serve *sv, struct httpd_request *rq, const char *name, const char *version)
{
    const struct served *s = find(sv, name);
    const struct pipeline *p = agent_pipeline(sv->a, name);
    int64_t generation = 0;

    if (!s && p && p->segment && !version)
        answer_pipeline(sv, rq, p);
    else if (!s)
        httpd_answer_error(rq, 404, "there is no model '%.130s'", name);
    else if (version && !has_generation(s, version, &generation))
        httpd_answer_error(rq, 404, "'%s' has no generation '%.30s'", s->line, version);
    else
        answer_line(s, rq, generation);
}

static bool any_segment_ready(struct serve *sv, const char *pipeline)
{
    for (struct served *s = lines_first(sv->lines); s; s = s->next)
        if (is_in_service(s) && strcmp(s->fold->pipeline, pipeline) == 0)
            return true;
    return false;
}

/* Generations that are not routed are ready too: they are loaded when they are asked for. */
void serve__model_ready(struct serve *sv, struct httpd_request *rq, const char *name,
                        const char *version)
{
    const struct served *s = find(sv, name);
    int64_t generation = 0;
    struct json *root;
    bool ready = s ? is_in_service(s) : any_segment_ready(sv, name);

    if (s && version && !has_generation(s, version, &generation)) {
        httpd_answer_error(rq, 404, "'%s' has no generation '%.30s'", s->line, version);
        return;
    }
    if (!s && !agent_pipeline_event(sv->a, name)) {
        httpd_answer_error(rq, 404, "there is no model '%.130s'", name);
        return;
    }
    root = json_object();
    json_set_str(root, "name", name);
    json_set_bool(root, "ready", ready && serve__is_ready(sv));
    serve__answer_json(rq, ready && serve__is_ready(sv) ? 200 : 503, root);
}
