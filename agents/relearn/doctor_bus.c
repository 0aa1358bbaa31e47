#include <string.h>

#include "agents/relearn/doctor.h"
#include "agents/relearn/topics.h"
#include "common/codec.h"
#include "common/mem.h"

enum { NAME_SIZE = 256, CLOSE_MS = 3000 };

struct look {
    struct doctor *d;
    struct loop *loop;
    struct bus *bus;
    bool is_closed;
    size_t differences;
};

static void on_closed(void *ctx)
{
    ((struct look *)ctx)->is_closed = true;
}

static bool is_closed(void *ctx)
{
    return ((struct look *)ctx)->is_closed;
}

static void on_message(void *ctx, const struct bus_message *m)
{
    (void)ctx;
    (void)m;
}

static void on_difference(void *ctx, const char *name, const char *what)
{
    struct look *l = ctx;
    bool is_count = strstr(what, "partitions") != NULL;
    l->differences++;
    doctor_say(l->d, is_count ? DOCTOR_BAD : DOCTOR_WARN, "topics",
               is_count
                   ? "a topic's partitions must not change while it has events: move to topics "
                     "of another --prefix"
                   : "kafka-configs.sh --alter on the broker, to what relearn topics says",
               "%s: %s", name, what);
}

/* Line-keyed topics have one number of partitions: that of most is taken for it. */
static int partitions_of_most(struct look *l)
{
    int counts[RECORD_COUNT] = {0}, best = 0, best_n = 0;
    char name[NAME_SIZE];
    for (int r = 1; r < RECORD_COUNT; r++) {
        topic_spec((enum record)r, l->d->site->prefix, 0, 0, name, sizeof(name));
        if (record_is_line_keyed((enum record)r))
            counts[r] = bus_partitions(l->bus, name);
    }
    for (int r = 1; r < RECORD_COUNT; r++) {
        int n = 0;
        for (int k = 1; k < RECORD_COUNT; k++)
            n += counts[k] == counts[r];
        if (counts[r] > 0 && n > best_n) {
            best = counts[r];
            best_n = n;
        }
    }
    return best;
}

static void check_topics(struct look *l, struct bus_conf *conf, int64_t wait_ms)
{
    struct bus_topic_spec specs[RECORD_COUNT];
    char names[RECORD_COUNT][NAME_SIZE];
    struct err err = {0};
    size_t n = 0;
    int partitions = partitions_of_most(l);
    for (int r = 1; r < RECORD_COUNT; r++, n++) {
        specs[n] =
            topic_spec((enum record)r, l->d->site->prefix, partitions, 0, names[n], NAME_SIZE);
        int there = bus_partitions(l->bus, names[n]);
        /* the embedded bus has no settings of topics, and makes all with one number */
        if (bus_is_embedded(l->bus) && record_is_line_keyed((enum record)r) && there != partitions)
            on_difference(l, names[n], "another number of partitions than the others");
    }
    if (!bus_is_embedded(l->bus) &&
        bus_check_topics(conf, specs, n, wait_ms, on_difference, l, &err)) {
        doctor_say(l->d, DOCTOR_BAD, "topics", "relearn topics --check", "%s", err.msg);
        return;
    }
    if (!l->differences)
        doctor_say(l->d, DOCTOR_OK, "topics", NULL, "%zu are as the catalogue says, %d partitions",
                   n, partitions);
}

/* How well its topics are kept, and by which clock their events are dated. */
static void check_keeping(struct look *l, struct bus_conf *conf, const char *const *names, size_t n,
                          int64_t wait_ms)
{
    struct bus_topic_state states[RECORD_COUNT];
    struct topic_kept kept[RECORD_COUNT];
    struct err err = {0};
    int brokers = 0;
    if (bus_topic_states(conf, names, n, wait_ms, states + 1, &brokers, &err)) {
        doctor_say(l->d, DOCTOR_BAD, "copies", "relearn topics --check", "%s", err.msg);
        return;
    }
    for (size_t i = 0; i < n; i++)
        kept[i] = (struct topic_kept){names[i], states[i + 1].copies, states[i + 1].in_sync,
                                      states[i + 1].min_in_sync};
    judge_topics(kept, n, brokers, l->d->site->brokers, doctor_found, l->d);
    doctor_clock(l->d, conf, states, wait_ms);
}

static bool is_known(void *ctx)
{
    return bus_cluster_id(((struct look *)ctx)->bus) != NULL;
}

