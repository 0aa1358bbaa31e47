#include "agents/relearn/verify_take.h"

#include <string.h>

#include "agents/relearn/topics.h"
#include "agents/relearn/verify_take_internal.h"
#include "common/digest.h"
#include "common/line.h"
#include "common/pipeline.h"

int material_new(const struct material_conf *conf, struct material **ret, struct err *err)
{
    struct material *m = xcalloc(1, sizeof(*m));

    m->conf = *conf;
    m->named = named_new(conf->artifacts);
    buf_init(&m->packed, 2 * CODEC_MAX_BYTES);
    if (ids_new(&m->ids, err) || spool_new(&m->lines, err)) {
        material_free(m);
        return -1;
    }
    *ret = m;
    return 0;
}

static void declared_free(struct material *m, struct declared *d)
{
    HASH_DEL(m->declared, d);
    free_ptr(&d->name);
    free_ptr(&d->dataset);
    free_ptr(&d);
}

static void answered_free(struct material *m, struct answered *x)
{
    HASH_DEL(m->answered, x);
    free_ptr(&x->key);
    free_ptr(&x->line);
    free_ptr(&x->a.id);
    free_ptr(&x->a.model);
    free_ptr(&x);
}

void material_free(struct material *m)
{
    struct declared *d, *next_d;
    struct answered *x, *next_x;
    struct instance *i, *next_i;

    if (!m)
        return;
    HASH_ITER (hh, m->declared, d, next_d)
        declared_free(m, d);
    HASH_ITER (hh, m->answered, x, next_x)
        answered_free(m, x);
    HASH_ITER (hh, m->instances, i, next_i) {
        HASH_DEL(m->instances, i);
        free_ptr(&i->name);
        free_ptr(&i->url);
        buf_fini(&i->report);
        free_ptr(&i);
    }
    for (int r = 0; r < RECORD_COUNT; r++) {
        free_ptr(&m->topics[r].first);
        free_ptr(&m->topics[r].next);
        free_ptr(&m->topics[r].has_gap);
    }
    free_ptr(&m->cluster);
    ids_free(m->ids);
    spool_free(m->lines);
    named_free(m->named);
    strset_fini(&m->runs);
    buf_fini(&m->packed);
    free_ptr(&m);
}

void material_topic(struct material *m, enum record r, const int64_t *first, int n)
{
    struct topic_parts *t = &m->topics[r];

    if (!t->first) {
        t->first = xcalloc((size_t)n + 1, sizeof(*t->first));
        t->next = xcalloc((size_t)n + 1, sizeof(*t->next));
        t->has_gap = xcalloc((size_t)n + 1, sizeof(*t->has_gap));
        t->n = n;
    }
    BUG_ON(n != t->n);
    memcpy(t->first, first, (size_t)n * sizeof(*first));
}

void material_cluster(struct material *m, const char *cluster)
{
    free_ptr(&m->cluster);
    m->cluster = xstrdup(cluster);
}

void material_use(struct material *m, enum material_use use)
{
    m->use = use;
}

struct named *material_names(struct material *m)
{
    return m->named;
}

const struct strset *material_runs(const struct material *m)
{
    return &m->runs;
}

int64_t material_events(const struct material *m, enum record r)
{
    return m->events[r];
}

/* ---- what is gone ---- */

static bool begins_late(const struct material *m, enum record r, int partition)
{
    const struct topic_parts *t = &m->topics[r];

    return partition < t->n && (t->first[partition] > 0 || t->has_gap[partition]);
}

static bool begins_late_anywhere(const struct material *m, enum record r)
{
    for (int i = 0; i < m->topics[r].n; i++)
        if (begins_late(m, r, i))
            return true;
    return false;
}

/* Did a topic that is kept for ever lose its beginning there? */
bool material__is_cut(const struct material *m, int partition)
{
    for (int r = 1; r < RECORD_COUNT; r++)
        if (record_is_control((enum record)r) && r != RECORD_HEALTH_MEASURED &&
            r != RECORD_DRIFT_DETECTED && begins_late(m, (enum record)r, partition))
            return true;
    return false;
}

