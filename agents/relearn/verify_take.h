/* What is kept of each event while the topics are read: its id (verify_ids.h), the names in it
 * (named.h), and on disk what the checks of its line want.  In memory: pipelines, instances, runs'
 * names, and which generation answered by which model; nothing that grows with predictions, labels
 * or health. */
#ifndef RELEARN_VERIFY_TAKE_H
#define RELEARN_VERIFY_TAKE_H

#include "agents/relearn/named.h"
#include "agents/relearn/verify_ids.h"
#include "common/bus.h"
#include "common/codec.h"
#include "common/strset.h"

struct material;
struct material_conf {
    const struct artifacts *artifacts; /* borrowed until material_free */
    struct findings *f;                /* likewise */
    struct verify_clock clock;
    int64_t since_unix_ms; /* events that were appended before are looked up only */
    int64_t skew_ms;
};
int material_new(const struct material_conf *conf, struct material **ret,
                 struct err *err) WARN_UNUSED;
void material_free(struct material *m); /* NULL is fine */
/* Before any event of the topic: its partitions, and the oldest offset of each (copied). */
void material_topic(struct material *m, enum record r, const int64_t *first, int n);
/* Offsets in ce_seen and in measurements are of this cluster, or say nothing. */
void material_cluster(struct material *m, const char *cluster);
enum material_use {
    MATERIAL_JUDGE = 0, /* what was there when the reading began */
    MATERIAL_LOOK_UP,   /* what came until everything had been read: where judged ones lead to */
    MATERIAL_NAMES      /* what came later still: only the artefacts and runs that it names */
};
/* From now on; first MATERIAL_JUDGE. */
void material_use(struct material *m, enum material_use use);
/* One message as logread_fn gives it; pipelines' before all others.  What goes wrong is told by
 * material_check. */
void material_take(struct material *m, const struct bus_message *msg, enum record r,
                   const struct event *ev, const struct err *why);
/* Everything is there: the checks of ids and lines.  answers: does an instance of serve answer at
 * this URL? codec: knows the schemas of what was taken. */
int material_check(struct material *m, struct codec *codec, bool (*answers)(const char *url),
                   struct err *err) WARN_UNUSED;
struct named *material_names(struct material *m);
const struct strset *
material_runs(const struct material *m); /* whose results may be in the store */
int64_t material_events(const struct material *m, enum record r);

#endif
