/* Which line a request is for, and which of the line's models answers it. */
#include <string.h>

#include "agents/serve/encode.h"
#include "agents/serve/inference.h"
#include "agents/serve/serve_internal.h"

/* ---- route: which line ---- */

static bool is_declared(struct inference *f, const char *pipeline)
{
    return agent_pipeline_event(f->sv->a, pipeline) != NULL;
}

/* Of the request's rows, by tensor or parameter; *ret NULL: it does not say. */
static int segment_of(struct inference *f, const char *column, const char **ret)
{
    const struct oip_tensor *t = oip_input(&f->in, column);
    const struct oip_parameter *p = oip_parameter(&f->in, column);

    *ret = NULL;
    if (t)
        return encode_common_text(&f->in, t, &f->mem, ret, &f->err) ? inference_fail(f, 400) : 0;
    if (p)
        *ret = arena_strndup(&f->mem, p->text.p, p->text.n);
    return 0;
}

static int line_by_row(struct inference *f, const struct pipeline *p, struct served **ret)
{
    const char *segment;

    if (segment_of(f, p->segment, &segment))
        return -1;
    if (!segment) {
        err_inval(
            &f->err,
            "the rows of '%s' belong to segments: address /v2/models/%s%%2F<segment>/infer, or "
            "send the column '%s' along",
            f->name, f->name, p->segment);
        return inference_fail(f, 400);
    }
    if (!segment_is_valid(segment)) {
        err_inval(&f->err, "'%.60s' is no name of a segment", segment);
        return inference_fail(f, 400);
    }
    *ret = lines_find(f->sv->lines, arena_printf(&f->mem, "%s/%s", f->name, segment));
    if (*ret)
        return 0;
    err_set(&f->err, ERR_NOTFOUND, NEXT_REJECT, "no model serves segment '%s' of '%s'", segment,
            f->name);
    return inference_fail(f, 404);
}

/* A line by its name; rows that say another segment are a mistake. */
static int check_segment(struct inference *f, const struct served *s, const struct pipeline *p)
{
    const char *segment = NULL;

    if (!p || !p->segment || !s->fold->segment)
        return 0;
    if (segment_of(f, p->segment, &segment))
        return -1;
    if (!segment || strcmp(segment, s->fold->segment) == 0)
        return 0;
    err_inval(&f->err, "the rows are of segment '%s', the request is addressed to '%s'", segment,
              s->line);
    return inference_fail(f, 400);
}

static int nothing_there(struct inference *f)
{
    if (is_declared(f, f->name)) {
        err_set(&f->err, ERR_NOTFOUND, NEXT_RETRY, "'%s' has no model in service yet", f->name);
        return inference_fail(f, 503);
    }
    err_set(&f->err, ERR_NOTFOUND, NEXT_REJECT, "there is no model '%.130s'", f->name);
    return inference_fail(f, 404);
}

static int find_line(struct inference *f, struct served **ret)
{
    struct served *s = lines_find(f->sv->lines, f->name);
    const struct pipeline *p = agent_pipeline(f->sv->a, s ? s->fold->pipeline : f->name);

    if (!s && p && p->segment) {
        if (line_by_row(f, p, &s))
            return -1;
    } else if (!s) {
        return nothing_there(f);
    } else if (check_segment(f, s, p)) {
        return -1;
    }
    BUG_ON(!s); /* line_by_row found one */
    if (s->state == SERVED_WITHDRAWN) {
        err_set(&f->err, ERR_NOTFOUND, NEXT_REJECT, "'%s' was withdrawn", s->line);
        return inference_fail(f, 404);
    }
    f->line = f->is_large || f->version ? arena_strdup(&f->mem, s->line) : s->line;
    *ret = s;
    return 0;
}

/* ---- route: which of its models ---- */

/* What the share of a canary goes by: its text lives as long as the request. */
static int share_key(struct inference *f, const struct pipeline *p, struct slice *ret)
{
    const struct oip_parameter *parameter;
    const struct oip_tensor *t;
    const char *text = NULL;

    *ret = f->in.id.n ? f->in.id : slice_str(f->prediction);
    if (!p || !p->canary_by || strcmp(p->canary_by, "request") == 0)
        return 0;
    parameter = oip_parameter(&f->in, p->canary_by);
    t = oip_input(&f->in, p->canary_by);
    if (parameter)
        *ret = parameter->text;
    if (parameter || !t)
        return 0;
    if (encode_common_text(&f->in, t, &f->mem, &text, &f->err))
        return inference_fail(f, 400);
    *ret = slice_str(text);
    return 0;
}

