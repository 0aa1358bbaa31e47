/* The sort: every id is dealt to a file by its hash; a file is loaded, sorted by id, and each group
 * of one id is looked at. A group has the events that are called so, and those that follow from
 * them. */
#include "agents/relearn/verify_ids.h"

#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "common/line.h"
#include "common/mem.h"

enum kind { KIND_IS = 0, KIND_FOLLOWS, KIND_DEAD, KIND_UNREADABLE };
enum { TEXT_MAX = 512, PLACE_SIZE = 96 }; /* of ids and ce_seen: longer ones are cut */

struct packed { /* then: the id that it is sorted by, its own id (or why), ce_seen; each with a NUL
                 */
    int64_t offset, time_unix_us, appended_unix_ms;
    uint64_t content;
    int32_t partition, belongs;
    uint8_t record, kind, is_judged, may_be_gone;
    uint16_t id_n, own_n, seen_n;
};
struct entry {
    struct packed p;
    const char *id, *own, *seen;
};
struct ids {
    struct spool *spool;
    struct buf record;
};
struct group { /* of one id: IS first, by topic, partition and offset */
    const struct entry *items;
    size_t n, n_is;
};
struct asking {
    const struct id_rules *rules;
    struct findings *f;
};

int ids_new(struct ids **ret, struct err *err)
{
    struct ids *x = xcalloc(1, sizeof(*x));

    if (spool_new(&x->spool, err)) {
        ids_free(x);
        return -1;
    }
    *ret = x;
    return 0;
}

void ids_free(struct ids *x)
{
    if (!x)
        return;
    spool_free(x->spool);
    buf_fini(&x->record);
    free_ptr(&x);
}

static uint16_t text_len(const char *s)
{
    size_t n = s ? strlen(s) : 0;

    return (uint16_t)(n < TEXT_MAX ? n : TEXT_MAX);
}

static int put(struct ids *x, const struct id_event *e, enum kind kind, const char *id,
               const char *own, const char *seen, struct err *err)
{
    struct packed p = {.offset = e->offset,
                       .time_unix_us = e->time_unix_us,
                       .appended_unix_ms = e->appended_unix_ms,
                       .content = e->content,
                       .partition = e->partition,
                       .belongs = e->belongs,
                       .record = (uint8_t)e->record,
                       .kind = (uint8_t)kind,
                       .is_judged = e->is_judged,
                       .may_be_gone = e->cause_may_be_gone,
                       .id_n = text_len(id),
                       .own_n = text_len(own),
                       .seen_n = text_len(seen)};
    const struct slice texts[] = {{id, p.id_n}, {own, p.own_n}, {seen, p.seen_n}};

    buf_reset(&x->record);
    buf_add(&x->record, &p, sizeof(p));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i].n)
            buf_add(&x->record, texts[i].p, texts[i].n);
        buf_add_char(&x->record, '\0');
    }
    return spool_add(x->spool, spool_hash((struct slice){id, p.id_n}), buf_slice(&x->record), err);
}

int ids_add(struct ids *x, const struct id_event *e, struct err *err)
{
    if (put(x, e, KIND_IS, e->id, NULL, NULL, err))
        return -1;
    return e->cause && e->cause[0] ? put(x, e, KIND_FOLLOWS, e->cause, e->id, e->seen, err) : 0;
}

static void place_name(enum record r, int partition, int64_t offset, char out[PLACE_SIZE])
{
    snprintf(out, PLACE_SIZE, " %s %d %lld", record_topic(r), partition, (long long)offset);
}

int ids_unreadable(struct ids *x, const struct id_event *e, const char *why, struct err *err)
{
    char name[PLACE_SIZE];

    place_name(e->record, e->partition, e->offset, name);
    return put(x, e, KIND_UNREADABLE, name, why, NULL, err);
}

int ids_dead(struct ids *x, enum record topic, int partition, int64_t offset, struct err *err)
{
    const struct id_event e = {.record = topic, .partition = partition, .offset = offset};
    char name[PLACE_SIZE];

    place_name(topic, partition, offset, name);
    return put(x, &e, KIND_DEAD, name, NULL, NULL, err);
}

/* ---- findings ---- */

static struct finding_of about(const struct entry *e, enum verify_check check, const char *id,
                               const char *todo)
{
    return (struct finding_of){.check = check,
                               .at = {(enum record)e->p.record, e->p.partition, e->p.offset},
                               .id = id,
                               .todo = todo};
}

