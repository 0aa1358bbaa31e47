/* All that the log knows of one run: the records behind it, where its data came from, when its
 * model served; and how far apart the data of two runs are.  Facts only: what is not known is
 * absent. */
#include <string.h>

#include "agents/console/console_internal.h"
#include "agents/console/distance.h"
#include "agents/console/runs_view.h"
#include "common/profile.h"
#include "common/snapshot.h"

enum {
    PROFILE_MAX_BYTES = 64 << 20, /* 8,192 columns of some kB */
    DISTANCE_SNAPSHOTS = 64       /* of a run, the newest: profiles read for one question */
};

struct one_run {
    char line[CONSOLE_KEY_SIZE], run[ID_SIZE];
    struct json *json;
    struct console *c;
    size_t n;
};

static void keep(void *ctx, const struct runs_found *found)
{
    struct one_run *one = ctx;
    if (one->n++)
        return;
    str_copy(one->line, sizeof(one->line), found->line);
    str_copy(one->run, sizeof(one->run), found->run);
    one->json = console_run_json(one->c, found);
}

static bool is_id(const char *id)
{
    size_t n = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
    return n && n == strlen(id) && n < ID_SIZE * 4;
}

/* By the first characters of its id, or of its model's; of runs with one model the newest. */
static int find_run(struct console *c, const char *id, struct one_run *ret, struct err *err)
{
    static const char *const FIELDS[] = {"run", "model"};
    *ret = (struct one_run){.c = c};
    if (!is_id(id))
        return err_inval(err, "'%.80s' is no id of a run or model; relearn runs lists them", id);
    if (!c->view || c->view_failed)
        return err_set(err, ERR_STORE, NEXT_RETRY, "the view cannot be written now");
    for (size_t i = 0; i < ARRAY_LEN(FIELDS) && !ret->n; i++) {
        CLEANUP_FREE char *filter = xasprintf("%s = '%s'", FIELDS[i], id);
        struct runs_query q = {.filter = filter, .limit = 2};
        if (runs_find(c->view, &q, keep, ret, err))
            return -1;
        if (i == 0 && ret->n > 1) {
            json_freep(&ret->json);
            return err_inval(err, "more than one run begins with %s; give more of its id", id);
        }
    }
    if (!ret->json)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "no run or model begins with %s", id);
    return 0;
}

static void refuse(struct httpd_request *rq, const struct err *err)
{
    int status = err->code == ERR_NOTFOUND ? 404 : err->code == ERR_INVAL ? 400 : 503;
    httpd_answer_error(rq, status, "%s", err->msg);
}

/* ---- one run ---- */

static void set_record(struct json *j, const char *key, const struct event *ev)
{
    struct json *record = ev ? codec_to_json(ev->type, ev->rec) : NULL;
    if (record)
        json_set(j, key, record);
    else
        json_set_null(j, key);
}

static const struct event *by_id(const struct line *l, enum record r, const struct json *ids,
                                 const char *key)
{
    const char *id = json_get_str(ids, key, NULL);
    return id ? line_find(l, r, id) : NULL;
}

static void add_snapshots(struct json *j, const struct line *l, const struct training_planned *p)
{
    struct json *list = json_set(j, "data", json_array());
    for (size_t i = 0; i < p->snapshots.n; i++) {
        const struct event *ev = line_find(l, RECORD_DATASET_INGESTED, p->snapshots.items[i].event);
        struct json *one = json_add(list, json_object());
        json_set_str(one, "snapshot", p->snapshots.items[i].snapshot);
        json_set_int(one, "rows", p->snapshots.items[i].rows);
        if (!ev)
            continue; /* not read, or of another line */
        const struct dataset_ingested *d = ev->rec;
        json_set_str(one, "dataset", d->dataset);
        json_set_str(one, "version", d->version);
        json_set_time(one, "frozen", ev->time_unix_us);
        json_set_int(one, "train_rows", d->train_rows);
        json_set_int(one, "valid_rows", d->valid_rows);
        json_set_int(one, "test_rows", d->test_rows);
        json_set_int(one, "rows_quarantined", d->rows_quarantined);
        json_set_int(one, "rows_seen_before", d->rows_seen_before);
        json_set_int(one, "rules_broken", (int64_t)d->violations.n);
        json_set_str(one, "profile", d->profile);
    }
}

static const struct route *champion_of(const struct deployment_changed *d)
{
    for (size_t i = 0; strcmp(d->kind, "changed") == 0 && i < d->routes.n; i++)
        if (strcmp(d->routes.items[i].role, "champion") == 0)
            return &d->routes.items[i];
    return NULL;
}

