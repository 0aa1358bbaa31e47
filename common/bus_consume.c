/* The consuming half of the bus: subscription, assignment, pause, seek, messages, commits. */
#include "common/bus_internal.h"

#include <string.h>

#include "common/fault.h"
#include "common/mem.h"

static struct bus__part *find_part(struct bus *b, const char *topic, int partition)
{
    for (size_t i = 0; i < b->n_parts; i++) {
        if (b->parts[i].partition == partition && strcmp(b->parts[i].topic, topic) == 0)
            return &b->parts[i];
    }
    return NULL;
}

static struct bus__part *get_part(struct bus *b, const char *topic, int partition)
{
    struct bus__part *p = find_part(b, topic, partition);

    if (p)
        return p;
    b->parts = xgrow(b->parts, &b->cap_parts, b->n_parts + 1, sizeof(*b->parts));
    p = &b->parts[b->n_parts++];
    *p = (struct bus__part){
        .topic = xstrdup(topic), .partition = partition, .want = -1, .sent = -1, .acked = -1};
    p->end = BUS_END_UNKNOWN;
    return p;
}

/* ---- assignment ------------------------------------------------------------------------------ */

/* Makes the client hold exactly what is paused.  Only changes are told: each one, even a resume of
 * what flows, throws away what was fetched. */
static int apply_pauses(struct bus *b, struct err *err)
{
    rd_kafka_topic_partition_list_t *lists[2] = {rd_kafka_topic_partition_list_new(0),
                                                 rd_kafka_topic_partition_list_new(0)};
    rd_kafka_resp_err_t e = RD_KAFKA_RESP_ERR_NO_ERROR;

    for (size_t i = 0; i < b->n_parts; i++) {
        struct bus__part *p = &b->parts[i];

        if (!p->assigned || p->paused == p->held)
            continue;
        rd_kafka_topic_partition_list_add(lists[p->paused], p->topic, p->partition);
        p->held = p->paused;
    }
    if (lists[true]->cnt)
        e = rd_kafka_pause_partitions(b->consumer, lists[true]);
    if (!e && lists[false]->cnt)
        e = rd_kafka_resume_partitions(b->consumer, lists[false]);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < lists[k]->cnt && !e; i++)
            e = lists[k]->elems[i].err;
        rd_kafka_topic_partition_list_destroy(lists[k]);
    }
    return e ? bus__err(err, e, "pause", NULL) : 0;
}

/* The start is asked for as offset 0: BEGINNING is a question to a leader that the client has not
 * got yet, and is put again after half a second.  Where 0 is gone, auto.offset.reset finds the
 * earliest. */
static int64_t client_offset(int64_t offset)
{
    return offset == BUS_OFFSET_EARLIEST ? 0 : offset;
}

static int apply_assignment(struct bus *b, struct err *err)
{
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new((int)b->n_parts);
    rd_kafka_resp_err_t e;

    for (size_t i = 0; i < b->n_parts; i++) {
        const struct bus__part *p = &b->parts[i];

        if (p->assigned)
            rd_kafka_topic_partition_list_add(all, p->topic, p->partition)->offset =
                client_offset(p->start);
    }
    e = rd_kafka_assign(b->consumer, all->cnt ? all : NULL);
    rd_kafka_topic_partition_list_destroy(all);
    return e ? bus__err(err, e, "assign", NULL) : apply_pauses(b, err);
}

int bus_assign(struct bus *b, const struct bus_position *p, size_t n, struct err *err)
{
    bool *was_paused = xcalloc(b->n_parts + 1, sizeof(*was_paused));
    size_t n_before = b->n_parts;

    for (size_t i = 0; i < b->n_parts; i++) {
        was_paused[i] = b->parts[i].assigned && b->parts[i].paused;
        b->parts[i].assigned = b->parts[i].paused = b->parts[i].seeking = false;
    }
    b->n_seeking = 0;
    for (size_t i = 0; i < n; i++) {
        struct bus__part *part = get_part(b, p[i].topic, p[i].partition);
        size_t at = (size_t)(part - b->parts);

        part->assigned = true;
        part->paused = at < n_before && was_paused[at];
        part->start = p[i].offset;
        part->end = BUS_END_UNKNOWN;
    }
    free_ptr(&was_paused);
    return b->is_warm ? apply_assignment(b, err) : 0;
}

/* The client asks once for a committed position.  Where the group's coordinator is being made, or
 * moves, that is refused, and the partition never begins (seen with 2.0.2).  So everything is
 * assigned anew: what has begun at its position, the rest as before. */
