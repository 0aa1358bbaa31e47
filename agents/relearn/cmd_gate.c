/* relearn gate replay: every decision of a line again, from what it rested on, by the gate's own
 * code.  relearn gate try: what another policy would have decided.  Both read the log, and change
 * nothing. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/gate_history.h"
#include "agents/relearn/gate_service.h"
#include "agents/relearn/logread.h"
#include "common/artifact.h"
#include "common/fsx.h"

static const struct conf_option OPTIONS[] = {SITE_OPTIONS, {0}};

struct policy { /* by digest, read once */
    char sha256[DIGEST_HEX_SIZE];
    struct pipeline *pipeline;
};
struct gate_command {
    struct site site;
    struct artifacts artifacts;
    struct logread *log;
    struct gate_history *history;
    struct gate_service service;
    const char *wanted; /* line, or id of a decision */
    char *line;         /* of that decision; NULL unknown */
    struct policy *policies;
    size_t n_policies, cap_policies;
    struct json *list; /* of the answer */
    size_t counts[GATE_AGAIN_COUNT];
};

static void command_fini(struct gate_command *c)
{
    for (size_t i = 0; i < c->n_policies; i++)
        pipeline_free(c->policies[i].pipeline);
    free_ptr(&c->policies);
    gate_history_free(c->history);
    gate_service_fini(&c->service);
    logread_close(c->log);
    artifacts_close(&c->artifacts);
    site_fini(&c->site);
    json_free(c->list);
    free_ptr(&c->line);
}

static const struct pipeline *policy_of(void *ctx, const char *sha256, struct err *err)
{
    struct gate_command *c = ctx;
    struct pipeline *p = NULL;
    CLEANUP(buf_fini) struct buf text = {0};
    for (size_t i = 0; i < c->n_policies; i++)
        if (strcmp(c->policies[i].sha256, sha256) == 0)
            return c->policies[i].pipeline;
    if (!digest_is_hex(sha256)) {
        err_inval(err, "the evaluation names no pipeline");
        return NULL;
    }
    if (artifacts_get(&c->artifacts, sha256, PIPELINE_MAX_BYTES, &text, err) ||
        pipeline_parse(buf_slice(&text), sha256, &p, err))
        return NULL;
    c->policies = xgrow(c->policies, &c->cap_policies, c->n_policies + 1, sizeof(*c->policies));
    str_copy(c->policies[c->n_policies].sha256, DIGEST_HEX_SIZE, sha256);
    c->policies[c->n_policies++].pipeline = p;
    return p;
}

/* ---- reading ---- */

static void on_event(void *ctx, const struct bus_message *m, enum record r, const struct event *ev,
                     const struct err *why)
{
    struct gate_command *c = ctx;
    (void)why;
    if (!ev || strcmp(ev->key, c->line) != 0)
        return;
    if (r == RECORD_HEALTH_MEASURED)
        gate_service_health(&c->service, EV_REC(ev, health_measured));
    else if (r == RECORD_DEPLOYMENT_CHANGED)
        gate_service_deployment(&c->service, EV_REC(ev, deployment_changed));
    gate_history_add(c->history, ev, (struct slice){m->value, m->value_n});
}

static void on_decision(void *ctx, const struct bus_message *m, enum record r,
                        const struct event *ev, const struct err *why)
{
    struct gate_command *c = ctx;
    (void)m;
    (void)r;
    (void)why;
    if (ev && !c->line && (strcmp(ev->key, c->wanted) == 0 || strcmp(ev->id, c->wanted) == 0))
        c->line = xstrdup(ev->key);
}

/* Of the line that is named, or of the decision's. */
static int find_line(struct gate_command *c, struct err *err)
{
    static const enum record DECISIONS[] = {RECORD_GATE_DECIDED};
    struct logread *log = NULL;
    int rc = logread_open(&c->site, DECISIONS, 1, on_decision, c, &log, err);
    if (rc == 0)
        rc = logread_run(log, err);
    logread_close(log);
    if (rc == 0 && !c->line)
        rc = err_set(err, ERR_NOTFOUND, NEXT_REJECT,
                     "no line has a decision by this name, and no decision this id: %s (`relearn "
                     "lines`, `relearn history LINE`)",
                     c->wanted);
    return rc;
}

static int read_history(struct conf *conf, struct gate_command *c, struct err *err)
{
    static const enum record RECORDS[] = {RECORD_MODEL_EVALUATED,    RECORD_OPERATOR_COMMANDED,
                                          RECORD_DEPLOYMENT_CHANGED, RECORD_GATE_DECIDED,
                                          RECORD_HEALTH_MEASURED,    RECORD_TRAINING_FINISHED,
                                          RECORD_DATASET_INGESTED};
    if (site_find(conf, &c->site, err))
        return EXIT_NOT_RUNNING;
    if (artifacts_open_existing(c->site.artifacts, &c->artifacts, err) || find_line(c, err))
        return EXIT_REFUSED;
    c->history = gate_history_new(c->line);
    if (logread_open(&c->site, RECORDS, ARRAY_LEN(RECORDS), on_event, c, &c->log, err))
        return EXIT_NOT_RUNNING;
    gate_history_codec(c->history, logread_codec(c->log));
    return logread_run(c->log, err) ? EXIT_NOT_RUNNING : EXIT_DONE;
}

