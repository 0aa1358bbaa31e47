#include "agents/relearn/gc_runs.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/digest.h"
#include "common/line.h"
#include "common/mem.h"
#include "common/pipeline.h"

struct run {
    char id[160]; /* as long as an event's id may be */
    bool is_over;
    UT_hash_handle hh;
};
struct user {  /* a pipeline and the dataset that it learns from */
    char *key; /* "dataset\npipeline" */
    const char *pipeline;
    char *dataset;
    int64_t answered; /* offset of the newest version that has an outcome; -1 none */
    UT_hash_handle hh;
};
struct version { /* of a dataset */
    char *id, *dataset;
    int64_t offset; /* those of one dataset lie on one partition */
    UT_hash_handle hh;
};
struct outcome { /* that came before its version was known, or after */
    char *version, *user;
};
struct gc_runs {
    struct run *runs;
    struct user *users;
    struct version *versions;
    struct outcome *outcomes;
    size_t n_outcomes, cap_outcomes;
};

struct gc_runs *gc_runs_new(void)
{
    return xcalloc(1, sizeof(struct gc_runs));
}

void gc_runs_free(struct gc_runs *g)
{
    struct run *r, *next_run;
    struct user *u, *next_user;
    struct version *v, *next_version;
    if (!g)
        return;
    HASH_ITER (hh, g->runs, r, next_run) {
        HASH_DEL(g->runs, r);
        free(r);
    }
    HASH_ITER (hh, g->users, u, next_user) {
        HASH_DEL(g->users, u);
        free(u->key);
        free(u->dataset);
        free(u);
    }
    HASH_ITER (hh, g->versions, v, next_version) {
        HASH_DEL(g->versions, v);
        free(v->id);
        free(v->dataset);
        free(v);
    }
    for (size_t i = 0; i < g->n_outcomes; i++) {
        free(g->outcomes[i].version);
        free(g->outcomes[i].user);
    }
    free(g->outcomes);
    free(g);
}

static struct run *run_of(struct gc_runs *g, const char *id)
{
    struct run *r = NULL;
    HASH_FIND_STR(g->runs, id, r);
    if (r)
        return r;
    r = xcalloc(1, sizeof(*r));
    (void)str_copy(r->id, sizeof(r->id), id);
    HASH_ADD_STR(g->runs, id, r);
    return r;
}

static struct user *user_of(struct gc_runs *g, const char *dataset, const char *pipeline)
{
    CLEANUP_FREE char *key = xasprintf("%s\n%s", dataset, pipeline);
    struct user *u = NULL;
    HASH_FIND_STR(g->users, key, u);
    if (u)
        return u;
    u = xcalloc(1, sizeof(*u));
    u->answered = -1;
    u->dataset = xstrdup(dataset);
    u->pipeline = strchr(key, '\n') + 1;
    u->key = TAKE(key);
    HASH_ADD_KEYPTR(hh, g->users, u->key, strlen(u->key), u);
    return u;
}

static void take_declared(struct gc_runs *g, const struct pipeline_declared *d)
{
    struct pipeline *p = NULL;
    struct err none = {0};
    if (pipeline_parse(slice_str(d->yaml), d->name, &p, &none))
        return; /* by a version that took it: what it has led to says of which dataset */
    (void)user_of(g, p->dataset, d->name);
    pipeline_free(p);
}

static void take_version(struct gc_runs *g, const struct event *ev)
{
    struct version *v = NULL;
    HASH_FIND_STR(g->versions, ev->id, v);
    if (v) /* an id counts once */
        return;
    v = xcalloc(1, sizeof(*v));
    v->id = xstrdup(ev->id);
    v->dataset = xstrdup(EV_REC(ev, dataset_published)->dataset);
    v->offset = ev->offset;
    HASH_ADD_KEYPTR(hh, g->versions, v->id, strlen(v->id), v);
}

static void take_outcome(struct gc_runs *g, const struct dataset_ingested *d)
{
    const struct user *u = user_of(g, d->dataset, d->pipeline);
    g->outcomes = xgrow(g->outcomes, &g->cap_outcomes, g->n_outcomes + 1, sizeof(*g->outcomes));
    g->outcomes[g->n_outcomes++] =
        (struct outcome){.version = xstrdup(d->dataset_event), .user = xstrdup(u->key)};
}

void gc_runs_take(struct gc_runs *g, const struct event *ev)
{
    if (!ev->rec)
        return;
    if (ev->type == RECORD_PIPELINE_DECLARED) {
        take_declared(g, ev->rec);
    } else if (ev->type == RECORD_DATASET_PUBLISHED) {
        take_version(g, ev);
    } else if (ev->type == RECORD_DATASET_INGESTED) {
        take_outcome(g, ev->rec);
    } else if (ev->type == RECORD_TRAINING_FINISHED) {
        run_of(g, EV_REC(ev, training_finished)->run)->is_over = true;
    } else if (ev->type == RECORD_TRAINING_PLANNED) {
        const struct training_planned *p = ev->rec;
        if (strcmp(p->kind, "requested") == 0)
            (void)run_of(g, ev->id);
        else if (strcmp(p->kind, "closed") == 0 && p->run)
            run_of(g, p->run)->is_over = true;
    }
}

void gc_runs_settle(struct gc_runs *g)
{
    char id[ID_SIZE];
    for (size_t i = 0; i < g->n_outcomes; i++) {
        struct user *u = NULL;
        const struct version *v = NULL;
        HASH_FIND_STR(g->users, g->outcomes[i].user, u);
        HASH_FIND_STR(g->versions, g->outcomes[i].version, v);
        if (u && v && v->offset > u->answered)
            u->answered = v->offset;
    }
    for (const struct version *v = g->versions; v; v = v->hh.next)
        for (const struct user *u = g->users; u; u = u->hh.next) {
            if (strcmp(u->dataset, v->dataset) != 0)
                continue;
            id_from_cause("ingest", v->id, u->pipeline, id); /* as ingest names its runs */
            run_of(g, id)->is_over = v->offset < u->answered;
        }
}

bool gc_runs_is_needed(const struct gc_runs *g, const char *run)
{
    const struct run *r = NULL;
    HASH_FIND_STR(g->runs, run, r);
    return r && !r->is_over;
}