static bool has_begun(const struct bus *b, const struct bus__part *p, int64_t *ret_position)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    bool begun;

    rd_kafka_topic_partition_list_add(list, p->topic, p->partition);
    begun = rd_kafka_position(b->consumer, list) == RD_KAFKA_RESP_ERR_NO_ERROR &&
            list->elems[0].offset >= 0;
    if (begun)
        *ret_position = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return begun;
}

void bus__positions_refused(struct bus *b) /* the next beat asks: not more often than that */
{
    int64_t position;

    for (size_t i = 0; i < b->n_parts && !b->ask_positions; i++) {
        const struct bus__part *p = &b->parts[i];

        b->ask_positions =
            p->assigned && p->start == BUS_OFFSET_COMMITTED && !has_begun(b, p, &position);
    }
}

void bus__ask_positions(struct bus *b)
{
    struct err err = {0};

    if (!b->ask_positions || !b->is_warm)
        return;
    b->ask_positions = false;
    for (size_t i = 0; i < b->n_parts; i++)
        if (b->parts[i].assigned && !b->parts[i].seeking)
            (void)has_begun(b, &b->parts[i], &b->parts[i].start);
    if (apply_assignment(b, &err))
        bus__problem(b, &err);
}

static void unassign(struct bus *b)
{
    for (size_t i = 0; i < b->n_parts; i++)
        b->parts[i].assigned = b->parts[i].paused = b->parts[i].seeking = false;
    b->n_seeking = 0;
    rd_kafka_assign(b->consumer, NULL);
}

int bus_pause(struct bus *b, const char *topic, int partition, bool paused, struct err *err)
{
    struct bus__part *p = find_part(b, topic, partition);

    if (!p || !p->assigned)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "%s[%d] is not assigned", topic, partition);
    p->paused = paused;
    return b->is_warm ? apply_pauses(b, err) : 0;
}

/* False: too early, or err is set. */
static bool try_seek(struct bus *b, struct bus__part *p, struct err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_error_t *error;
    rd_kafka_resp_err_t e;

    rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset =
        client_offset(p->start);
    error = rd_kafka_seek_partitions(b->consumer, list, BUS_SEEK_MS);
    e = error ? rd_kafka_error_code(error) : list->elems[0].err;
    if (error)
        rd_kafka_error_destroy(error);
    rd_kafka_topic_partition_list_destroy(list);
    if (e && e != RD_KAFKA_RESP_ERR__STATE && e != RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS &&
        e != RD_KAFKA_RESP_ERR__TIMED_OUT && e != RD_KAFKA_RESP_ERR__OUTDATED)
        bus__err(err, e, "seek", NULL);
    return !e;
}

static void set_seeking(struct bus *b, struct bus__part *p, bool seeking)
{
    if (p->seeking == seeking)
        return;
    p->seeking = seeking;
    b->n_seeking += seeking ? 1 : (size_t)-1;
    if (seeking)
        loop_timer_start(b->beat, BUS_SEEK_AGAIN_MS);
}

void bus__seek_again(struct bus *b)
{
    for (size_t i = 0; i < b->n_parts && b->n_seeking > 0; i++) {
        struct bus__part *p = &b->parts[i];
        struct err err = {0};

        if (!p->seeking)
            continue;
        if (try_seek(b, p, &err) || err.code)
            set_seeking(b, p, false);
        if (err.code)
            bus__problem(b, &err);
    }
}

bool bus__is_seeking(struct bus *b, const char *topic, int partition)
{
    const struct bus__part *p = b->n_seeking > 0 ? find_part(b, topic, partition) : NULL;

    return p && p->seeking;
}

int bus_seek(struct bus *b, const char *topic, int partition, int64_t offset, struct err *err)
{
    struct bus__part *p = find_part(b, topic, partition);
    struct err failed = {0};
    bool done;

    if (!p || !p->assigned)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "%s[%d] is not assigned", topic, partition);
    p->start = offset;
    p->end = BUS_END_UNKNOWN;
    b->n_seeks++;
    if (!b->is_warm)
        return 0;
    done = try_seek(b, p, &failed);
    set_seeking(b, p, !done && !failed.code);
    if (!failed.code)
        return 0;
    if (err)
        *err = failed;
    return -1;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static int apply_subscription(struct bus *b, struct err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)b->n_subscribed);
    rd_kafka_resp_err_t e;

    for (size_t i = 0; i < b->n_subscribed; i++)
        rd_kafka_topic_partition_list_add(list, b->subscribed[i], RD_KAFKA_PARTITION_UA);
    e = rd_kafka_subscribe(b->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return e ? bus__err(err, e, "subscribe", NULL) : 0;
}

