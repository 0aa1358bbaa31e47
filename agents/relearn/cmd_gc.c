/* relearn gc: removes from the artefact store what nothing in the log names.
 *
 * What holds: nothing that an event names, itself or through a manifest, is removed; nothing that
 * is younger than --older-than is; nothing is removed on a log that cannot be read from its
 * beginning, or when a manifest cannot be, since what they name is unknown then.  The log is read
 * to its end, the store is listed, the log is read on to where it ends by then, and only then is
 * each file looked at once more and removed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/relearn/gc_runs.h"
#include "agents/relearn/logread.h"
#include "agents/relearn/named.h"
#include "agents/relearn/site.h"
#include "common/artifact.h"
#include "common/mem.h"

static const struct conf_option OPTIONS[] = {
    SITE_OPTIONS,
    {.name = "older-than",
     .type = CONF_DURATION,
     .fallback = "24h",
     .meta = "TIME",
     .help = "leave what is younger: it may be about to be named; at least 1h",
     .min = 3600000,
     .max = 315360000000},
    {.name = "dry-run",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "remove nothing, only list what would be removed"},
    {.name = "anyway",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "go on although the beginning of the log or a manifest is lost: what only they named "
             "is removed"},
    {0},
};

static const enum record READ[] = {
    /* all but what names no artefact that others do not name */
    RECORD_PIPELINE_DECLARED,  RECORD_DATASET_PUBLISHED,  RECORD_DATASET_INGESTED,
    RECORD_DRIFT_DETECTED,     RECORD_OPERATOR_COMMANDED, RECORD_TRAINING_PLANNED,
    RECORD_TRAINING_FINISHED,  RECORD_MODEL_EVALUATED,    RECORD_GATE_DECIDED,
    RECORD_DEPLOYMENT_CHANGED, RECORD_SERVING_CHANGED,    RECORD_DEAD_LETTERED,
};

struct candidate {
    struct artifact_entry e; /* with a name of its own */
};
struct tally {
    int64_t n, bytes;
};
struct gc {
    struct site site;
    struct artifacts store;
    struct logread *log;
    struct named *named;
    struct gc_runs *runs;
    int64_t older_ms;
    bool is_dry, is_anyway;
    int64_t events, unreadable, broken;
    struct tally kept, young; /* young: named by nothing, not old enough */
    struct candidate *items;
    size_t n, cap;
    char **needed; /* runs whose results may still be looked for */
    size_t n_needed, cap_needed;
};

static const char *kind_str(enum artifact_kind k)
{
    return k == ARTIFACT_BYTES ? "artefact" : k == ARTIFACT_RUN ? "run" : "temporary";
}

static void gc_fini(struct gc *g)
{
    logread_close(g->log);
    named_free(g->named);
    gc_runs_free(g->runs);
    for (size_t i = 0; i < g->n; i++)
        free((char *)(uintptr_t)g->items[i].e.name);
    free(g->items);
    for (size_t i = 0; i < g->n_needed; i++)
        free(g->needed[i]);
    free(g->needed);
    artifacts_close(&g->store);
    site_fini(&g->site);
}

/* ---- the log ---- */

/* The digests that the bytes spell are taken in any case: a newer version's event may name more
 * than this one knows to look for. */
static void on_event(void *ctx, const struct bus_message *m, enum record r, const struct event *ev,
                     const struct err *why)
{
    struct gc *g = ctx;
    (void)r;
    g->events++;
    g->unreadable += why != NULL;
    if (ev) {
        named_take_event(g->named, ev);
        gc_runs_take(g->runs, ev);
    }
    if (m->value)
        named_take_bytes(g->named, (struct slice){m->value, m->value_n}, ev ? ev->id : "");
}

static void count_broken(void *ctx, const struct named_entry *e)
{
    ((struct gc *)ctx)->broken += e->is_broken;
}

/* What the results name that are still to be found. */
static void take_results(struct gc *g)
{
    for (size_t i = 0; i < g->n_needed; i++) {
        CLEANUP(buf_fini) struct buf text = {0};
        struct err none = {0};
        if (artifacts_get_run(&g->store, g->needed[i], &text, &none) == 0)
            named_take_bytes(g->named, buf_slice(&text), g->needed[i]);
    }
}

static int read_log(struct gc *g, struct err *err)
{
    if (logread_run(g->log, err))
        return -1;
    gc_runs_settle(g->runs);
    return 0;
}

/* Is what the log names known in full? */
static int check_log(struct gc *g, struct err *err)
{
    struct logread_gap gap;
    g->broken = 0;
    named_each(g->named, count_broken, g);
    if (g->is_anyway)
        return 0;
    if (logread_is_cut(g->log, &gap))
        return err_set(err, ERR_CONFLICT, NEXT_REJECT,
                       "the oldest events of %s [%d] are gone, it begins at offset %lld: what they "
                       "named is unknown, so nothing is removed; --anyway takes it for garbage",
                       gap.topic, gap.partition, (long long)gap.from);
    if (g->broken)
        return err_set(err, ERR_CONFLICT, NEXT_REJECT,
                       "%lld manifests that the log names are missing or damaged, and so what they "
                       "name is unknown: `relearn verify` says which; nothing is removed (--anyway "
                       "takes their files for garbage)",
                       (long long)g->broken);
    if (named_count(g->named) == 0 && g->kept.n + (int64_t)g->n)
        return err_set(err, ERR_CONFLICT, NEXT_REJECT,
                       "nothing in %s under the prefix %s names anything in %s: it may be another "
                       "installation's store; nothing is removed (--anyway does)",
                       g->site.brokers, g->site.prefix, g->store.root);
    return 0;
}

/* ---- the store ---- */

