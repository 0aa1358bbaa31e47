/* One request on its way: serve_infer.c takes it through its steps, serve_route.c is the second. */
#ifndef SERVE_INFERENCE_H
#define SERVE_INFERENCE_H

#include "agents/serve/request.h"
#include "agents/serve/route.h"
#include "common/digest.h"

struct booster;
struct boosters;
struct httpd_request;
struct serve;

struct inference {
    struct serve *sv;          /* NULL: the agent is gone, nobody is answered any more */
    struct boosters *boosters; /* lives while a reference is held */
    struct httpd_request *rq;
    int64_t start_ns;
    const char *name, *version;
    struct slice body;
    int64_t json_bytes;
    bool is_on_pool, is_large;
    char prediction[ID_SIZE];
    struct oip_request in;
    /* route */
    const char *line, *wanted /* digest that is waited for */;
    const char *const *known;
    struct booster *booster;
    int64_t generation;
    enum route_role role;
    /* score */
    float *x;
    double *p;
    size_t rows, answer_json_bytes;
    struct buf answer;
    int status; /* 0: fine so far; else what to answer, with err */
    struct err err;
    struct arena mem;
    struct inference *next, **prev; /* sv->under_way; prev NULL: not in it */
};

/* Chooses line, generation and model.  0; 1: the model `wanted` is being loaded; -1: status and err
 * say why. */
int inference_route(struct inference *f);
int inference_fail(struct inference *f, int status); /* -1 */

#endif
