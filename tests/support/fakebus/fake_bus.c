/* To be included by a test, not linked.  See fake_bus.h. */
#include "tests/support/fakebus/fake_log.c"

/* ---- groups ---------------------------------------------------------------------------------- */

static struct fake_group *fake_group(const char *name)
{
    for (size_t i = 0; i < fake.n_groups; i++) {
        if (strcmp(fake.groups[i].name, name) == 0)
            return &fake.groups[i];
    }
    fake.groups = xgrow(fake.groups, &fake.cap_groups, fake.n_groups + 1, sizeof(*fake.groups));
    fake.groups[fake.n_groups] = (struct fake_group){.name = arena_strdup(&fake.arena, name)};
    return &fake.groups[fake.n_groups++];
}

static bool fake_is_member(const struct bus *b, const char *group)
{
    return b && !b->is_crashed && !b->is_closing && b->n_subscribed > 0 &&
           strcmp(b->group, group) == 0;
}

static void fake_rebalance(const struct bus *b)
{
    if (b->has_group && b->n_subscribed > 0) {
        fake_group(b->group)->generation++;
        fake_wake_all();
    }
}

static bool fake_subscribes(const struct bus *b, const char *topic)
{
    for (size_t i = 0; i < b->n_subscribed; i++) {
        if (strcmp(b->subscribed[i], topic) == 0)
            return true;
    }
    return false;
}

/* Range, as Kafka does it: members in order, each topic by itself. */
static void fake_tell_assigned(struct bus *b)
{
    struct bus_position list[1024];
    size_t n = 0;

    for (size_t i = 0; i < fake.n_topics; i++) {
        const struct fake_topic *t = &fake.topics[i];
        int members = 0, me = -1, from, to;

        for (size_t k = 0; k < FAKE_BUSES_MAX; k++) {
            if (!fake_is_member(fake.buses[k], b->group) ||
                !fake_subscribes(fake.buses[k], t->name))
                continue;
            if (fake.buses[k] == b)
                me = members;
            members++;
        }
        if (me < 0)
            continue;
        from = me * (t->n / members) + (me < t->n % members ? me : t->n % members);
        to = from + t->n / members + (me < t->n % members ? 1 : 0);
        for (int p = from; p < to; p++) {
            BUG_ON(n == ARRAY_LEN(list));
            list[n++] = (struct bus_position){t->name, p, BUS_OFFSET_COMMITTED};
        }
    }
    b->cb.on_assigned(b->cb.ctx, list, n);
}

static bool fake_step_group(struct bus *b)
{
    struct fake_group *g;

    if (!fake_is_member(b, b->group))
        return false;
    g = fake_group(b->group);
    if (b->revoked_at < g->generation) {
        b->revoked_at = g->generation;
        if (b->assigned_at > 0)
            b->cb.on_revoked(b->cb.ctx, b->is_expelled);
        b->is_expelled = false;
        for (size_t i = 0; i < b->n_parts; i++)
            b->parts[i].is_assigned = b->parts[i].is_paused = false;
        fake_wake_all();
        return true;
    }
    if (b->assigned_at == g->generation)
        return false;
    for (size_t i = 0; i < FAKE_BUSES_MAX; i++) {
        if (fake_is_member(fake.buses[i], b->group) && fake.buses[i]->revoked_at < g->generation)
            return false; /* waits for the others */
    }
    b->assigned_at = g->generation;
    fake_tell_assigned(b);
    return true;
}

/* ---- a step of one bus ----------------------------------------------------------------------- */

static bool fake_step_commits(struct bus *b)
{
    bool any = false;

    for (size_t i = 0; i < b->n_parts; i++) {
        struct fake_part *p = &b->parts[i];

        if (p->commit < 0 || p->commit == p->committed)
            continue;
        any = true;
        if (fake_bus_faults.fail_commits > 0) {
            fake_bus_faults.fail_commits--;
            continue;
        }
        fake_set_position(b->group, p->topic->name, p->partition, p->commit);
        p->committed = p->commit;
    }
    return any;
}