int bus_subscribe(struct bus *b, const char *const *topics, size_t n, struct err *err)
{
    char **copy;

    if (!b->conf.group || b->conf.produce_only)
        return err_inval(err, "subscribe: this bus has no group");
    copy = xcalloc(n + 1, sizeof(*copy));
    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(topics[i]);
    for (size_t i = 0; i < b->n_subscribed; i++)
        free_ptr(&b->subscribed[i]);
    free_ptr(&b->subscribed);
    b->subscribed = copy;
    b->n_subscribed = n;
    return b->is_warm ? apply_subscription(b, err) : 0;
}

static void tell_assigned(struct bus *b, const rd_kafka_topic_partition_list_t *list)
{
    struct bus_position *p = xcalloc((size_t)list->cnt + 1, sizeof(*p));

    for (int i = 0; i < list->cnt; i++) {
        p[i] = (struct bus_position){.topic = list->elems[i].topic,
                                     .partition = list->elems[i].partition,
                                     .offset = BUS_OFFSET_COMMITTED};
    }
    b->cb.on_assigned(b->cb.ctx, p, (size_t)list->cnt);
    free_ptr(&p);
}

void bus__on_rebalance(struct bus *b, rd_kafka_event_t *ev)
{
    bool lost;

    if (rd_kafka_event_error(ev) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        if (b->phase == BUS_OPEN)
            tell_assigned(b, rd_kafka_event_topic_partition_list(ev));
        else
            rd_kafka_assign(b->consumer, NULL);
        return;
    }
    lost = rd_kafka_assignment_lost(b->consumer);
    if (b->phase == BUS_OPEN)
        b->cb.on_revoked(b->cb.ctx, lost);
    if (lost) { /* somebody else has them: our positions are no longer anyone's business */
        for (size_t i = 0; i < b->n_parts; i++)
            b->parts[i].want = -1;
    } else {
        bus__commit_flush(b);
    }
    unassign(b);
}

int bus__consumer_make(struct bus *b, struct err *err)
{
    const uint64_t one = 1;

    if (bus__make_consumer(&b->conf, bus_is_embedded(b), &b->consumer, err))
        return -1;
    b->consumer_q = rd_kafka_queue_get_consumer(b->consumer);
    rd_kafka_queue_io_event_enable(b->consumer_q, b->efd, &one, sizeof(one));
    return 0;
}

