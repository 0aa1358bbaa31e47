#include "agents/relearn/doctor_judge.h"

#include <inttypes.h>
#include <stdbool.h>

#include "common/base.h"
#include "common/buf.h"
#include "common/mem.h"

/* ---- topics ---------------------------------------------------------------------------------- */

enum { KEPT_COPIES = 3 }; /* with two, either a broker may be away or what it had may be lost */

enum keep {
    KEEP_OK = 0,
    KEEP_BLOCKED, /* too few of them are there now */
    KEEP_LOSES,   /* copies, but the acknowledgement does not wait for one */
    KEEP_BEHIND,  /* one is away; it goes on without */
    KEEP_SINGLE,  /* one copy where there could be three */
    KEEP_PAIR,    /* two where there could be three */
    KEEP_STIFF,   /* all copies are asked for: none may be away */
    KEEP_BEYOND,  /* more copies are asked for than there are */
    KEEP_COUNT
};

struct verdict {
    enum doctor_level level;
    const char *what;
    int min_in_sync; /* what mends it is to set that; 0: it is something else */
    const char *mend;
};

static const char MORE_COPIES[] =
    "kafka-reassign-partitions.sh --execute, with three replicas of each partition; or topics of "
    "another --prefix: relearn topics --replication 3";

static const struct verdict VERDICTS[KEEP_COUNT] = {
    [KEEP_BLOCKED] = {DOCTOR_BAD,
                      "nothing can be written: fewer copies are in step than "
                      "min.insync.replicas asks for",
                      0, "start the brokers that are away; kafka-topics.sh --describe names them"},
    [KEEP_LOSES] = {DOCTOR_BAD,
                    "what was acknowledged may be lost with one broker: acks=all waits for "
                    "one copy only when the others are behind",
                    2, NULL},
    [KEEP_BEHIND] = {DOCTOR_WARN, "a copy is away or behind", 0,
                     "start the broker that is away; kafka-topics.sh --describe names it"},
    [KEEP_SINGLE] = {DOCTOR_WARN,
                     "one copy only: a broker that is away stops its lines, and its disk is all "
                     "there is",
                     0, MORE_COPIES},
    [KEEP_PAIR] = {DOCTOR_WARN, "two copies only: either none may be away, or one may be lost", 0,
                   MORE_COPIES},
    [KEEP_STIFF] = {DOCTOR_WARN,
                    "while one broker is away nothing can be written: all copies are asked for", 2,
                    NULL},
    [KEEP_BEYOND] = {DOCTOR_WARN,
                     "min.insync.replicas asks for more copies than the topic has: Kafkas "
                     "before 3.7 take nothing then, newer ones ask for those that there are",
                     1, NULL},
};

static enum keep keep_of(const struct topic_kept *t, int brokers)
{
    /* as Kafkas since 3.7 count it */
    int asked = t->min_in_sync < t->copies ? t->min_in_sync : t->copies;
    if (t->in_sync < asked || t->in_sync < 1)
        return KEEP_BLOCKED;
    if (t->copies >= KEPT_COPIES && asked == 1)
        return KEEP_LOSES;
    if (t->in_sync < t->copies)
        return KEEP_BEHIND;
    if (t->copies == 1 && brokers >= KEPT_COPIES)
        return KEEP_SINGLE;
    if (t->copies == 2 && brokers >= KEPT_COPIES)
        return KEEP_PAIR;
    if (t->copies >= KEPT_COPIES && asked == t->copies)
        return KEEP_STIFF;
    return t->min_in_sync > t->copies ? KEEP_BEYOND : KEEP_OK;
}

/* "a, b and 3 others" */
static void name_them(const struct topic_kept *topics, size_t n, const enum keep *keeps,
                      enum keep k, struct buf *out)
{
    enum { NAMED = 2 };
    size_t so_far = 0;
    for (size_t i = 0; i < n; i++)
        if (keeps[i] == k && so_far++ < NAMED)
            buf_addf(out, "%s%s", out->len ? ", " : "", topics[i].name);
    if (so_far > NAMED)
        buf_addf(out, " and %zu others", so_far - NAMED);
}

static void set_for_all(const struct topic_kept *topics, size_t n, const enum keep *keeps,
                        enum keep k, const char *bootstrap, struct buf *out)
{
    buf_addf(out, "for t in");
    for (size_t i = 0; i < n; i++)
        if (keeps[i] == k)
            buf_addf(out, " %s", topics[i].name);
    buf_addf(out,
             "; do kafka-configs.sh --bootstrap-server %s --alter --entity-type topics "
             "--entity-name $t --add-config min.insync.replicas=%d; done",
             bootstrap, VERDICTS[k].min_in_sync);
}