static void fake_arrive(struct fake_sent *s)
{
    struct fake_faults *f = &fake_bus_faults;

    s->is_appended = true;
    s->wait_steps = f->delay_steps;
    s->offset = -1;
    if (f->lose > 0) {
        f->lose--;
        err_set(&s->err, ERR_BUS, NEXT_RETRY, "fake: lost");
        return;
    }
    if (f->give_up > 0) {
        f->give_up--;
        err_set(&s->err, ERR_BUS, NEXT_FATAL, "fake: the client has given up");
        return;
    }
    s->offset = fake_append(&s->message);
    if (f->duplicate > 0) {
        f->duplicate--;
        fake_append(&s->message);
    }
    if (f->drop_ack > 0) {
        f->drop_ack--;
        err_set(&s->err, ERR_TIMEOUT, NEXT_RETRY, "fake: no acknowledgement came");
    }
}

static bool fake_step_sent(struct bus *b)
{
    bool any = b->n_sent > 0;

    for (size_t i = 0; i < b->n_sent; i++) {
        if (!b->sent[i].is_appended)
            fake_arrive(&b->sent[i]);
    }
    while (b->n_sent > 0 && b->sent[0].is_appended && b->sent[0].wait_steps == 0) {
        struct fake_sent s = b->sent[0];

        memmove(b->sent, b->sent + 1, --b->n_sent * sizeof(*b->sent));
        if (s.err.next == NEXT_FATAL && b->cb.on_problem)
            b->cb.on_problem(b->cb.ctx, &s.err);
        if (s.err.code)
            b->stats.delivery_failed++;
        else
            b->stats.delivered++;
        if (s.fn)
            s.fn(s.ctx, s.err.code ? &s.err : NULL, s.message.partition, s.offset);
        if (b->is_crashed)
            return true;
    }
    for (size_t i = 0; i < b->n_sent; i++)
        b->sent[i].wait_steps -= b->sent[i].wait_steps > 0;
    return any;
}

static bool fake_step_part(struct bus *b, size_t at)
{
    size_t most = fake.is_shuffled ? 1 + rng_below(&fake.rng, FAKE_FEW) : SIZE_MAX;
    bool any = false;

    for (size_t n = 0; n < most; n++) {
        struct fake_part *p = &b->parts[at]; /* callbacks may make the array move */
        struct fake_partition *log = &p->topic->partitions[p->partition];

        if (!p->is_assigned || p->is_paused || b->is_crashed || b->is_closing)
            return any;
        if (p->next >= (int64_t)log->n)
            break;
        struct bus_message m = log->log[p->next++];

        b->stats.received++;
        any = true;
        b->cb.on_message(b->cb.ctx, &m);
    }
    struct fake_part *p = &b->parts[at];
    int64_t end = (int64_t)p->topic->partitions[p->partition].n;

    if (p->is_assigned && !p->is_paused && !b->is_crashed && p->next >= end && p->told_end != end) {
        p->told_end = end;
        any = true;
        if (b->cb.on_end)
            b->cb.on_end(b->cb.ctx, p->topic->name, p->partition, end);
    }
    return any;
}

static bool fake_step_parts(struct bus *b)
{
    size_t n = b->n_parts, first = fake.is_shuffled && n ? rng_below(&fake.rng, n) : 0;
    bool any = false;

    for (size_t i = 0; i < n && !b->is_crashed; i++)
        any = fake_step_part(b, (first + i) % n) || any;
    if (any && !b->is_crashed && !b->is_closing && b->cb.on_turn)
        b->cb.on_turn(b->cb.ctx);
    return any;
}

static void fake_free(struct bus *b)
{
    for (size_t i = 0; i < FAKE_BUSES_MAX; i++) {
        if (fake.buses[i] == b)
            fake.buses[i] = NULL;
    }
    loop_timer_free(b->timer);
    free(b->parts);
    free(b->sent);
    free(b->subscribed);
    free(b);
}