static bool is_late(const struct asking *q, const struct entry *e)
{
    return q->rules->clock->now_unix_ms - e->p.appended_unix_ms > q->rules->clock->patience_ms;
}

/* ---- one id ---- */

/* Repeats of the first one in the same topic. */
static void repeats(struct asking *q, const struct group *g)
{
    const struct entry *first = NULL;

    for (size_t i = 0; i < g->n_is; i++) {
        const struct entry *e = &g->items[i];
        struct finding_of of = about(e, VERIFY_IDS, e->id,
                                     "the first one counts; who wrote the other must give what is "
                                     "new an id of its own");

        q->f->looked[VERIFY_IDS] += e->p.is_judged;
        if (!first || first->p.record != e->p.record) {
            first = e;
            continue;
        }
        if (first->p.content == e->p.content)
            q->f->repeated += e->p.is_judged;
        else if (e->p.is_judged || first->p.is_judged)
            findings_add(q->f, &of, "has the id of %s[%d]@%lld and says something else",
                         record_topic((enum record)first->p.record), first->p.partition,
                         (long long)first->p.offset);
    }
}

static bool has_copy(const struct group *g, const struct entry *e)
{
    for (size_t i = 0; i < g->n_is; i++)
        if (g->items[i].p.record == e->p.record && g->items[i].p.partition == e->p.belongs)
            return true;
    return false;
}

static void places(struct asking *q, const struct group *g)
{
    for (size_t i = 0; i < g->n_is; i++) {
        const struct entry *e = &g->items[i];
        struct finding_of of = about(e, VERIFY_PLACES, e->id,
                                     "look whether the agent that works on the topic runs: it "
                                     "forwards what lies elsewhere");

        q->f->looked[VERIFY_PLACES] += e->p.is_judged;
        if (e->p.belongs < 0 || !e->p.is_judged || has_copy(g, e))
            continue;
        if (is_late(q, e))
            findings_add(q->f, &of, "belongs on partition %d by its key, and is not there",
                         e->p.belongs);
        else
            q->f->open[VERIFY_PLACES]++;
    }
}

/* How far ce_seen says that a topic had been read; -1: it does not say. */
static int64_t seen_of(const char *seen, const char *cluster, const char *topic)
{
    size_t cluster_n = strlen(cluster), topic_n = strlen(topic);

    if (!cluster_n || strncmp(seen, cluster, cluster_n) != 0 || seen[cluster_n] != ';')
        return -1;
    for (const char *at = seen + cluster_n + 1; at && *at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, topic, topic_n) == 0 && at[topic_n] == '=')
            return strtoll(at + topic_n + 1, NULL, 10);
    }
    return -1;
}

/* The cause as its reader had it: on the same partition if it is there; else the first. */
static const struct entry *cause_of(const struct group *g, const struct entry *e)
{
    const struct entry *best = g->n_is ? &g->items[0] : NULL;

    for (size_t i = 0; i < g->n_is; i++)
        if (g->items[i].p.partition == e->p.partition && best->p.partition != e->p.partition)
            best = &g->items[i];
    return best;
}

static void order(struct asking *q, const struct entry *cause, const struct entry *e)
{
    const char *topic = record_topic((enum record)cause->p.record);
    bool is_beside = cause->p.partition == e->p.partition &&
                     record_is_control((enum record)cause->p.record) &&
                     record_is_control((enum record)e->p.record);
    int64_t seen = is_beside ? seen_of(e->seen, q->rules->cluster, topic) : -1;
    int64_t early_ms = (cause->p.time_unix_us - e->p.time_unix_us) / 1000;
    struct finding_of of =
        about(e, VERIFY_CAUSES, e->own, "its writer acted on what it cannot have read: find it");

    if (is_beside && cause->p.record == e->p.record && cause->p.offset >= e->p.offset)
        findings_add(q->f, &of, "comes before its cause %s (%s[%d]@%lld)", cause->id, topic,
                     cause->p.partition, (long long)cause->p.offset);
    else if (seen >= 0 && seen <= cause->p.offset)
        findings_add(q->f, &of,
                     "follows from %s (%s[%d]@%lld), and its writer had read that only up to %lld",
                     cause->id, topic, cause->p.partition, (long long)cause->p.offset,
                     (long long)seen);
    else if (early_ms > q->rules->skew_ms) {
        of.todo = "set the clocks of the machines right (NTP), or allow more: --skew";
        findings_add(q->f, &of, "is %lld s older than its cause %s (%s[%d]@%lld)",
                     (long long)early_ms / 1000, cause->id, topic, cause->p.partition,
                     (long long)cause->p.offset);
    }
}

