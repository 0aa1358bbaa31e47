/* What this instance serves: for each line the routing in force, built from the newest deployment
 * as soon as all of its models are loaded.  A change is one pointer, so that a request sees the old
 * routing or the new one; until then, and when a model cannot be loaded, the old one answers.  Loop
 * thread. */
#ifndef SERVE_LINES_H
#define SERVE_LINES_H

#include "agents/serve/booster.h"
#include "agents/serve/route.h"
#include "common/line.h"

struct routing {      /* does not change once it is made */
    int64_t sequence; /* deployment base + 1 */
    int champion;     /* index, or -1 */
    size_t n;
    struct route_share *shares;
    struct booster **boosters; /* as many; references */
    enum route_role *roles;
};
enum served_state {
    SERVED_NONE = 0, /* no deployment yet, or the first one is being loaded */
    SERVED_SERVING,
    SERVED_FAILED, /* the newest deployment cannot be loaded; the one before still answers, if there
                      is one */
    SERVED_WITHDRAWN
};
struct served {
    const struct line *fold; /* the runtime's; lives as long as this */
    const char *line;
    struct routing *now; /* NULL: nothing answers */
    enum served_state state;
    int64_t sequence; /* that `state` is about */
    char *reason;     /* "" unless failed */
    int64_t since_unix_ms;
    bool may_get_better;     /* failed for now */
    bool was_told;           /* on_changed(serving, `sequence`) came before this one too */
    int64_t served_sequence; /* the last one that on_changed said was serving */
    struct served *next;     /* of the list of all */
};
struct lines;

struct lines_conf {
    struct boosters *boosters;
    bool (*is_declared)(void *ctx, const char *pipeline);
    int64_t (*now_unix_ms)(void *ctx);
    /* The routing in force or the state changed; about: the deployment, NULL when withdrawn. */
    void (*on_changed)(void *ctx, struct served *s, const struct event *about);
    void *ctx;
};
struct lines *lines_new(const struct lines_conf *conf);
void lines_free(struct lines *l); /* NULL is fine */

/* The fold of a line, when a deployment of it is read; does nothing more before lines_begin. */
struct served *lines_add(struct lines *l, const struct line *fold);
void lines_remove(struct lines *l, const char *line);
/* From now on deployments are carried out as they come. */
void lines_begin(struct lines *l);
/* Looks at one line again: a new deployment, a pipeline declared or withdrawn. */
void lines_look(struct lines *l, struct served *s);
void lines_look_pipeline(struct lines *l, const char *pipeline);
void lines_on_loaded(struct lines *l, const char *digest);
void lines_retry_failed(struct lines *l); /* those that may get better */

struct served *lines_find(struct lines *l, const char *line);
struct served *lines_first(struct lines *l); /* then s->next */
/* Every line has been served or has failed since lines_begin. */
bool lines_are_settled(const struct lines *l);
/* Digest of the model that generation g of the line had; NULL: there was no such generation. */
const char *lines_model_of(const struct line *fold, int64_t generation);
const char *served_state_str(enum served_state s);

#endif