int bus__consumer_warm(struct bus *b, struct err *err)
{
    bool assigned = false;

    b->is_warm = true;
    for (size_t i = 0; i < b->n_parts; i++)
        assigned = assigned || b->parts[i].assigned;
    if (assigned && apply_assignment(b, err))
        return -1;
    return b->n_subscribed ? apply_subscription(b, err) : 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void fill_headers(const rd_kafka_message_t *from, struct bus_message *to)
{
    rd_kafka_headers_t *h;

    if (rd_kafka_message_headers(from, &h))
        return;
    while (to->n_headers < BUS_MAX_HEADERS) {
        struct bus_header *one = &to->headers[to->n_headers];

        if (rd_kafka_header_get_all(h, to->n_headers, &one->name, &one->value, &one->n))
            break;
        to->n_headers++;
    }
}

static struct bus__part *part_of_message(struct bus *b, const char *topic, int partition)
{
    struct bus__part *p = b->newest_part < b->n_parts ? &b->parts[b->newest_part] : NULL;

    if (!p || p->partition != partition || strcmp(p->topic, topic) != 0)
        p = find_part(b, topic, partition);
    if (p)
        b->newest_part = (size_t)(p - b->parts);
    return p;
}

/* The client tells of an end only when a Fetch brings nothing, which never is where messages keep
 * coming: who waits for the end of such a partition would never be ready.  So it has ended, too,
 * when all has come that was there when its first message came. */
static void tell_end(struct bus *b, const struct bus_message *m)
{
    struct bus__part *p = part_of_message(b, m->topic, m->partition);
    int64_t low, high;

    if (!p || !p->assigned || p->end == BUS_END_TOLD || b->phase != BUS_OPEN)
        return;
    if (p->end == BUS_END_UNKNOWN &&
        !rd_kafka_get_watermark_offsets(b->consumer, m->topic, m->partition, &low, &high) &&
        high > 0)
        p->end = high;
    if (p->end == BUS_END_UNKNOWN || m->offset + 1 < p->end)
        return;
    p->end = BUS_END_TOLD;
    if (b->cb.on_end)
        b->cb.on_end(b->cb.ctx, m->topic, m->partition, m->offset + 1);
}

void bus__on_fetch(struct bus *b, rd_kafka_event_t *ev)
{
    const rd_kafka_message_t *m;
    uint64_t n_seeks;

    while ((m = rd_kafka_event_message_next(ev))) {
        struct bus_message
            to; /* headers are filled as far as n_headers says: 600 bytes not cleared */

        to.topic = rd_kafka_topic_name(m->rkt);
        if (b->phase != BUS_OPEN || m->err || bus__is_seeking(b, to.topic, m->partition))
            continue;
        to.partition = m->partition;
        to.offset = m->offset;
        to.timestamp_ms = rd_kafka_message_timestamp(m, NULL);
        to.key = m->key;
        to.key_n = m->key_len;
        to.value = m->payload;
        to.value_n = m->len;
        to.n_headers = 0;
        fill_headers(m, &to);
        b->stats.received++;
        n_seeks = b->n_seeks;
        FAULT_AT(receive, "bus.receive.before");
        b->cb.on_message(b->cb.ctx, &to);
        FAULT_AT(receive, "bus.receive.after");
        if (n_seeks == b->n_seeks) /* it was taken, and is not to come again */
            tell_end(b, &to);
    }
}

/* ---- commits --------------------------------------------------------------------------------- */

static void commit_later(struct bus *b, int64_t delay_ms)
{
    if (!b->commit_due)
        loop_timer_start(b->commit_timer, delay_ms);
    b->commit_due = true;
}

void bus_commit(struct bus *b, const char *topic, int partition, int64_t next_offset)
{
    struct bus__part *p;

    if (!b->conf.group || b->conf.produce_only)
        return;
    p = get_part(b, topic, partition);
    if (p->want == next_offset)
        return;
    p->want = next_offset;
    commit_later(b, BUS_COMMIT_EVERY_MS);
}

int64_t bus_committed(struct bus *b, const char *topic, int partition)
{
    const struct bus__part *p = find_part(b, topic, partition);

    return p ? p->acked : -1;
}

/* It was not even sent: all of it is sent again. */
static void not_sent(struct bus *b, const rd_kafka_topic_partition_list_t *list,
                     rd_kafka_resp_err_t e)
{
    struct err err = {0};

    for (int i = 0; i < list->cnt; i++) {
        struct bus__part *p = find_part(b, list->elems[i].topic, list->elems[i].partition);

        if (p)
            p->sent = -1;
    }
    commit_later(b, BUS_COMMIT_RETRY_MS);
    bus__err(&err, e, "commit", NULL);
    bus__problem(b, &err);
}

void bus__commit_flush(struct bus *b)
{
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t e = RD_KAFKA_RESP_ERR_NO_ERROR;

    /* Nobody hears it; and one that waits for its coordinator makes destruction wait ten seconds.
     */
    if (!b->is_warm || !b->up)
        return;
    list = rd_kafka_topic_partition_list_new(0);
    for (size_t i = 0; i < b->n_parts; i++) {
        struct bus__part *p = &b->parts[i];

        if (p->want < 0 || p->want == p->sent || p->want == p->acked)
            continue;
        rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = p->want;
        p->sent = p->want;
    }
    /* By queue: rd_kafka_commit() answers to a callback of the configuration only. */
    if (list->cnt > 0)
        e = EFFECT_SURE(commit, "bus.commit", RD_KAFKA_RESP_ERR__FAIL,
                        rd_kafka_commit_queue(b->consumer, list, b->consumer_q, NULL, NULL));
    if (e)
        not_sent(b, list, e);
    else if (list->cnt > 0)
        b->commits_out++;
    rd_kafka_topic_partition_list_destroy(list);
}

void bus__on_commit_timer(void *ctx)
{
    struct bus *b = ctx;

    b->commit_due = false;
    if (b->up)
        bus__commit_flush(b);
    else
        commit_later(b, BUS_COMMIT_RETRY_MS);
}

/* True: to be sent again. */
static bool commit_failed(struct bus__part *p)
{
    p->sent = -1;
    if (p->assigned)
        return true;
    p->want = -1; /* no longer ours: whoever has it commits its own */
    return false;
}

void bus__on_committed(struct bus *b, rd_kafka_event_t *ev)
{
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(ev);
    rd_kafka_resp_err_t all = rd_kafka_event_error(ev), e = RD_KAFKA_RESP_ERR_NO_ERROR;
    struct err err = {0};

    if (b->commits_out > 0)
        b->commits_out--;
    if (!all && FAULT_LOST(commit, "bus.committed"))
        all = RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        struct bus__part *p = find_part(b, at->topic, at->partition);

        if (!p)
            continue;
        if (!all && !at->err)
            p->acked = at->offset;
        else if (commit_failed(p))
            e = all ? all : at->err;
    }
    if (!e)
        return;
    commit_later(b, BUS_COMMIT_RETRY_MS);
    bus__err(&err, e, "commit", NULL);
    bus__problem(b, &err);
}