/* May the cause of such an event be gone with the beginning of its topic? */
static bool is_cut(void *ctx, enum record effect, int partition)
{
    const struct material *m = ctx;

    switch (effect) {
    case RECORD_HEALTH_MEASURED:
        return begins_late(m, RECORD_PREDICTION_SERVED, partition);
    case RECORD_DATASET_INGESTED:
        return begins_late_anywhere(m, RECORD_DATASET_PUBLISHED);
    case RECORD_SERVING_CHANGED:
        return begins_late_anywhere(m, RECORD_DEPLOYMENT_CHANGED);
    case RECORD_DRIFT_DETECTED:
    case RECORD_DEPLOYMENT_CHANGED:
        return material__is_cut(m, partition) || begins_late(m, RECORD_HEALTH_MEASURED, partition);
    case RECORD_TRAINING_PLANNED:
        return material__is_cut(m, partition) || begins_late(m, RECORD_DRIFT_DETECTED, partition);
    default:
        return material__is_cut(m, partition);
    }
}

static bool is_beyond_retention(const struct material *m, enum record r, int64_t appended_unix_ms)
{
    char name[128];
    int64_t kept_ms = topic_spec(r, "", 0, 0, name, sizeof(name)).retention_ms;

    return m->conf.clock.now_unix_ms - appended_unix_ms > kept_ms;
}

/* Is this event so old that what it followed from may have been deleted? */
static bool cause_may_be_gone(const struct material *m, const struct event *ev,
                              int64_t appended_unix_ms)
{
    switch (ev->type) {
    case RECORD_HEALTH_MEASURED: /* a prediction: the embedded bus forgets those when it ends */
        return strcmp(EV_REC(ev, health_measured)->cluster, m->cluster) != 0 ||
               is_beyond_retention(m, RECORD_PREDICTION_SERVED, appended_unix_ms);
    case RECORD_DRIFT_DETECTED:
    case RECORD_DEPLOYMENT_CHANGED:
        return is_beyond_retention(m, RECORD_HEALTH_MEASURED, appended_unix_ms);
    case RECORD_TRAINING_PLANNED:
        return is_beyond_retention(m, RECORD_DRIFT_DETECTED, appended_unix_ms);
    default:
        return false;
    }
}

/* What comes from outside may name causes that are nobody's here. */
static bool has_cause_here(const struct event *ev)
{
    switch (ev->type) {
    case RECORD_PIPELINE_DECLARED:
    case RECORD_DATASET_PUBLISHED:
    case RECORD_OPERATOR_COMMANDED:
    case RECORD_PREDICTION_SERVED:
    case RECORD_LABEL_OBSERVED:
    case RECORD_DEAD_LETTERED:
        return false;
    case RECORD_DRIFT_DETECTED:
        return strcmp(EV_REC(ev, drift_detected)->source, "monitor") == 0;
    default:
        return true;
    }
}

/* ---- one event ---- */

/* Where it belongs, when that is another partition than it lies on; else -1.  The key that counts
 * is the one that the record names. */
static int belongs(const struct material *m, struct event *ev)
{
    const char *own = record_own_key(ev->type, ev->rec);
    bool is_worked_on = ev->type == RECORD_DATASET_PUBLISHED ||
                        (record_is_line_keyed(ev->type) && ev->type != RECORD_TRAINING_PROGRESSED);
    int n = m->topics[ev->type].n, right;

    if (own && own[0] && strcmp(own, ev->key) != 0)
        ev->key = arena_strdup(&ev->arena, own);
    if (!is_worked_on || !ev->key[0] || n <= 0)
        return -1;
    right = bus_partition_of(ev->key, strlen(ev->key), n);
    return right == ev->partition ? -1 : right;
}

static int take_id(struct material *m, const struct taken *t, struct err *err)
{
    const struct event *ev = &t->ev;
    const struct id_event e = {
        .record = ev->type,
        .partition = ev->partition,
        .offset = ev->offset,
        .time_unix_us = ev->time_unix_us,
        .appended_unix_ms = t->appended_unix_ms,
        .id = ev->id,
        .content = verify_content(ev, t->value),
        .is_judged = t->is_judged,
        .belongs = t->belongs,
        .cause = has_cause_here(ev) ? ev->cause : NULL,
        .seen = ev->type == RECORD_HEALTH_MEASURED ? NULL : ev->seen,
        .cause_may_be_gone = cause_may_be_gone(m, ev, t->appended_unix_ms),
    };

    return ids_add(m->ids, &e, err);
}

/* For the checks of its line. */
static int keep(struct material *m, const struct taken *t, const char *line, struct err *err)
{
    const struct slice pipeline = {line, strcspn(line, "/")};

    event_pack(t, line, &m->packed);
    return spool_add(m->lines, spool_hash(pipeline), buf_slice(&m->packed), err);
}

/* ---- what is kept of each record ---- */

