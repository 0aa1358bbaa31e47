#include "agents/serve/record.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"

/* Rows of one record. */
static size_t records_rows_of_one(size_t features, size_t outputs);

enum { AGAIN_MS = 500 }; /* the client has tried for a minute already: no hurry */

/* One record on its way, with all that it says, so that it can be sent again. */
struct sent {
    struct records *r;
    struct prediction_served rec;
    size_t bytes;
    struct sent *next, **prev;
    bool is_waiting; /* to be sent again */
    char id[ID_SIZE + 24];
    _Alignas(double) char data[]; /* numbers, then texts */
};
struct records {
    struct agent *a;
    struct sent *all;
    struct loop_timer *timer;
    size_t n, bytes, max;
    uint64_t resent;
};

static size_t records_rows_of_one(size_t features, size_t outputs)
{
    size_t n = RECORD_MAX_BYTES / (features * sizeof(float) + outputs * sizeof(double) + 1);

    return n < 1 ? 1 : n > RECORD_MAX_ROWS ? RECORD_MAX_ROWS : n;
}

static size_t bytes_of(size_t rows, size_t features, size_t outputs)
{
    return rows * (features * sizeof(float) + outputs * sizeof(double));
}

bool records_have_room(const struct records *r, size_t rows, size_t features, size_t outputs)
{
    size_t each = records_rows_of_one(features, outputs);

    if (r->n == 0)
        return true; /* one large request may have more than its share, when it is alone */
    return r->n + (rows + each - 1) / each <= r->max &&
           r->bytes + bytes_of(rows, features, outputs) <= RECORDS_MAX_BYTES;
}

static void sent_free(struct sent *s)
{
    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->r->n--;
    s->r->bytes -= s->bytes;
    free_ptr(&s);
}

static void on_delivered(void *ctx, const char *id, const struct err *err)
{
    struct sent *s = ctx;

    (void)id;
    if (!err) {
        sent_free(s);
        return;
    }
    if (!s->r->timer) { /* closing */
        log_error("prediction.lost", "prediction=%s error=%s", s->id, err->msg);
        sent_free(s);
        return;
    }
    log_warn("prediction.again", "prediction=%s error=%s", s->id, err->msg);
    s->is_waiting = true;
    loop_timer_start(s->r->timer, AGAIN_MS);
}

static int publish(struct sent *s, struct err *err)
{
    struct publication p = {
        .record = RECORD_PREDICTION_SERVED, .rec = &s->rec, .id = s->id, .is_bulk = true};

    return agent_publish(s->r->a, &p, on_delivered, s, NULL, err);
}

static void on_timer(void *ctx)
{
    struct records *r = ctx;
    struct err err = {0};

    for (struct sent *s = r->all; s; s = s->next) {
        if (!s->is_waiting)
            continue;
        s->is_waiting = false;
        r->resent++;
        if (publish(s, &err)) {
            s->is_waiting = true;
            loop_timer_start(r->timer, AGAIN_MS);
            return;
        }
    }
}

struct records *records_new(struct agent *a, size_t max_unacknowledged)
{
    struct records *r = xcalloc(1, sizeof(*r));

    r->a = a;
    r->max = max_unacknowledged;
    r->timer = loop_timer_new(agent_loop(a), on_timer, r);
    return r;
}

void records_free(struct records *r)
{
    if (!r)
        return;
    loop_timer_free(r->timer);
    r->timer = NULL;
    while (r->all)
        sent_free(r->all);
    free_ptr(&r);
}

/* Copies n bytes to *at, which moves on. */
static const void *keep(char **at, const void *p, size_t n)
{
    char *copy = *at;

    if (n)
        memcpy(copy, p, n);
    *at += n;
    return copy;
}

static const char *keep_text(char **at, const char *text)
{
    return text ? keep(at, text, strlen(text) + 1) : NULL;
}

static void link_in(struct records *r, struct sent *s)
{
    s->r = r;
    s->next = r->all;
    s->prev = &r->all;
    if (s->next)
        s->next->prev = &s->next;
    r->all = s;
    r->n++;
    r->bytes += s->bytes;
}

/* Rows [from, from + n) as one record. */
static struct sent *make(struct records *r, const struct served_rows *all, size_t from, size_t n)
{
    size_t bytes = bytes_of(n, all->features, all->outputs);
    size_t texts =
        strlen(all->line) + strlen(all->model) + 3 + (all->request ? strlen(all->request) : 0);
    struct sent *s = xcalloc(1, sizeof(*s) + bytes + texts);
    char *at = s->data;

    s->bytes = bytes;
    if (from)
        snprintf(s->id, sizeof(s->id), "%s:%zu", all->prediction, from);
    else
        str_copy(s->id, sizeof(s->id), all->prediction);
    s->rec = (struct prediction_served){
        .prediction = s->id,
        .generation = all->generation,
        .role = all->role, /* one of route_role_str's */
        .instance = agent_instance(r->a),
        .rows = (int64_t)n,
        .features_per_row = (int64_t)all->features,
        .outputs_per_row = (int64_t)all->outputs,
        .latency_us = all->latency_us,
        .served_unix_ms = all->served_unix_ms,
    };
    s->rec.outputs.n = n * all->outputs;
    s->rec.outputs.items =
        keep(&at, all->p + from * all->outputs, s->rec.outputs.n * sizeof(double));
    s->rec.features.n = n * all->features;
    s->rec.features.items =
        keep(&at, all->x + from * all->features, s->rec.features.n * sizeof(float));
    s->rec.line = keep_text(&at, all->line);
    s->rec.model = keep_text(&at, all->model);
    s->rec.request = keep_text(&at, all->request);
    link_in(r, s);
    return s;
}

int records_send(struct records *r, const struct served_rows *all, struct err *err)
{
    size_t each = records_rows_of_one(all->features, all->outputs);

    if (!records_have_room(r, all->rows, all->features, all->outputs))
        return err_set(err, ERR_LIMIT, NEXT_RETRY,
                       "%zu records of predictions are not acknowledged by the bus yet", r->n);
    for (size_t from = 0; from < all->rows; from += each) {
        struct sent *s = make(r, all, from, all->rows - from < each ? all->rows - from : each);

        if (publish(s, err) == 0)
            continue;
        if (from == 0) {
            sent_free(s);
            return -1;
        }
        s->is_waiting = true; /* the first is on its way: so must the others be */
        loop_timer_start(r->timer, AGAIN_MS);
    }
    return 0;
}

size_t records_unacknowledged(const struct records *r)
{
    return r->n;
}

uint64_t records_resent(const struct records *r)
{
    return r->resent;
}