static void fake_finish(struct bus *b)
{
    loop_fn fn = b->on_closed;
    void *ctx = b->on_closed_ctx;

    while (b->n_sent > 0 && !b->is_crashed) {
        struct fake_sent s = b->sent[--b->n_sent];
        struct err err = {0};

        err_set(&err, ERR_CANCELED, NEXT_RETRY, "closed before the broker had answered");
        if (s.fn)
            s.fn(s.ctx, &err, -1, -1);
    }
    fake_rebalance(b);
    fake_free(b);
    fake_wake_all();
    if (fn)
        fn(ctx);
}

static bool fake_step_bus(struct bus *b)
{
    bool any = false;

    if (b->is_stepping)
        return false;
    b->is_stepping = true;
    if (!b->is_crashed && !fake_bus_faults.down) {
        if (!b->is_closing && strcmp(b->told_id, fake.cluster) != 0) {
            str_copy(b->told_id, sizeof(b->told_id), fake.cluster);
            any = true;
            if (b->cb.on_connected)
                b->cb.on_connected(b->cb.ctx, b->told_id);
        }
        any = fake_step_sent(b) || any;
        any = (!b->is_crashed && fake_step_commits(b)) || any;
        any = (!b->is_crashed && !b->is_closing && fake_step_group(b)) || any;
        any = (!b->is_crashed && !b->is_closing && fake_step_parts(b)) || any;
    }
    b->is_stepping = false;
    if (b->is_closing &&
        (b->is_crashed || b->n_sent == 0 || clk_mono_ms(&clk_system) >= b->close_by_ms)) {
        fake_finish(b);
        return true;
    }
    if (any || b->n_sent > 0 || b->is_closing)
        loop_timer_start(b->timer, fake_bus_faults.down ? 1 : 0);
    return any;
}

static void fake_on_timer(void *ctx)
{
    fake_step_bus(ctx);
}

bool fake_bus_step(void)
{
    bool any = false;

    for (size_t i = 0; i < FAKE_BUSES_MAX; i++) {
        if (fake.buses[i])
            any = fake_step_bus(fake.buses[i]) || any;
    }
    return any;
}

void fake_bus_crash(struct bus *b)
{
    fake_rebalance(b);
    b->is_crashed = true;
    b->n_sent = 0;
}

void fake_bus_expel(struct bus *b)
{
    for (size_t i = 0; i < b->n_parts; i++)
        b->parts[i].commit = b->parts[i].committed = -1;
    b->is_expelled = true;
    fake_rebalance(b);
}

/* ---- bus.h ----------------------------------------------------------------------------------- */

int bus_open(struct loop *l, const struct bus_conf *conf, const struct bus_callbacks *cb,
             struct bus **ret, struct err *err)
{
    struct bus *b = xcalloc(1, sizeof(*b));
    size_t i = 0;

    (void)err;
    if (fake.cluster[0] == '\0')
        fake_bus_reset();
    b->loop = l;
    b->cb = *cb;
    b->has_group = conf->group && !conf->produce_only;
    if (b->has_group)
        str_copy(b->group, sizeof(b->group), conf->group);
    b->timer = loop_timer_new(l, fake_on_timer, b);
    while (i < FAKE_BUSES_MAX && fake.buses[i])
        i++;
    BUG_ON(i == FAKE_BUSES_MAX);
    fake.buses[i] = b;
    loop_timer_start(b->timer, 0);
    *ret = b;
    return 0;
}

void bus_close(struct bus *b, int64_t flush_ms, loop_fn on_closed, void *ctx)
{
    BUG_ON(b->is_closing);
    b->is_closing = true;
    b->close_by_ms = clk_mono_ms(&clk_system) + flush_ms;
    b->on_closed = on_closed;
    b->on_closed_ctx = ctx;
    loop_timer_start(b->timer, 0);
}

const char *bus_cluster_id(const struct bus *b)
{
    return b->told_id[0] ? b->told_id : NULL;
}

bool bus_is_embedded(const struct bus *b)
{
    return str_has_prefix(b->told_id, "mockCluster");
}