static void take_pipeline(struct material *m, const struct pipeline_declared *rec, const char *name)
{
    struct pipeline *p = NULL;
    struct declared *d = NULL;
    struct err err = {0};

    HASH_FIND_STR(m->declared, name, d);
    if (d)
        declared_free(m, d);
    if (!rec || pipeline_parse(slice_str(rec->yaml), rec->name, &p, &err))
        return; /* withdrawn; or of a newer version, which no agent here takes either */
    d = xcalloc(1, sizeof(*d));
    d->name = xstrdup(name);
    d->dataset = xstrdup(p->dataset);
    d->is_segmented = p->segment != NULL;
    d->declared_unix_ms = rec->declared_unix_ms;
    d->first_declared_unix_ms = rec->first_declared_unix_ms == ABSENT_I64
                                    ? rec->declared_unix_ms
                                    : rec->first_declared_unix_ms;
    HASH_ADD_KEYPTR(hh, m->declared, d->name, strlen(d->name), d);
    pipeline_free(p);
}

/* To each pipeline that uses it. */
static int take_dataset(struct material *m, const struct taken *t, struct err *err)
{
    struct declared *d, *next;

    if (t->belongs >= 0)
        return 0;
    HASH_ITER (hh, m->declared, d, next)
        if (strcmp(d->dataset, t->ev.key) == 0 && keep(m, t, d->name, err))
            return -1;
    return 0;
}

static void take_prediction(struct material *m, const struct taken *t)
{
    const struct prediction_served *p = t->ev.rec;
    char key[512];
    struct answered *x = NULL;

    snprintf(key, sizeof(key), "%s %lld %s", p->line, (long long)p->generation, p->model);
    HASH_FIND_STR(m->answered, key, x);
    if (!x) {
        x = xcalloc(1, sizeof(*x));
        x->key = xstrdup(key);
        x->line = xstrdup(p->line);
        x->a = (struct verify_answer){.at = {t->ev.type, t->ev.partition, t->ev.offset},
                                      .id = xstrdup(t->ev.id),
                                      .model = xstrdup(p->model),
                                      .generation = p->generation};
        HASH_ADD_KEYPTR(hh, m->answered, x->key, strlen(x->key), x);
        named_take_event(m->named, &t->ev);
    }
    x->a.count += t->is_judged;
    x->a.is_judged = x->a.is_judged || t->is_judged;
}

/* The newest of each instance stays in memory; what others say of the line that they are about goes
 * to that line. */
static int take_report(struct material *m, const struct taken *t, struct err *err)
{
    const struct serving_changed *s = t->ev.rec;
    struct instance *x = NULL;

    HASH_FIND_STR(m->instances, s->instance, x);
    if (!x) {
        x = xcalloc(1, sizeof(*x));
        x->name = xstrdup(s->instance);
        HASH_ADD_KEYPTR(hh, m->instances, x->name, strlen(x->name), x);
    }
    event_pack(t, t->ev.key, &x->report);
    x->offset = t->ev.offset;
    free_ptr(&x->url);
    x->url = s->stopping ? NULL : xstrdup(s->url);
    return s->changed_line ? keep(m, t, s->changed_line, err) : 0;
}

static int take_dead_letter(struct material *m, const struct taken *t, struct err *err)
{
    const struct dead_lettered *d = t->ev.rec;
    const struct finding_of of = {.check = VERIFY_DEAD_LETTERS,
                                  .at = {t->ev.type, t->ev.partition, t->ev.offset},
                                  .id = t->ev.id,
                                  .todo = "find out who wrote it: every agent gives one"};
    const char *dot = strrchr(d->topic, '.');
    enum record r = record_of_topic(dot ? dot + 1 : d->topic);

    if (t->is_judged) {
        m->conf.f->looked[VERIFY_DEAD_LETTERS]++;
        if (!d->reason[0] || !d->code[0])
            findings_add(m->conf.f, &of, "is about %s[%d]@%lld and gives no %s", d->topic,
                         (int)d->partition, (long long)d->offset, d->reason[0] ? "code" : "reason");
    }
    return r == RECORD_NONE ? 0 : ids_dead(m->ids, r, (int)d->partition, d->offset, err);
}

static void take_names(struct material *m, const struct event *ev)
{
    const struct training_planned *p = ev->rec;
    const struct dataset_ingested *s = ev->rec;
    char id[ID_SIZE];

    named_take_event(m->named, ev);
    if (ev->type == RECORD_TRAINING_PLANNED && strcmp(p->kind, "requested") == 0) {
        strset_add(&m->runs, slice_str(ev->id));
    } else if (ev->type == RECORD_DATASET_INGESTED) { /* as ingest calls its own */
        id_from_cause("ingest", s->dataset_event, s->pipeline, id);
        strset_add(&m->runs, slice_str(id));
    }
}

