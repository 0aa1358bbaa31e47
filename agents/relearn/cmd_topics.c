/* relearn topics: creates them on a Kafka, and says what differs from the catalogue. */
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/topics.h"
#include "common/mem.h"

static const struct conf_option OPTIONS[] = {
    {.name = "brokers", .letter = 'b', .meta = "HOST:PORT,...", .help = "the Kafka"},
    {.name = "prefix",
     .fallback = "relearn.",
     .meta = "TEXT",
     .help = "in front of every topic's name"},
    {.name = "partitions",
     .type = CONF_INT,
     .fallback = "0",
     .meta = "N",
     .help = "of line-keyed topics; 0: 12",
     .max = 1000},
    {.name = "replication",
     .type = CONF_INT,
     .fallback = "0",
     .meta = "N",
     .help = "replicas; 0: the cluster's default",
     .max = 32},
    {.name = "check",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "create nothing, only say what differs"},
    {.name = "markdown",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "print the catalogue as a Markdown table"},
    {0},
};
enum { TIMEOUT_MS = 30000, NAME_SIZE = 256 };

static void print_markdown(void)
{
    char name[NAME_SIZE];
    printf("| topic | key | record | writer | kept | partitions |\n| --- | --- | --- | --- | --- | "
           "--- |\n");
    for (int r = 1; r < RECORD_COUNT; r++) {
        struct bus_topic_spec s = topic_spec((enum record)r, "", 0, 0, name, sizeof(name));
        const char *key = record_is_line_keyed((enum record)r) ? "line"
                          : r == RECORD_PIPELINE_DECLARED      ? "pipeline"
                          : r == RECORD_DATASET_PUBLISHED      ? "dataset"
                          : r == RECORD_SERVING_CHANGED        ? "instance"
                                                               : "source topic";
        printf("| %s | %s | [%s](%s.avsc) | %s | %s | %d |\n", s.name, key,
               record_avro_name((enum record)r), record_str((enum record)r),
               topic_writer((enum record)r), topic_kept((enum record)r), s.partitions);
    }
}

struct outcome {
    struct json *created, *differs;
    bool is_json;
};

static void on_topic(void *ctx, const char *name, const char *what)
{
    struct outcome *o = ctx;
    json_set_str(o->created, name, what);
    if (!o->is_json)
        printf("%s: %s\n", name, what);
}

static void on_difference(void *ctx, const char *name, const char *what)
{
    struct outcome *o = ctx;
    json_set_str(o->differs, name, what);
    if (!o->is_json)
        printf("%s: %s\n", name, what);
}

static int create_and_check(struct conf *conf, const struct bus_conf *bus, struct outcome *o,
                            struct err *err)
{
    struct bus_topic_spec specs[RECORD_COUNT];
    char names[RECORD_COUNT][NAME_SIZE];
    size_t n = 0;
    for (int r = 1; r < RECORD_COUNT; r++, n++)
        specs[n] =
            topic_spec((enum record)r, conf_str(conf, "prefix"), (int)conf_int(conf, "partitions"),
                       (int)conf_int(conf, "replication"), names[n], NAME_SIZE);
    if (!conf_bool(conf, "check") && bus_create_topics(bus, specs, n, TIMEOUT_MS, on_topic, o, err))
        return -1;
    return bus_check_topics(bus, specs, n, TIMEOUT_MS, on_difference, o, err);
}

static int topics(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    if (conf_bool(conf, "markdown")) {
        print_markdown();
        return EXIT_DONE;
    }
    struct bus_conf bus = {.brokers = conf_str(conf, "brokers"), .client_id = "relearn-topics"};
    bus.n_x = conf_x(conf, &bus.x);
    if (!bus.brokers) {
        err_inval(err, "no brokers: give --brokers HOST:PORT or set RELEARN_BROKERS");
        return EXIT_USAGE;
    }
    struct json *root = json_object();
    struct outcome o = {.is_json = conf_bool(conf, "json")};
    o.created = json_set(root, "topics", json_object());
    o.differs = json_set(root, "differs", json_object());
    int rc = create_and_check(conf, &bus, &o, err);
    bool differs = json_len(o.differs) > 0;
    if (!rc && o.is_json)
        cli_print_json(root);
    else if (!rc && !differs)
        printf("every topic is as the catalogue says\n");
    json_free(root);
    return rc || differs ? EXIT_REFUSED : EXIT_DONE;
}

const struct cli_command topics_commands[] = {
    {.name = "topics",
     .usage = "topics [--check]",
     .purpose = "creates the topics on a Kafka and says what differs from the catalogue",
     .example = "relearn topics --brokers localhost:9092 --replication 3",
     .options = OPTIONS,
     .run = topics},
    {0},
};