/* ---- replay ---- */

static const char *short_id(const char *id)
{
    return id && id[0] ? id : "-";
}

static void tell_again(struct gate_command *c, const struct gate_again *a, bool is_json)
{
    const struct gate_decided *d = a->then ? a->then->rec : NULL;
    c->counts[a->result]++;
    if (!is_json) {
        printf("%-8s %6lld  %-12s %.12s  run %.12s%s%s\n", gate_again_str(a->result),
               d ? (long long)d->base : -1LL, d ? d->verdict : "?", a->then ? a->then->id : "?",
               d ? short_id(d->run) : "-", a->what[0] ? "\n         " : "", a->what);
        return;
    }
    struct json *j = json_add(c->list, json_object());
    json_set_str(j, "result", gate_again_str(a->result));
    json_set_str(j, "decision", a->then ? a->then->id : NULL);
    if (a->what[0])
        json_set_str(j, "what", a->what);
    if (!d)
        return;
    json_set_int(j, "base", d->base);
    json_set_str(j, "verdict", d->verdict);
    json_set_str(j, "run", d->run);
    if (a->result != GATE_AGAIN_VOID && a->result != GATE_AGAIN_UNKNOWN && a->now.verdict)
        json_set(j, "now", codec_to_json(RECORD_GATE_DECIDED, &a->now));
}

static size_t replay_all(struct gate_command *c, bool is_json)
{
    size_t n = 0;
    bool is_one = strcmp(c->wanted, c->line) != 0;
    for (size_t i = 0; i < gate_history_decisions(c->history); i++) {
        struct gate_again a;
        gate_history_again(c->history, i, NULL, policy_of, c, &a);
        if (!is_one || (a.then && strcmp(a.then->id, c->wanted) == 0)) {
            tell_again(c, &a, is_json);
            n++;
        }
        gate_again_fini(&a);
    }
    return n;
}

static int replay(struct conf *conf, struct gate_command *c, struct err *err)
{
    bool is_json = conf_bool(conf, "json");
    int code = read_history(conf, c, err);
    if (code)
        return code;
    c->list = json_array();
    size_t n = replay_all(c, is_json);
    size_t bad = c->counts[GATE_AGAIN_DIFFERS] + c->counts[GATE_AGAIN_UNKNOWN];
    if (is_json) {
        CLEANUP(json_freep) struct json *root = json_object();
        json_set_str(root, "line", c->line);
        json_set_bool(root, "holds", bad == 0);
        for (int r = 0; r < GATE_AGAIN_COUNT; r++)
            json_set_int(root, gate_again_str((enum gate_again_result)r), (int64_t)c->counts[r]);
        json_set(root, "decisions", c->list);
        c->list = NULL;
        cli_print_json(root);
    } else {
        printf("%zu decisions of %s decided again: %zu the same bytes, %zu by an older gate with "
               "the same verdicts, %zu void, %zu different, %zu cannot be told\n",
               n, c->line, c->counts[GATE_AGAIN_SAME], c->counts[GATE_AGAIN_OLDER],
               c->counts[GATE_AGAIN_VOID], c->counts[GATE_AGAIN_DIFFERS],
               c->counts[GATE_AGAIN_UNKNOWN]);
    }
    return bad ? EXIT_REFUSED : EXIT_DONE;
}

/* ---- try ---- */

static bool is_promotion(const char *verdict)
{
    return verdict && strcmp(verdict, "promote") == 0;
}

/* What it would have cost or gained: told where labels came. */
static void say_service(const struct gate_command *c, const struct gate_again *a, struct buf *out)
{
    const struct gate_decided *d = a->then->rec;
    const struct generation_service *led = gate_service_of(&c->service, a->then->id);
    const struct generation_service *before = gate_service_generation(&c->service, d->against);
    if (!led) {
        buf_add_str(out, is_promotion(a->now.verdict) && !is_promotion(d->verdict)
                             ? "the candidate never served, so no label says what it was worth"
                             : "");
        return;
    }
    buf_addf(out, "generation %lld in service: ", (long long)led->generation);
    generation_service_str(led, out);
    if (!d->against)
        return;
    buf_addf(out, "; generation %lld before it: ", (long long)d->against);
    generation_service_str(before, out);
}