/* When the model was champion, and under which generation. */
static void add_served(struct json *j, const struct line *l, const char *model)
{
    struct json *list = json_set(j, "served", json_array()), *open = NULL;
    const struct event_list *changes = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    int64_t generation = 0;
    for (size_t i = 0; model && i < changes->n; i++) {
        const struct event *ev = changes->items[i];
        const struct deployment_changed *d = ev->rec;
        const struct route *now = champion_of(d);
        if (!now || now->generation == generation)
            continue;
        generation = now->generation;
        if (open)
            json_set_time(open, "to", ev->time_unix_us);
        open = NULL;
        if (strcmp(now->model, model) != 0)
            continue;
        open = json_add(list, json_object());
        json_set_int(open, "generation", generation);
        json_set_time(open, "from", ev->time_unix_us);
        json_set_null(open, "to");
        json_set_str(open, "action", d->action);
        json_set_str(open, "reason", d->reason);
    }
}

void query_run(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct one_run one;
    if (find_run(c, segs[0], &one, &err)) {
        refuse(rq, &err);
        return;
    }
    const struct line *l = console_line(c, one.line);
    const struct event *plan = line_plan(l, one.run), *model = line_model(l, one.run);
    struct json *j = one.json;
    set_record(j, "planned_record", plan);
    set_record(j, "trained", model);
    set_record(j, "evaluated", by_id(l, RECORD_MODEL_EVALUATED, j, "evaluation_event"));
    set_record(j, "decided", by_id(l, RECORD_GATE_DECIDED, j, "decision_event"));
    add_snapshots(j, l, plan->rec);
    add_served(j, l, model ? EV_REC(model, training_finished)->model : NULL);
    console_answer_json(rq, 200, j);
}

/* ---- two runs ---- */

static int read_profile(struct console *c, const char *digest, struct profile **ret,
                        struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    if (artifacts_get(agent_artifacts(c->a), digest, PROFILE_MAX_BYTES, &text, err))
        return -1;
    CLEANUP(json_freep) struct json *j = json_parse(buf_slice(&text), "profile", err);
    return j ? profile_from_json(j, ret, err) : -1;
}

/* Profiles and dictionaries of what the run learned from. */
static int read_data(struct console *c, const struct one_run *one, struct distance_data *data,
                     struct err *err)
{
    const struct json *list = json_get(one->json, "data");
    size_t n = json_len(list), from = n > DISTANCE_SNAPSHOTS ? n - DISTANCE_SNAPSHOTS : 0;
    for (size_t i = from; i < n; i++) {
        const struct json *item = json_at(list, i);
        const char *profile = json_get_str(item, "profile", NULL);
        struct distance_part *part = &data->parts[data->n];
        if (!profile)
            return err_set(err, ERR_NOTFOUND, NEXT_REJECT,
                           "run %s: the log no longer knows snapshot %.12s", one->run,
                           json_get_str(item, "snapshot", ""));
        if (read_profile(c, profile, &part->profile, err))
            return -1;
        data->n++;
        if (snapshot_open(agent_artifacts(c->a), json_get_str(item, "snapshot", ""),
                          &part->snapshot, err))
            return -1;
    }
    return 0;
}

static void free_data(struct distance_data *data)
{
    for (size_t i = 0; i < data->n; i++) {
        profile_free(data->parts[i].profile);
        snapshot_free(data->parts[i].snapshot);
    }
    free_ptr(&data->parts);
}

static int load(struct console *c, const char *id, struct distance_data *data, struct err *err)
{
    struct one_run one;
    if (find_run(c, id, &one, err))
        return -1;
    const struct line *l = console_line(c, one.line);
    add_snapshots(one.json, l, line_plan(l, one.run)->rec);
    data->parts = xcalloc(DISTANCE_SNAPSHOTS, sizeof(*data->parts));
    int rc = read_data(c, &one, data, err);
    json_free(one.json);
    return rc;
}

void query_distance(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    const char *from = httpd_query(rq, "from"), *to = httpd_query(rq, "to");
    struct distance_data a = {0}, b = {0};
    struct err err = {0};
    (void)segs;
    if (!from || !to) {
        httpd_answer_error(rq, 400, "give ?from=RUN&to=RUN");
        return;
    }
    if (load(c, from, &a, &err) || load(c, to, &b, &err)) {
        refuse(rq, &err);
    } else {
        struct json *j = json_object();
        json_set(j, "columns", distance_json(&a, &b));
        console_answer_json(rq, 200, j);
    }
    free_data(&a);
    free_data(&b);
}