static void tell(const struct topic_kept *topics, size_t n, const enum keep *keeps, enum keep k,
                 const char *bootstrap, doctor_found_fn found, void *ctx)
{
    CLEANUP(buf_fini) struct buf what = {0}, mend = {0};
    const struct topic_kept *first = NULL;
    for (size_t i = n; i-- > 0;)
        first = keeps[i] == k ? &topics[i] : first;
    if (!first)
        return;
    name_them(topics, n, keeps, k, &what);
    buf_addf(&what, ": %s (replication %d, in step %d", VERDICTS[k].what, first->copies,
             first->in_sync);
    if (first->min_in_sync)
        buf_addf(&what, ", min.insync.replicas %d", first->min_in_sync);
    buf_addf(&what, ")");
    if (VERDICTS[k].min_in_sync)
        set_for_all(topics, n, keeps, k, bootstrap, &mend);
    else
        buf_addf(&mend, "%s", VERDICTS[k].mend);
    found(ctx, VERDICTS[k].level, "copies", mend.data, what.data);
}

void judge_topics(const struct topic_kept *topics, size_t n, int brokers, const char *bootstrap,
                  doctor_found_fn found, void *ctx)
{
    enum keep *keeps = xcalloc(n + 1, sizeof(*keeps));
    size_t counts[KEEP_COUNT] = {0}, kept = 0;
    int copies = INT32_MAX, least = INT32_MAX;
    for (size_t i = 0; i < n; i++) {
        if (topics[i].copies == 0)
            continue; /* the check of the catalogue says so */
        keeps[i] = keep_of(&topics[i], brokers);
        counts[keeps[i]]++;
        kept++;
        copies = topics[i].copies < copies ? topics[i].copies : copies;
        least = topics[i].min_in_sync < least ? topics[i].min_in_sync : least;
    }
    for (int k = 1; k < KEEP_COUNT; k++)
        tell(topics, n, keeps, (enum keep)k, bootstrap, found, ctx);
    if (kept && counts[KEEP_OK] == kept) {
        CLEANUP_FREE char *what =
            copies == 1 ? xasprintf("one of each topic, on %d broker%s: its disk is all there is",
                                    brokers, brokers == 1 ? "" : "s")
                        : xasprintf("%d of each topic on %d brokers, an acknowledgement waits "
                                    "for %d",
                                    copies, brokers, least);
        found(ctx, DOCTOR_OK, "copies", NULL, what);
    }
    free_ptr(&keeps);
}

/* ---- clock ----------------------------------------------------------------------------------- */

/* A clock that was wrong and is mended leaves events of a time to come: the lesser of both counts.
 */
static int64_t time_of(const struct dated *e)
{
    return e->written_ms < e->appended_ms ? e->written_ms : e->appended_ms;
}

void dated_add(struct dated_newest *d, struct dated e)
{
    size_t oldest = 0;
    if (d->n < DATED_NEWEST) {
        d->e[d->n++] = e;
        return;
    }
    for (size_t i = 1; i < d->n; i++)
        if (time_of(&d->e[i]) < time_of(&d->e[oldest]))
            oldest = i;
    if (time_of(&e) > time_of(&d->e[oldest]))
        d->e[oldest] = e;
}

/* An event is appended after it was written and before now.  So the broker's clock is at least
 * (appended - now) ahead of ours, and at most (appended - written), of every event. */
void judge_broker_clock(const struct dated_newest *d, int64_t now_ms, doctor_found_fn found,
                        void *ctx)
{
    static const char MEND[] = "timedatectl set-ntp true, on every machine of the Kafka";
    int64_t ahead_at_least = INT64_MIN, ahead_at_most = INT64_MAX;
    CLEANUP_FREE char *what = NULL;
    enum doctor_level level = DOCTOR_OK;
    for (size_t i = 0; i < d->n; i++) {
        int64_t least = d->e[i].appended_ms - now_ms,
                most = d->e[i].appended_ms - d->e[i].written_ms;
        ahead_at_least = least > ahead_at_least ? least : ahead_at_least;
        ahead_at_most = most < ahead_at_most ? most : ahead_at_most;
    }
    if (d->n == 0) {
        what = xasprintf("no event yet that tells the brokers' clock");
    } else if (ahead_at_least > CLOCK_MAX_MS) {
        level = DOCTOR_BAD;
        what = xasprintf("a broker's clock is at least %" PRId64 " ms ahead of this one",
                         ahead_at_least);
    } else if (ahead_at_most < -CLOCK_MAX_MS) {
        level = DOCTOR_BAD;
        what = xasprintf("a broker's clock is at least %" PRId64
                         " ms behind: it dated an event before its writer did",
                         -ahead_at_most);
    } else if (ahead_at_most > CLOCK_MAX_MS && d->n == DATED_NEWEST) {
        level = DOCTOR_WARN;
        what = xasprintf("a broker's clock may be %" PRId64
                         " ms ahead: it dated each of the last %d events so much after its writer",
                         ahead_at_most, DATED_NEWEST);
    } else {
        what = xasprintf("the brokers date events as their writers do (%zu looked at)", d->n);
    }
    found(ctx, level, "clocks", level == DOCTOR_OK ? NULL : MEND, what);
}