static void set_values(struct json *j, const char *name, const struct generation_service *g)
{
    if (!g)
        return;
    struct json *o = json_set(j, name, json_object());
    json_set_int(o, "generation", g->generation);
    json_set_int(o, "labels", g->labels);
    for (size_t k = 0; k < GATE_SERVICE_METRICS && g->metrics[k]; k++)
        json_set_num(o, g->metrics[k], generation_service_value(g, k));
}

static void tell_try(struct gate_command *c, const struct gate_again *a, bool is_json)
{
    const struct gate_decided *d = a->then->rec;
    bool is_other = strcmp(d->verdict, a->now.verdict) != 0;
    CLEANUP(buf_fini) struct buf service = {0};
    say_service(c, a, &service);
    if (!is_json) {
        printf("%.12s  %-12s -> %-12s %s\n", a->then->id, d->verdict, a->now.verdict,
               is_other ? a->now.reason : "");
        if (is_other && service.len)
            printf("              %.*s\n", (int)service.len, service.data);
        return;
    }
    struct json *j = json_add(c->list, json_object());
    json_set_str(j, "decision", a->then->id);
    json_set_str(j, "run", d->run);
    json_set_str(j, "then", d->verdict);
    json_set_str(j, "now", a->now.verdict);
    json_set_str(j, "why_then", d->reason);
    json_set_str(j, "why", a->now.reason);
    set_values(j, "led_to", gate_service_of(&c->service, a->then->id));
    set_values(j, "instead_of", gate_service_generation(&c->service, d->against));
}

struct tried {
    size_t judged, other, prevented, added, unknown;
};

static void try_all(struct gate_command *c, const struct pipeline *p, bool is_json, struct tried *t)
{
    for (size_t i = 0; i < gate_history_decisions(c->history); i++) {
        struct gate_again a;
        gate_history_again(c->history, i, p, policy_of, c, &a);
        t->unknown += a.result == GATE_AGAIN_UNKNOWN;
        if (a.is_judged && a.now.verdict) {
            const struct gate_decided *d = a.then->rec;
            bool then = is_promotion(d->verdict), now = is_promotion(a.now.verdict);
            t->judged++;
            t->other += strcmp(d->verdict, a.now.verdict) != 0;
            t->prevented += then && !now;
            t->added += now && !then;
            tell_try(c, &a, is_json);
        }
        gate_again_fini(&a);
    }
}

static int read_policy(const char *path, struct pipeline **ret, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    return fsx_read_file(path, PIPELINE_MAX_BYTES, &text, err) ||
                   pipeline_parse(buf_slice(&text), path, ret, err)
               ? -1
               : 0;
}

static int try_policy(struct conf *conf, struct gate_command *c, const struct pipeline *p,
                      struct err *err)
{
    bool is_json = conf_bool(conf, "json");
    struct tried t = {0};
    int code = read_history(conf, c, err);
    if (code)
        return code;
    c->list = json_array();
    try_all(c, p, is_json, &t);
    if (is_json) {
        CLEANUP(json_freep) struct json *root = json_object();
        json_set_str(root, "line", c->line);
        json_set_str(root, "policy_sha256", p->sha256);
        json_set_int(root, "judged", (int64_t)t.judged);
        json_set_int(root, "otherwise", (int64_t)t.other);
        json_set_int(root, "promotions_prevented", (int64_t)t.prevented);
        json_set_int(root, "promotions_added", (int64_t)t.added);
        json_set_int(root, "unknown", (int64_t)t.unknown);
        json_set(root, "decisions", c->list);
        c->list = NULL;
        cli_print_json(root);
    } else {
        printf("%zu evaluations of %s judged by this policy: %zu decided otherwise, %zu promotions "
               "prevented, %zu added; each held against the champion that it met then\n",
               t.judged, c->line, t.other, t.prevented, t.added);
    }
    return EXIT_DONE;
}

static int gate(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    CLEANUP(command_fini) struct gate_command c = {0};
    struct pipeline *p = NULL;
    if (strcmp(args[0], "replay") == 0 && n_args == 2) {
        c.wanted = args[1];
        return replay(conf, &c, err);
    }
    if (strcmp(args[0], "try") == 0 && n_args == 3) {
        c.wanted = args[2];
        if (read_policy(args[1], &p, err))
            return EXIT_REFUSED;
        int code = try_policy(conf, &c, p, err);
        pipeline_free(p);
        return code;
    }
    err_inval(err, "gate replay LINE-OR-DECISION, or gate try POLICY.yaml LINE");
    return EXIT_USAGE;
}

const struct cli_command gate_commands[] = {
    {.name = "gate",
     .usage = "gate replay LINE, or try POLICY.yaml LINE",
     .purpose = "decides what was decided again, by its own policy (same bytes?) or by another",
     .example = "relearn gate try stricter.yaml electricity",
     .options = OPTIONS,
     .min_args = 2,
     .max_args = 3,
     .run = gate},
    {0},
};