bool bus_is_up(const struct bus *b)
{
    (void)b;
    return !fake_bus_faults.down;
}

static struct fake_part *fake_part(struct bus *b, const char *topic, int partition)
{
    struct fake_topic *t = fake_find(topic);

    for (size_t i = 0; i < b->n_parts; i++) {
        if (b->parts[i].topic == t && b->parts[i].partition == partition)
            return &b->parts[i];
    }
    BUG_ON(!t || partition < 0 || partition >= t->n); /* a true broker would make it, or refuse */
    b->parts = xgrow(b->parts, &b->cap_parts, b->n_parts + 1, sizeof(*b->parts));
    b->parts[b->n_parts] =
        (struct fake_part){.topic = t, .partition = partition, .commit = -1, .committed = -1};
    return &b->parts[b->n_parts++];
}

static int64_t fake_start(const struct bus *b, const struct fake_part *p, int64_t offset)
{
    int64_t at = offset;

    if (offset == BUS_OFFSET_LATEST)
        return fake_bus_end(p->topic->name, p->partition);
    if (offset == BUS_OFFSET_COMMITTED)
        at = fake_bus_position(b->group, p->topic->name, p->partition);
    if (at > fake_bus_end(p->topic->name, p->partition))
        at = 0; /* auto.offset.reset=earliest */
    return at < 0 ? 0 : at;
}

int bus_subscribe(struct bus *b, const char *const *topics, size_t n, struct err *err)
{
    if (!b->has_group)
        return err_inval(err, "subscribe: this bus has no group");
    free(b->subscribed);
    b->subscribed = xcalloc(n + 1, sizeof(*b->subscribed));
    for (size_t i = 0; i < n; i++)
        b->subscribed[i] = arena_strdup(&fake.arena, topics[i]);
    b->n_subscribed = n;
    fake_rebalance(b);
    return 0;
}

int bus_assign(struct bus *b, const struct bus_position *p, size_t n, struct err *err)
{
    (void)err;
    for (size_t i = 0; i < b->n_parts; i++) {
        struct fake_part *part = &b->parts[i];
        bool stays = false;

        for (size_t k = 0; k < n; k++)
            stays = stays ||
                    (p[k].partition == part->partition && !strcmp(p[k].topic, part->topic->name));
        part->is_paused = part->is_paused && part->is_assigned && stays;
        part->is_assigned = false;
    }
    for (size_t k = 0; k < n; k++) {
        struct fake_part *part = fake_part(b, p[k].topic, p[k].partition);

        part->is_assigned = true;
        part->told_end = -1;
        part->next = fake_start(b, part, p[k].offset);
    }
    loop_timer_start(b->timer, 0);
    return 0;
}

int bus_pause(struct bus *b, const char *topic, int partition, bool paused, struct err *err)
{
    struct fake_part *p = fake_find(topic) ? fake_part(b, topic, partition) : NULL;

    if (!p || !p->is_assigned)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "%s[%d] is not assigned", topic, partition);
    p->is_paused = paused;
    loop_timer_start(b->timer, 0);
    return 0;
}

int bus_seek(struct bus *b, const char *topic, int partition, int64_t offset, struct err *err)
{
    struct fake_part *p = fake_find(topic) ? fake_part(b, topic, partition) : NULL;

    if (!p || !p->is_assigned)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "%s[%d] is not assigned", topic, partition);
    p->next = fake_start(b, p, offset);
    p->told_end = -1;
    loop_timer_start(b->timer, 0);
    return 0;
}

void bus_commit(struct bus *b, const char *topic, int partition, int64_t next_offset)
{
    if (!b->has_group)
        return;
    fake_part(b, topic, partition)->commit = next_offset;
    loop_timer_start(b->timer, 0);
}

int64_t bus_committed(struct bus *b, const char *topic, int partition)
{
    return fake_find(topic) ? fake_part(b, topic, partition)->committed : -1;
}

int bus_partitions(struct bus *b, const char *topic)
{
    const struct fake_topic *t = fake_find(topic);

    (void)b;
    return t ? t->n : 0;
}