static int route_by_share(struct inference *f, const struct served *s)
{
    const struct routing *now = s->now;
    struct slice key = {0};
    int i;

    if (!now || !now->n) {
        err_set(&f->err, ERR_NOTFOUND, NEXT_RETRY, "'%s' has no model in service%s%s", s->line,
                s->reason[0] ? ": " : " yet", s->reason);
        return inference_fail(f, 503);
    }
    if (now->n > 1 && share_key(f, agent_pipeline(f->sv->a, s->fold->pipeline), &key))
        return -1;
    i = route_choose(now->shares, now->n, s->line, key.p, key.n);
    f->booster = now->boosters[i];
    booster_ref(f->boosters, f->booster);
    f->generation = now->shares[i].generation;
    f->role = now->roles[i];
    return 0;
}

/* The last few of earlier generations stay in memory. */
static void pin(struct serve *sv, struct booster *b)
{
    size_t at = 0;

    while (at < sv->n_pins && sv->pins[at] != b)
        at++;
    if (at == sv->n_pins) {
        if (sv->max_pins == 0)
            return;
        if (sv->n_pins == sv->max_pins)
            boosters_release(sv->boosters, sv->pins[--sv->n_pins]);
        at = sv->n_pins++;
        booster_ref(sv->boosters, b);
    }
    memmove(sv->pins + 1, sv->pins, at * sizeof(struct booster *));
    sv->pins[0] = b;
}

static bool is_routed(const struct served *s, const struct booster *b)
{
    for (size_t i = 0; s->now && i < s->now->n; i++)
        if (s->now->boosters[i] == b)
            return true;
    return false;
}

/* 1: it is being loaded. */
static int route_by_version(struct inference *f, const struct served *s)
{
    const char *digest;
    int64_t generation;

    if (str_to_i64(f->version, &generation) || generation < 1 ||
        !(digest = lines_model_of(s->fold, generation))) {
        err_set(&f->err, ERR_NOTFOUND, NEXT_REJECT, "'%s' has no generation '%.30s'", s->line,
                f->version);
        return inference_fail(f, 404);
    }
    f->generation = generation;
    f->role = ROUTE_PINNED;
    switch (boosters_want(f->boosters, digest, &f->err)) {
    case LOAD_READY:
        f->booster = boosters_take(f->boosters, digest);
        if (!is_routed(s, f->booster))
            pin(f->sv, f->booster);
        return 0;
    case LOAD_FAILED:
        if (f->err.next == NEXT_RETRY)
            boosters_retry(f->boosters, digest); /* for the next request */
        return inference_fail(f, 503);
    default:
        f->wanted = arena_strdup(&f->mem, digest);
        return 1;
    }
}

/* Columns that are no features but may be sent: those that the pipeline speaks of. */
static const char *const *known_columns(struct inference *f, const struct pipeline *p)
{
    const char **known;
    size_t n = 0;

    if (!p)
        return NULL;
    known = arena_alloc(&f->mem, (p->n_columns + 4) * sizeof(*known));
    if (p->segment)
        known[n++] = p->segment;
    if (p->time)
        known[n++] = p->time;
    if (p->canary_by)
        known[n++] = p->canary_by;
    for (size_t i = 0; i < p->n_columns; i++)
        known[n++] = p->columns[i].name;
    for (size_t i = 0; (f->is_large || f->version) && i < n;
         i++) /* it may be declared anew meanwhile */
        known[i] = arena_strdup(&f->mem, known[i]);
    known[n] = NULL;
    return known;
}

int inference_route(struct inference *f)
{
    struct served *s = NULL;

    if (find_line(f, &s))
        return -1;
    BUG_ON(!s);
    f->known = known_columns(f, agent_pipeline(f->sv->a, s->fold->pipeline));
    return f->version ? route_by_version(f, s) : route_by_share(f, s);
}
