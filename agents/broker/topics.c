#include "agents/broker/topics.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/events.h"
#include "common/mem.h"

enum { NAME_MAX_BYTES = 249 }; /* Kafka's limit */

void topics_fini(struct topics *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->items[i].name);
        free(t->items[i].next);
    }
    free(t->items);
    *t = (struct topics){0};
}

struct topic *topics_find(const struct topics *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->items[i].name, name) == 0)
            return &t->items[i];
    }
    return NULL;
}

struct topic *topics_add(struct topics *t, const char *name, int partitions, bool is_journalled)
{
    struct topic *one;

    t->items = xgrow(t->items, &t->cap, t->n + 1, sizeof(*t->items));
    one = &t->items[t->n++];
    *one = (struct topic){
        .name = xstrdup(name),
        .partitions = partitions,
        .is_journalled = is_journalled,
        .next = xcalloc((size_t)partitions, sizeof(*one->next)),
    };
    return one;
}

void topics_add_catalogue(struct topics *t, const char *prefix, int partitions)
{
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        CLEANUP_FREE char *name = xasprintf("%s%s", prefix, record_topic((enum record)r));

        topics_add(t, name, partitions, true);
    }
}

static bool is_topic_name(const char *s, size_t n)
{
    if (n == 0 || n > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", s[i]))
            return false;
    }
    return true;
}

static int add_one(struct topics *t, const char *text, struct err *err)
{
    CLEANUP_FREE char *name = xstrdup(text);
    char *colon = strrchr(name, ':');
    int64_t partitions;

    if (!colon)
        return err_inval(err, "--topics %s: must be NAME:PARTITIONS", text);
    *colon = '\0';
    if (!is_topic_name(name, strlen(name)))
        return err_inval(err, "--topics %s: a name is 1 to %d of letters, digits, . _ -", text,
                         NAME_MAX_BYTES);
    if (str_to_i64(colon + 1, &partitions) || partitions < 1 || partitions > TOPICS_PARTITIONS_MAX)
        return err_inval(err, "--topics %s: 1 to %d partitions", text, TOPICS_PARTITIONS_MAX);
    if (topics_find(t, name))
        return err_inval(err, "--topics: %s is there twice", name);
    if (t->n == TOPICS_MAX)
        return err_inval(err, "--topics: at most %d", TOPICS_MAX);
    topics_add(t, name, (int)partitions, true);
    return 0;
}

int topics_add_list(struct topics *t, const char *list, struct err *err)
{
    CLEANUP_FREE char *copy = xstrdup(list);
    char *at = copy, *one;

    while ((one = strsep(&at, ","))) {
        if (add_one(t, one, err))
            return -1;
    }
    return 0;
}

void topics_leave_out(struct topics *t, const char *prefix, const char *names)
{
    CLEANUP_FREE char *copy = xstrdup(names);
    char *at = copy, *one;

    while ((one = strsep(&at, ","))) {
        CLEANUP_FREE char *full = xasprintf("%s%s", prefix, one);
        struct topic *topic = topics_find(t, full);

        if (!topic)
            topic = topics_find(t, one);
        if (topic)
            topic->is_journalled = false;
    }
}

size_t topics_journalled_partitions(const struct topics *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += t->items[i].is_journalled ? (size_t)t->items[i].partitions : 0;
    return n;
}
