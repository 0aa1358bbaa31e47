/* A long log: predictions of one generation, a label for some and a measurement of each window, put
 * into the topics of a Kafka as serve, console and monitor would, so fast as the bus takes them.
 *
 *   longlog BROKERS PREFIX EVENTS LINE=MODEL...
 *
 * Of a hundred events 70 are predictions (5 features) of generation 1, 25 labels, 5 measurements.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/bus.h"
#include "common/clk.h"
#include "common/codec.h"
#include "common/digest.h"
#include "common/mem.h"

enum { LINES_MAX = 64, FEATURES = 5, TOPICS_MS = 30000, FLUSH_MS = 60000, IN_FLIGHT_MAX = 50000 };

struct longlog {
    struct loop *loop;
    struct bus *bus;
    struct codec *codec;
    const char *prefix, *cluster;
    char *lines[LINES_MAX];
    const char *models[LINES_MAX];
    int64_t n_lines, failed;
    struct buf value;
    bool is_closed;
};

static void on_delivered(void *ctx, const struct err *err, int partition, int64_t offset)
{
    (void)partition, (void)offset;
    ((struct longlog *)ctx)->failed += err != NULL;
}

static bool has_room(void *ctx)
{
    return bus_in_flight(((struct longlog *)ctx)->bus) < IN_FLIGHT_MAX / 2;
}

static bool is_empty(void *ctx)
{
    return bus_in_flight(((struct longlog *)ctx)->bus) == 0;
}

static bool is_closed(void *ctx)
{
    return ((struct longlog *)ctx)->is_closed;
}

static void on_closed(void *ctx)
{
    ((struct longlog *)ctx)->is_closed = true;
}

static int send(struct longlog *g, enum record r, const void *rec, const char *line, const char *id,
                const char *cause, struct err *err)
{
    char time[CLK_RFC3339_SIZE], topic[256];
    struct bus_header headers[4];
    size_t n = 0;

    clk_format(clk_unix_us(&clk_system), time);
    snprintf(topic, sizeof(topic), "%s%s", g->prefix, record_topic(r));
    headers[n++] = (struct bus_header){"ce_id", id, strlen(id)};
    headers[n++] = (struct bus_header){"ce_time", time, strlen(time)};
    if (cause)
        headers[n++] = (struct bus_header){"ce_causationid", cause, strlen(cause)};
    buf_reset(&g->value);
    if (codec_encode(g->codec, r, rec, &g->value, err))
        return -1;
    if (bus_in_flight(g->bus) >= IN_FLIGHT_MAX)
        loop_until(g->loop, has_room, g, FLUSH_MS);
    return bus_produce_bulk(g->bus, topic, -1, slice_str(line), buf_slice(&g->value), headers, n,
                            on_delivered, g, err);
}

static void id_of(const char *what, int64_t i, char out[ID_SIZE])
{
    char number[24];

    snprintf(number, sizeof(number), "%" PRId64, i);
    id_from_cause("longlog", what, number, out);
}

static int predict(struct longlog *g, int64_t i, struct err *err)
{
    static const float features[FEATURES] = {0.1F, 0.2F, 0.3F, 0.4F, 0.5F};
    const double output = 0.7;
    const char *line = g->lines[i % g->n_lines];
    char id[ID_SIZE];

    id_of("prediction", i, id);
    const struct prediction_served p = {.line = line,
                                        .prediction = id,
                                        .generation = 1,
                                        .model = g->models[i % g->n_lines],
                                        .role = "champion",
                                        .instance = "serve-1",
                                        .rows = 1,
                                        .features_per_row = FEATURES,
                                        .outputs_per_row = 1,
                                        .features = {features, FEATURES},
                                        .outputs = {&output, 1},
                                        .latency_us = 200,
                                        .served_unix_ms = clk_unix_ms(&clk_system)};
    return send(g, RECORD_PREDICTION_SERVED, &p, line, id, NULL, err);
}

static int label(struct longlog *g, int64_t i, struct err *err)
{
    const char *line = g->lines[i % g->n_lines];
    char id[ID_SIZE], prediction[ID_SIZE];

    id_of("label", i, id);
    id_of("prediction", i, prediction);
    const struct label_observed l = {.line = line,
                                     .prediction = prediction,
                                     .value = "yes",
                                     .by = "longlog",
                                     .observed_unix_ms = clk_unix_ms(&clk_system)};
    return send(g, RECORD_LABEL_OBSERVED, &l, line, id, NULL, err);
}

static int measure(struct longlog *g, int64_t i, struct err *err)
{
    static const struct feature_health features[] = {
        {"a", 0.01, 0.2, 0}, {"b", 0.02, 0.2, 0}, {"c", 0.03, 0.2, 0}};
    const char *line = g->lines[i % g->n_lines];
    char id[ID_SIZE], prediction[ID_SIZE];

    id_of("health", i, id);
    id_of("prediction", i, prediction);
    const struct health_measured h = {.line = line,
                                      .kind = "window",
                                      .generation = 1,
                                      .window = i / g->n_lines,
                                      .cluster = g->cluster,
                                      .first_prediction = prediction,
                                      .last_prediction = prediction,
                                      .predictions = 500,
                                      .features = {features, ARRAY_LEN(features)},
                                      .verdict = "ok",
                                      .consecutive = 1,
                                      .reason = "no feature moved",
                                      .measured_unix_ms = clk_unix_ms(&clk_system)};
    return send(g, RECORD_HEALTH_MEASURED, &h, line, id, prediction, err);
}

static int send_all(struct longlog *g, int64_t events, struct err *err)
{
    enum { OF_HUNDRED_PREDICTIONS = 70, OF_HUNDRED_LABELS = 25 };
    int64_t n_labels = 0, n_health = 0, n_predictions = 0;

    for (int64_t i = 0; i < events; i++) {
        int64_t kind = i % 100;
        int rc;

        if (kind < OF_HUNDRED_PREDICTIONS)
            rc = predict(g, n_predictions++, err);
        else if (kind < OF_HUNDRED_PREDICTIONS + OF_HUNDRED_LABELS)
            rc = label(g, n_labels++, err);
        else
            rc = measure(g, n_health++, err);
        if (rc)
            return -1;
        if (i % 1000 == 0)
            loop_turn(g->loop, 0);
    }
    loop_until(g->loop, is_empty, g, FLUSH_MS);
    return g->failed || bus_in_flight(g->bus)
               ? err_set(err, ERR_BUS, NEXT_RETRY, "%" PRId64 " were not delivered", g->failed)
               : 0;
}

static bool is_connected(void *ctx)
{
    return bus_cluster_id(((struct longlog *)ctx)->bus) != NULL;
}

int main(int argc, char **argv)
{
    struct longlog g = {0};
    struct err err = {0};
    int64_t events = 0;

    if (argc < 5 || argc > 4 + LINES_MAX || str_to_i64(argv[3], &events)) {
        fprintf(stderr, "usage: longlog BROKERS PREFIX EVENTS LINE=MODEL...\n");
        return 2;
    }
    const struct bus_conf conf = {.brokers = argv[1], .client_id = "longlog", .has_bulk = true};
    const struct bus_callbacks cb = {.on_message = NULL};
    g.prefix = argv[2];
    for (int i = 4; i < argc; i++) {
        const char *model = strchr(argv[i], '=');

        g.lines[g.n_lines] = xstrndup(argv[i], strcspn(argv[i], "="));
        g.models[g.n_lines++] = model ? model + 1 : "";
    }
    int rc = loop_new(&g.loop, &err) || codec_new(&g.codec, &err) ||
             bus_open(g.loop, &conf, &cb, &g.bus, &err);
    CLEANUP_FREE char *predictions = xasprintf("%spredictions", g.prefix);
    CLEANUP_FREE char *labels = xasprintf("%slabels", g.prefix);
    CLEANUP_FREE char *health = xasprintf("%shealth", g.prefix);
    const char *const topics[] = {predictions, labels, health};
    rc = rc || bus_wait_topics(g.bus, topics, ARRAY_LEN(topics), TOPICS_MS, &err);
    if (!rc && loop_until(g.loop, is_connected, &g, TOPICS_MS))
        g.cluster = bus_cluster_id(g.bus);
    rc = rc || !g.cluster || send_all(&g, events, &err);
    if (rc)
        fprintf(stderr, "longlog: %s\n", err.msg);
    if (g.bus)
        bus_close(g.bus, FLUSH_MS, on_closed, &g);
    loop_until(g.loop, is_closed, &g, FLUSH_MS);
    codec_free(g.codec);
    loop_free(g.loop);
    for (int i = 0; i < g.n_lines; i++)
        free_ptr(&g.lines[i]);
    buf_fini(&g.value);
    return rc ? 1 : 0;
}
