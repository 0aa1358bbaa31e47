/* What the files of the shell share: serve.c (life), serve_http.c (paths), serve_infer.c
 * (requests), serve_meta.c (what there is to ask about), serve_report.c (what is served).  Nobody
 * else includes this. */
#ifndef SERVE_SERVE_INTERNAL_H
#define SERVE_SERVE_INTERNAL_H

#include "agents/serve/lines.h"
#include "agents/serve/record.h"
#include "agents/serve/serve.h"
#include "common/rng.h"

enum {
    SERVE_MAX_OUTPUTS = 8 << 20,  /* of one request: 64 MiB, and four times that as text */
    SERVE_MAX_WAITING = 1000,     /* requests that wait for a model of an earlier generation */
    SERVE_POOL_BYTES = 256 << 10, /* a larger body is read and scored off the loop: 1 ms and more */
    SERVE_RETRY_FAILED_MS = 60 * 1000, /* a model that could not be had is looked for again */
};

struct inference;
struct report;
struct serve_counters {
    uint64_t requests, rows, invalid, unknown, refused, failed;
    uint64_t by_role[ROUTE_OTHER + 1]; /* answered requests */
};
struct serve {
    struct agent *a;
    struct boosters *boosters;
    struct lines *lines;
    struct records *records;
    struct report *report;
    struct booster **pins; /* of earlier generations, the one used last in front */
    size_t n_pins, max_pins;
    struct inference *under_way; /* waiting for a model, or on the pool */
    size_t n_under_way;
    struct loop_timer *retry;
    struct serve_counters counters;
    struct rng ids;  /* of predictions; seeded by the kernel */
    bool is_settled; /* every line has been loaded once since the start */
};

/* name: of a line, or of a pipeline whose segment is to be chosen from the row; version NULL: as
 * routed. */
void serve__infer(struct serve *sv, struct httpd_request *rq, const char *name,
                  const char *version);
void serve__infer_on_loaded(struct serve *sv, const char *digest);
void serve__infer_stop(struct serve *sv);  /* answers those that wait for a model */
void serve__infer_close(struct serve *sv); /* answers all; those on the pool end by themselves */
bool serve__http(struct agent *a, struct httpd_request *rq);
bool serve__is_ready(const struct serve *sv);
void serve__answer_busy(struct serve *sv, struct httpd_request *rq,
                        const char *why); /* 503 with Retry-After */
void serve__answer_json(struct httpd_request *rq, int status, struct json *j); /* takes j */
void serve__models(struct serve *sv, struct httpd_request *rq);
void serve__model(struct serve *sv, struct httpd_request *rq, const char *name,
                  const char *version);
void serve__model_ready(struct serve *sv, struct httpd_request *rq, const char *name,
                        const char *version);

struct report *serve__report_new(struct serve *sv);
void serve__report_free(struct report *r);
void serve__report_all(struct report *r, bool is_stopping); /* start and stop */
void serve__report_change(struct report *r, const struct served *s, const struct event *about);

#endif
