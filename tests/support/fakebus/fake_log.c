/* The log and the positions of groups: a part of fake_bus.c, which includes it. */
#include <stdlib.h>
#include <string.h>

#include "common/clk.h"
#include "tests/support/fakebus/fake_internal.h"

struct fake_faults fake_bus_faults;
static struct {
    struct arena arena;
    struct fake_topic *topics;
    struct fake_commit *commits;
    struct fake_group *groups;
    size_t n_topics, cap_topics, n_commits, cap_commits, n_groups, cap_groups;
    struct bus *buses[FAKE_BUSES_MAX];
    char cluster[BUS_CLUSTER_ID_SIZE];
    struct rng rng;
    bool is_shuffled;
} fake;

/* ---- the log --------------------------------------------------------------------------------- */

static struct fake_topic *fake_find(const char *name)
{
    for (size_t i = 0; i < fake.n_topics; i++) {
        if (strcmp(fake.topics[i].name, name) == 0)
            return &fake.topics[i];
    }
    return NULL;
}

static struct fake_partition *fake_partition(const char *topic, int partition)
{
    struct fake_topic *t = fake_find(topic);

    return t && partition >= 0 && partition < t->n ? &t->partitions[partition] : NULL;
}

static void fake_wake_all(void)
{
    for (size_t i = 0; i < FAKE_BUSES_MAX; i++) {
        if (fake.buses[i])
            loop_timer_start(fake.buses[i]->timer, 0);
    }
}

void fake_bus_reset(void)
{
    for (size_t i = 0; i < FAKE_BUSES_MAX; i++)
        BUG_ON(fake.buses[i]);
    for (size_t i = 0; i < fake.n_topics; i++) {
        for (int p = 0; p < fake.topics[i].n; p++)
            free(fake.topics[i].partitions[p].log);
        free(fake.topics[i].partitions);
    }
    free(fake.topics);
    free(fake.commits);
    free(fake.groups);
    arena_fini(&fake.arena);
    memset(&fake, 0, sizeof(fake));
    fake_bus_faults = (struct fake_faults){0};
    str_copy(fake.cluster, sizeof(fake.cluster), "mockClusterFake1");
}

void fake_bus_topic(const char *name, int partitions)
{
    struct fake_topic *t;

    BUG_ON(fake_find(name) || fake.n_topics == 256); /* parts point at topics: they must not move */
    if (!fake.topics)
        fake.topics = xcalloc(256, sizeof(*fake.topics));
    t = &fake.topics[fake.n_topics++];
    t->name = arena_strdup(&fake.arena, name);
    t->n = partitions;
    t->partitions = xcalloc((size_t)partitions, sizeof(*t->partitions));
}

void fake_bus_cluster(const char *id)
{
    str_copy(fake.cluster, sizeof(fake.cluster), id);
    fake_wake_all();
}

void fake_bus_shuffle(uint64_t seed)
{
    fake.is_shuffled = seed != 0;
    rng_seed(&fake.rng, seed);
}

static struct bus_message fake_copy(const char *topic, int partition, struct slice key,
                                    struct slice value, const struct bus_header *headers, size_t n)
{
    struct bus_message m = {
        .topic = arena_strdup(&fake.arena, topic),
        .partition = partition,
        .timestamp_ms = clk_unix_ms(&clk_system),
        .key = key.p ? arena_strndup(&fake.arena, key.p, key.n) : NULL,
        .key_n = key.n,
        .value = value.p ? arena_strndup(&fake.arena, value.p, value.n) : NULL,
        .value_n = value.n,
        .n_headers = n,
    };

    BUG_ON(n > BUS_MAX_HEADERS);
    for (size_t i = 0; i < n; i++) {
        m.headers[i] = (struct bus_header){
            .name = arena_strdup(&fake.arena, headers[i].name),
            .value = headers[i].value ? arena_strndup(&fake.arena, headers[i].value, headers[i].n)
                                      : NULL,
            .n = headers[i].n,
        };
    }
    return m;
}

static int64_t fake_append(const struct bus_message *m)
{
    struct fake_partition *p = fake_partition(m->topic, m->partition);

    BUG_ON(!p);
    p->log = xgrow(p->log, &p->cap, p->n + 1, sizeof(*p->log));
    p->log[p->n] = *m;
    p->log[p->n].offset = (int64_t)p->n;
    fake_wake_all();
    return (int64_t)p->n++;
}

int64_t fake_bus_append(const char *topic, int partition, struct slice key, struct slice value,
                        const struct bus_header *headers, size_t n_headers)
{
    struct bus_message m = fake_copy(topic, partition, key, value, headers, n_headers);

    return fake_append(&m);
}

int64_t fake_bus_end(const char *topic, int partition)
{
    const struct fake_partition *p = fake_partition(topic, partition);

    return p ? (int64_t)p->n : 0;
}

const struct bus_message *fake_bus_at(const char *topic, int partition, int64_t offset)
{
    const struct fake_partition *p = fake_partition(topic, partition);

    return p && offset >= 0 && (size_t)offset < p->n ? &p->log[offset] : NULL;
}

/* ---- positions of groups --------------------------------------------------------------------- */

static struct fake_commit *fake_find_commit(const char *group, const char *topic, int partition)
{
    for (size_t i = 0; i < fake.n_commits; i++) {
        struct fake_commit *c = &fake.commits[i];

        if (c->partition == partition && !strcmp(c->topic, topic) && !strcmp(c->group, group))
            return c;
    }
    return NULL;
}

int64_t fake_bus_position(const char *group, const char *topic, int partition)
{
    const struct fake_commit *c = fake_find_commit(group, topic, partition);

    return c ? c->offset : -1;
}

static void fake_set_position(const char *group, const char *topic, int partition, int64_t offset)
{
    struct fake_commit *c = fake_find_commit(group, topic, partition);

    if (!c) {
        fake.commits =
            xgrow(fake.commits, &fake.cap_commits, fake.n_commits + 1, sizeof(*fake.commits));
        c = &fake.commits[fake.n_commits++];
        c->group = arena_strdup(&fake.arena, group);
        c->topic = arena_strdup(&fake.arena, topic);
        c->partition = partition;
    }
    c->offset = offset;
}