static int take_event(struct material *m, const struct taken *t, struct err *err)
{
    switch (t->ev.type) {
    case RECORD_LABEL_OBSERVED:
    case RECORD_HEALTH_MEASURED:
    case RECORD_TRAINING_PROGRESSED:
        return 0;
    case RECORD_PREDICTION_SERVED: /* names are asked for once for many */
        take_prediction(m, t);
        return 0;
    default:
        take_names(m, &t->ev);
        break;
    }
    switch (t->ev.type) {
    case RECORD_PIPELINE_DECLARED:
        take_pipeline(m, t->ev.rec, t->ev.key);
        return 0;
    case RECORD_DATASET_PUBLISHED:
        return take_dataset(m, t, err);
    case RECORD_SERVING_CHANGED:
        return take_report(m, t, err);
    case RECORD_DEAD_LETTERED:
        return take_dead_letter(m, t, err);
    default:
        return t->belongs >= 0 ? 0 : keep(m, t, t->ev.key, err);
    }
}

/* ---- messages ---- */

static int take_unreadable(struct material *m, const struct taken *t, const char *why,
                           struct err *err)
{
    const struct id_event e = {
        .record = t->ev.type,
        .partition = t->ev.partition,
        .offset = t->ev.offset,
        .appended_unix_ms = t->appended_unix_ms,
        .is_judged = t->is_judged,
        .cause_may_be_gone = is_beyond_retention(m, RECORD_DEAD_LETTERED, t->appended_unix_ms)};

    return ids_unreadable(m->ids, &e, why, err);
}

static int take_readable(struct material *m, struct taken *t, struct err *err)
{
    const char *own = record_own_key(t->ev.type, t->ev.rec);

    if (m->use == MATERIAL_NAMES) {
        take_names(m, &t->ev);
        return 0;
    }
    if (!t->ev.key[0] && (!own || !own[0]))
        return take_unreadable(m, t, "the event has no key and its record names none", err);
    t->belongs = belongs(m, &t->ev);
    m->conf.f->looked[VERIFY_READ] += t->is_judged;
    return take_id(m, t, err) || take_event(m, t, err) ? -1 : 0;
}

static void take_tombstone(struct material *m, enum record r, const struct bus_message *msg)
{
    CLEANUP_FREE char *name = xstrndup(msg->key_n ? msg->key : "", msg->key_n);

    if (r == RECORD_PIPELINE_DECLARED)
        take_pipeline(m, NULL, name);
}

static void note_offset(struct material *m, enum record r, const struct bus_message *msg)
{
    struct topic_parts *t = &m->topics[r];

    if (msg->partition >= t->n)
        return;
    if (t->next[msg->partition] && msg->offset > t->next[msg->partition])
        t->has_gap[msg->partition] = true;
    t->next[msg->partition] = msg->offset + 1;
}

void material_take(struct material *m, const struct bus_message *msg, enum record r,
                   const struct event *ev, const struct err *why)
{
    struct taken t = {.value = {msg->value, msg->value_n}, .belongs = -1};
    int rc = 0;

    if (m->failure.code)
        return;
    note_offset(m, r, msg);
    if (!msg->value) {
        take_tombstone(m, r, msg);
        return;
    }
    event_of_message(r, msg, &t.ev);
    t.ev.rec = ev ? ev->rec : NULL;
    t.appended_unix_ms = msg->timestamp_ms > 0 ? msg->timestamp_ms : t.ev.time_unix_us / 1000;
    t.is_judged = m->use == MATERIAL_JUDGE && t.appended_unix_ms >= m->conf.since_unix_ms;
    m->events[r] += m->use != MATERIAL_NAMES;
    if (t.ev.rec)
        rc = take_readable(m, &t, &m->failure);
    else if (m->use != MATERIAL_NAMES)
        rc = take_unreadable(m, &t, why ? why->msg : "", &m->failure);
    BUG_ON(rc && !m->failure.code);
    arena_fini(&t.ev.arena);
}

int material_check(struct material *m, struct codec *codec, bool (*answers)(const char *url),
                   struct err *err)
{
    const struct id_rules rules = {&m->conf.clock, m->conf.skew_ms, m->cluster, is_cut, m};
    struct instance *x, *next;

    if (m->failure.code) {
        *err = m->failure;
        return -1;
    }
    HASH_ITER (hh, m->instances, x, next)
        x->is_there = answers && x->url && answers(x->url);
    return ids_check(m->ids, &rules, m->conf.f, err) || material__check_lines(m, codec, err) ? -1
                                                                                             : 0;
}
