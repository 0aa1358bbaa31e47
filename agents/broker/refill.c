#include "agents/broker/refill.h"

#include <string.h>

#include "common/log.h"

struct state {
    struct topics *topics;
    struct mock *mock;
    struct refill_report report;
};

static int on_topic(void *ctx, const char *name, int partitions, struct err *err)
{
    struct state *s = ctx;
    struct topic *t = topics_find(s->topics, name);

    if (!t && s->topics->n == TOPICS_MAX)
        return err_inval(err, "more than %d topics", TOPICS_MAX);
    if (!t)
        t = topics_add(s->topics, name, partitions, true);
    if (t->partitions != partitions)
        return err_set(
            err, ERR_CONFLICT, NEXT_FATAL,
            "topic %s has %d partitions in the journal and should have %d: keys would "
            "land elsewhere than before. Start with as many as before, or move the journal "
            "away to begin with an empty bus",
            name, partitions, t->partitions);
    t->is_in_journal = true;
    return 0;
}

/* Offsets are positions that others remember: a hole is filled so that what follows keeps its own.
 */
static int fill_hole(struct state *s, struct topic *t, const struct bus_message *before,
                     struct err *err)
{
    static const struct bus_header why = {"relearn-lost", "1", 1};
    struct bus_message m = {
        .topic = t->name,
        .partition = before->partition,
        .timestamp_ms = before->timestamp_ms,
        .headers = {why},
        .n_headers = 1,
    };

    log_warn("broker.hole", "topic=%s partition=%d offset=%lld missing=%lld", t->name,
             before->partition, (long long)t->next[before->partition],
             (long long)(before->offset - t->next[before->partition]));
    while (t->next[before->partition] < before->offset) {
        m.offset = t->next[before->partition]++;
        s->report.placeholders++;
        if (mock_refill(s->mock, &m, err))
            return -1;
    }
    return 0;
}

static int on_message(void *ctx, const struct bus_message *m, struct err *err)
{
    struct state *s = ctx;
    struct topic *t = topics_find(s->topics, m->topic);

    if (!t || m->partition >= t->partitions)
        return err_set(err, ERR_CODEC, NEXT_FATAL, "a message of %s[%d], which is not known",
                       m->topic, m->partition);
    if (m->offset < t->next[m->partition])
        return 0; /* is there already */
    if (m->offset > t->next[m->partition] && fill_hole(s, t, m, err))
        return -1;
    t->next[m->partition] = m->offset + 1;
    s->report.records++;
    return mock_refill(s->mock, m, err);
}

int refill(struct journal *j, struct topics *t, struct mock *m, struct refill_report *ret,
           struct err *err)
{
    struct state s = {.topics = t, .mock = m};
    const struct journal_reader topics_only = {.on_topic = on_topic, .ctx = &s};
    const struct journal_reader messages_only = {.on_message = on_message, .ctx = &s};

    if (j && journal_read(j, &topics_only, err))
        return -1;
    if (mock_topics(m, t, err) || mock_refill_begin(m, err))
        return -1;
    if (j && (journal_read(j, &messages_only, err) || mock_flush(m, err)))
        return -1;
    *ret = s.report;
    return 0;
}