static void look(struct look *l, struct bus_conf *conf, int64_t wait_ms)
{
    struct err err = {0};
    const char *names[RECORD_COUNT];
    char texts[RECORD_COUNT][NAME_SIZE];
    size_t n = 0;
    CLEANUP_FREE char *make = xasprintf("relearn topics --brokers %s --prefix %s",
                                        l->d->site->brokers, l->d->site->prefix);
    for (int r = 1; r < RECORD_COUNT; r++, n++) {
        topic_spec((enum record)r, l->d->site->prefix, 0, 0, texts[n], NAME_SIZE);
        names[n] = texts[n];
    }
    if (!loop_until(l->loop, is_known, l, (int)wait_ms)) {
        doctor_say(l->d, DOCTOR_BAD, "brokers", "start the Kafka, or give its right --brokers",
                   "no broker at %s answers", l->d->site->brokers);
        return;
    }
    doctor_say(l->d, DOCTOR_OK, "brokers", NULL, "%s answers, cluster %s", l->d->site->brokers,
               bus_cluster_id(l->bus));
    if (bus_wait_topics(l->bus, names, n, wait_ms, &err))
        doctor_say(l->d, DOCTOR_BAD, "topics", make, "%s", err.msg);
    else
        check_topics(l, conf, wait_ms);
    if (!bus_is_embedded(l->bus))
        check_keeping(l, conf, names, n, wait_ms);
}

void doctor_bus(struct doctor *d, int64_t wait_ms)
{
    struct look l = {.d = d};
    struct err err = {0};
    struct bus_conf conf = {.brokers = d->site->brokers,
                            .client_id = "relearn-doctor",
                            .x = d->site->x,
                            .n_x = d->site->n_x};
    const struct bus_callbacks cb = {.on_message = on_message, .ctx = &l};
    if (loop_new(&l.loop, &err) || bus_open(l.loop, &conf, &cb, &l.bus, &err)) {
        doctor_say(d, DOCTOR_BAD, "brokers", "give the right --brokers and -X", "%s", err.msg);
    } else {
        look(&l, &conf, wait_ms);
        bus_close(l.bus, 0, on_closed, &l);
        (void)loop_until(l.loop, is_closed, &l, CLOSE_MS);
    }
    if (l.loop)
        loop_free(l.loop);
}

/* ---- registry ---- */

/* Would the registry take the schema that this version writes? */
static bool is_refused(struct doctor *d, enum record r, const struct json *subjects)
{
    CLEANUP_FREE char *subject = xasprintf("%s%s-value", d->site->prefix, record_topic(r));
    CLEANUP_FREE char *path = xasprintf("/compatibility/subjects/%s/versions/latest", subject);
    CLEANUP(json_freep) struct json *body = json_object();
    CLEANUP(buf_fini) struct buf text = {0};
    struct err err = {0};
    bool is_there = false;
    for (size_t i = 0; i < json_len(subjects); i++)
        is_there = is_there || strcmp(json_str(json_at(subjects, i), ""), subject) == 0;
    if (!is_there)
        return false; /* its writer registers it when it starts */
    json_set_str(body, "schema", codec_schema_text(r));
    json_write(body, 0, false, &text);
    CLEANUP(json_freep)
    struct json *j = cli_post(d->site->registry, path, "application/vnd.schemaregistry.v1+json",
                              buf_slice(&text), &err);
    if (!j || json_get_bool(j, "is_compatible", true))
        return false;
    doctor_say(d, DOCTOR_BAD, "registry",
               "one version of all agents; or the subject's compatibility set to BACKWARD",
               "the schema of %s that this version writes is not compatible with the registry's",
               subject);
    return true;
}

void doctor_registry(struct doctor *d)
{
    struct err err = {0};
    size_t refused = 0;
    CLEANUP(json_freep) struct json *subjects = cli_get(d->site->registry, "/subjects", &err);
    if (!subjects) {
        doctor_say(d, DOCTOR_BAD, "registry", "start the registry, or give the right --registry",
                   "%s", err.msg);
        return;
    }
    for (int r = 1; r < RECORD_COUNT; r++)
        refused += is_refused(d, (enum record)r, subjects);
    if (!refused)
        doctor_say(d, DOCTOR_OK, "registry", NULL, "%s answers, and takes the schemas",
                   d->site->registry);
}