static bool is_named(const struct gc *g, const struct artifact_entry *e)
{
    if (e->kind == ARTIFACT_BYTES)
        return named_find(g->named, e->name) != NULL;
    return e->kind == ARTIFACT_RUN && gc_runs_is_needed(g->runs, e->name);
}

static void on_needed_run(void *ctx, const struct artifact_entry *e)
{
    struct gc *g = ctx;
    if (e->kind != ARTIFACT_RUN || !gc_runs_is_needed(g->runs, e->name))
        return;
    g->needed = xgrow(g->needed, &g->cap_needed, g->n_needed + 1, sizeof(*g->needed));
    g->needed[g->n_needed++] = xstrdup(e->name);
}

static void add(struct tally *t, const struct artifact_entry *e)
{
    t->n++;
    t->bytes += e->size_bytes;
}

static void on_entry(void *ctx, const struct artifact_entry *e)
{
    struct gc *g = ctx;
    if (is_named(g, e)) {
        add(&g->kept, e);
    } else if (e->age_ms < g->older_ms) {
        add(&g->young, e);
    } else {
        g->items = xgrow(g->items, &g->cap, g->n + 1, sizeof(*g->items));
        g->items[g->n] = (struct candidate){*e};
        g->items[g->n++].e.name = xstrdup(e->name);
    }
}

static int find_candidates(struct gc *g, struct err *err)
{
    if (artifacts_each(&g->store, on_needed_run, g, err))
        return -1;
    take_results(g);
    return artifacts_each(&g->store, on_entry, g, err);
}

static int by_kind_and_name(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->e.kind != y->e.kind ? (x->e.kind < y->e.kind ? -1 : 1) : strcmp(x->e.name, y->e.name);
}

/* ---- what is said ---- */

static void say(const struct gc *g, const struct artifact_entry *e, struct json *list, bool is_json)
{
    if (!is_json) {
        printf("%s %-9s %s  %lld bytes, %.1f days old\n", g->is_dry ? "would remove" : "removed",
               kind_str(e->kind), e->name, (long long)e->size_bytes, (double)e->age_ms / 86400000);
        return;
    }
    struct json *j = json_add(list, json_object());
    json_set_str(j, "kind", kind_str(e->kind));
    json_set_str(j, "name", e->name);
    json_set_int(j, "bytes", e->size_bytes);
    json_set_int(j, "age_s", e->age_ms / 1000);
}

static void set_tally(struct json *j, const char *name, const struct tally *t)
{
    struct json *o = json_set(j, name, json_object());
    json_set_int(o, "n", t->n);
    json_set_int(o, "bytes", t->bytes);
}

static void report(const struct gc *g, const struct tally *removed, struct json *root, bool is_json)
{
    if (!is_json) {
        printf(
            "%s%lld of %lld entries, %lld bytes; %lld are named, %lld are not named and younger\n",
            g->is_dry ? "would remove " : "removed ", (long long)removed->n,
            (long long)(g->kept.n + g->young.n + (int64_t)g->n), (long long)removed->bytes,
            (long long)g->kept.n, (long long)g->young.n);
        return;
    }
    json_set_str(root, "store", g->store.root);
    json_set_bool(root, "dry_run", g->is_dry);
    json_set_int(root, "older_than_ms", g->older_ms);
    json_set_int(root, "events", g->events);
    json_set_int(root, "unreadable_events", g->unreadable);
    json_set_int(root, "broken_manifests", g->broken);
    set_tally(root, "named", &g->kept);
    set_tally(root, "young", &g->young);
    set_tally(root, "total", removed);
    cli_print_json(root);
}

/* ---- the command ---- */

static int clear(struct gc *g, struct tally *removed, struct json *list, bool is_json,
                 struct err *err)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct artifact_entry *e = &g->items[i].e;
        bool is_gone = true;
        if (is_named(g, e))
            continue;
        if (!g->is_dry && artifacts_remove_old(&g->store, e, g->older_ms, &is_gone, err))
            return -1;
        if (!is_gone)
            continue;
        add(removed, e);
        say(g, e, list, is_json);
    }
    return 0;
}

static int collect(struct gc *g, bool is_json, struct err *err)
{
    struct tally removed = {0};
    CLEANUP(json_freep) struct json *root = json_object();
    struct json *list = json_set(root, "removed", json_array());
    g->named = named_new(&g->store);
    g->runs = gc_runs_new();
    if (logread_open(&g->site, READ, ARRAY_LEN(READ), on_event, g, &g->log, err) ||
        read_log(g, err) || find_candidates(g, err))
        return -1;
    /* What was put and named while the store was listed. */
    if (read_log(g, err))
        return -1;
    take_results(g);
    if (check_log(g, err))
        return -1;
    if (g->n)
        qsort(g->items, g->n, sizeof(*g->items), by_kind_and_name);
    int rc = clear(g, &removed, list, is_json, err);
    report(g, &removed, root, is_json);
    return rc;
}

static int gc(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    struct gc g = {.older_ms = conf_int(conf, "older-than"),
                   .is_dry = conf_bool(conf, "dry-run"),
                   .is_anyway = conf_bool(conf, "anyway")};
    (void)args;
    (void)n_args;
    if (site_find(conf, &g.site, err))
        return EXIT_NOT_RUNNING;
    int code = EXIT_DONE;
    if (artifacts_open_existing(g.site.artifacts, &g.store, err) ||
        collect(&g, conf_bool(conf, "json"), err))
        code = EXIT_REFUSED;
    gc_fini(&g);
    return code;
}

const struct cli_command gc_commands[] = {
    {.name = "gc",
     .usage = "gc [--dry-run]",
     .purpose = "removes from the artefact store what nothing in the log names",
     .example = "relearn gc --dry-run --older-than 7d",
     .options = OPTIONS,
     .run = gc},
    {0},
};