int bus_wait_topics(struct bus *b, const char *const *topics, size_t n, int64_t timeout_ms,
                    struct err *err)
{
    (void)b, (void)timeout_ms;
    for (size_t i = 0; i < n; i++) {
        if (!fake_find(topics[i]))
            return err_set(err, ERR_NOTFOUND, NEXT_RETRY, "topic %s is not there", topics[i]);
    }
    return 0;
}

/* The true one hashes as Java does; here any stable choice serves, and tests need not know it. */
int bus_partition_of(const void *key, size_t n, int partitions)
{
    return (int)(hash64(key, n, 0) % (uint64_t)partitions);
}

int bus_produce(struct bus *b, const char *topic, int partition, struct slice key,
                struct slice value, const struct bus_header *headers, size_t n_headers,
                bus_delivered_fn on_delivered, void *ctx, struct err *err)
{
    const struct fake_topic *t = fake_find(topic);

    if (fake_bus_faults.refuse_produce > 0) {
        fake_bus_faults.refuse_produce--;
        return err_set(err, ERR_LIMIT, NEXT_RETRY, "fake: queue full");
    }
    if (fake_bus_faults.queue_cap > 0 && b->n_sent >= (size_t)fake_bus_faults.queue_cap)
        return err_set(err, ERR_LIMIT, NEXT_RETRY, "fake: queue full");
    if (b->is_closing)
        return err_set(err, ERR_CANCELED, NEXT_RETRY, "the bus is closing");
    if (!t)
        return err_set(err, ERR_NOTFOUND, NEXT_RETRY, "topic %s is not known yet", topic);
    if (partition >= t->n)
        return err_inval(err, "topic %s has %d partitions: there is no %d", topic, t->n, partition);
    if (partition < 0)
        partition = key.p ? bus_partition_of(key.p, key.n, t->n) : 0;
    b->sent = xgrow(b->sent, &b->cap_sent, b->n_sent + 1, sizeof(*b->sent));
    b->sent[b->n_sent++] = (struct fake_sent){
        .message = fake_copy(topic, partition, key, value, headers, n_headers),
        .fn = on_delivered,
        .ctx = ctx,
    };
    b->stats.produced++;
    loop_timer_start(b->timer, 0);
    return 0;
}

int bus_produce_bulk(struct bus *b, const char *topic, int partition, struct slice key,
                     struct slice value, const struct bus_header *headers, size_t n_headers,
                     bus_delivered_fn on_delivered, void *ctx, struct err *err)
{
    return bus_produce(b, topic, partition, key, value, headers, n_headers, on_delivered, ctx, err);
}

size_t bus_in_flight(const struct bus *b)
{
    return b->n_sent;
}

const char *bus_library(void)
{
    return "none";
}

void bus_stats(const struct bus *b, struct bus_stats *ret)
{
    *ret = b->stats;
}

int bus_create_topics(const struct bus_conf *conf, const struct bus_topic_spec *specs, size_t n,
                      int64_t timeout_ms,
                      void (*on_topic)(void *ctx, const char *name, const char *what), void *ctx,
                      struct err *err)
{
    (void)conf, (void)timeout_ms, (void)err;
    for (size_t i = 0; i < n; i++) {
        bool is_new = !fake_find(specs[i].name);

        if (is_new)
            fake_bus_topic(specs[i].name, specs[i].partitions);
        if (on_topic)
            on_topic(ctx, specs[i].name, is_new ? "created" : "exists");
    }
    return 0;
}

int bus_check_topics(const struct bus_conf *conf, const struct bus_topic_spec *specs, size_t n,
                     int64_t timeout_ms,
                     void (*on_difference)(void *ctx, const char *name, const char *what),
                     void *ctx, struct err *err)
{
    (void)conf, (void)timeout_ms, (void)err;
    for (size_t i = 0; i < n; i++) {
        if (!fake_find(specs[i].name))
            on_difference(ctx, specs[i].name, "missing");
    }
    return 0;
}