static bool is_cut(const struct asking *q, const struct entry *e)
{
    return q->rules->is_cut &&
           q->rules->is_cut(q->rules->ctx, (enum record)e->p.record, e->p.partition);
}

static void causes(struct asking *q, const struct group *g)
{
    for (size_t i = g->n_is; i < g->n; i++) {
        const struct entry *e = &g->items[i], *cause = cause_of(g, e);
        struct finding_of of = about(e, VERIFY_CAUSES, e->own,
                                     "look at the retention of the topic it was in, or find out "
                                     "who wrote this");

        if (e->p.kind != KIND_FOLLOWS || !e->p.is_judged)
            continue;
        q->f->looked[VERIFY_CAUSES]++;
        if (cause)
            order(q, cause, e);
        else if (!e->p.may_be_gone && !is_cut(q, e))
            findings_add(q->f, &of, "follows from %s, which is not in the log", e->id);
    }
}

static void unreadable(struct asking *q, const struct group *g)
{
    bool is_dead = false;

    for (size_t i = 0; i < g->n; i++)
        is_dead = is_dead || g->items[i].p.kind == KIND_DEAD;
    for (size_t i = 0; i < g->n; i++) {
        const struct entry *e = &g->items[i];
        struct finding_of of = about(e, VERIFY_READ, NULL,
                                     "look whether the agent that works on the topic runs, and at "
                                     "`relearn deadletters`");

        if (e->p.kind != KIND_UNREADABLE || !e->p.is_judged)
            continue;
        q->f->looked[VERIFY_READ]++;
        if (is_dead || e->p.may_be_gone)
            continue;
        if (is_late(q, e))
            findings_add(q->f, &of, "cannot be read (%s) and is no dead letter", e->own);
        else
            q->f->open[VERIFY_READ]++;
    }
}

/* ---- the sort ---- */

static int compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = strcmp(x->id, y->id);

    if (c)
        return c;
    if (x->p.kind != y->p.kind)
        return x->p.kind < y->p.kind ? -1 : 1;
    if (x->p.record != y->p.record)
        return x->p.record < y->p.record ? -1 : 1;
    if (x->p.partition != y->p.partition)
        return x->p.partition < y->p.partition ? -1 : 1;
    return (x->p.offset > y->p.offset) - (x->p.offset < y->p.offset);
}

static void check_group(struct asking *q, struct group g)
{
    while (g.n_is < g.n && g.items[g.n_is].p.kind == KIND_IS)
        g.n_is++;
    repeats(q, &g);
    places(q, &g);
    causes(q, &g);
    unreadable(q, &g);
}

static size_t unpack(const struct buf *bytes, struct entry **entries, size_t *cap)
{
    struct slice s;
    size_t n = 0;

    for (size_t at = 0; spool_next(bytes, &at, &s);) {
        struct entry *e;

        *entries = xgrow(*entries, cap, n + 1, sizeof(**entries));
        e = &(*entries)[n++];
        memcpy(&e->p, s.p, sizeof(e->p));
        e->id = s.p + sizeof(e->p);
        e->own = e->id + e->p.id_n + 1;
        e->seen = e->own + e->p.own_n + 1;
    }
    return n;
}

int ids_check(struct ids *x, const struct id_rules *rules, struct findings *f, struct err *err)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    struct asking q = {rules, f};
    struct entry *entries = NULL;
    size_t cap = 0;
    int rc = 0;

    for (size_t file = 0; file < SPOOL_FILES && !rc; file++) {
        rc = spool_load(x->spool, file, &bytes, err);
        size_t n = rc ? 0 : unpack(&bytes, &entries, &cap);
        if (n > 1)
            qsort(entries, n, sizeof(*entries), compare);
        for (size_t from = 0, to; from < n; from = to) {
            to = from + 1;
            while (to < n && strcmp(entries[to].id, entries[from].id) == 0)
                to++;
            check_group(&q, (struct group){&entries[from], to - from, 0});
        }
    }
    free_ptr(&entries);
    return rc;
}
