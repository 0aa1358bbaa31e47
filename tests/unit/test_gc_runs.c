/* Which results of runs are still looked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agents/relearn/gc_runs.h"
#include "common/digest.h"
#include "tests/support/make_event.h"

static const char YAML[] = "apiVersion: relearn/v1\nkind: Pipeline\nname: p\n"
                           "dataset: {name: d, label: y}\ntask: binary\n";

static void take(struct gc_runs *g, enum record r, const char *id, int64_t offset, const void *rec)
{
    struct event *ev = make_event(&(struct event_parts){.type = r, .rec = rec, .id = id});

    ev->offset = offset;
    gc_runs_take(g, ev);
    event_free(ev);
}

static void take_plan(struct gc_runs *g, const char *id, const char *kind, const char *run)
{
    take(g, RECORD_TRAINING_PLANNED, id, 0,
         &(struct training_planned){.line = "p", .kind = kind, .run = run});
}

static void a_training_is_over_when_the_log_says_how_it_ended(void **state)
{
    struct gc_runs *g = gc_runs_new();

    (void)state;
    take_plan(g, "r1", "requested", "r1");
    take_plan(g, "r2", "requested", "r2");
    take_plan(g, "r3", "requested", "r3");
    take_plan(g, "w1", "deferred", "r3");
    gc_runs_settle(g);
    assert_true(gc_runs_is_needed(g, "r1"));
    assert_true(gc_runs_is_needed(g, "r3"));
    take(g, RECORD_TRAINING_FINISHED, "m1", 0,
         &(struct training_finished){.line = "p", .run = "r1", .status = "candidate"});
    take_plan(g, "c1", "closed", "r2");
    gc_runs_settle(g);
    assert_false(gc_runs_is_needed(g, "r1"));
    assert_false(gc_runs_is_needed(g, "r2"));
    assert_true(gc_runs_is_needed(g, "r3"));
    assert_false(gc_runs_is_needed(g, "r9")); /* of another log */
    gc_runs_free(g);
}

static void the_order_of_topics_does_not_matter(void **state)
{
    struct gc_runs *g = gc_runs_new();

    (void)state;
    take(g, RECORD_TRAINING_FINISHED, "m1", 0,
         &(struct training_finished){.line = "p", .run = "r1", .status = "failed"});
    take_plan(g, "r1", "requested", "r1");
    gc_runs_settle(g);
    assert_false(gc_runs_is_needed(g, "r1"));
    gc_runs_free(g);
}

static const char *ingest_run(const char *dataset_event, const char *pipeline)
{
    static char id[ID_SIZE];

    id_from_cause("ingest", dataset_event, pipeline, id);
    return id;
}

static void take_version(struct gc_runs *g, const char *id, const char *dataset, int64_t offset)
{
    take(g, RECORD_DATASET_PUBLISHED, id, offset,
         &(struct dataset_published){.dataset = dataset, .uri = "file:///x"});
}

static void take_outcome(struct gc_runs *g, const char *id, const char *version)
{
    take(g, RECORD_DATASET_INGESTED, id, 0,
         &(struct dataset_ingested){
             .line = "p/a", .pipeline = "p", .dataset = "d", .dataset_event = version});
}

static void an_ingest_is_over_when_a_newer_version_has_its_outcome(void **state)
{
    struct gc_runs *g = gc_runs_new();

    (void)state;
    take(g, RECORD_PIPELINE_DECLARED, "y", 0,
         &(struct pipeline_declared){.name = "p", .yaml = YAML, .sha256 = ""});
    take_outcome(g, "s1", "e1"); /* before its dataset event, as topics may come */
    take_version(g, "e1", "d", 0);
    take_version(g, "e2", "d", 1);
    take_version(g, "e3", "d", 2);
    take_version(g, "other", "another", 9);
    gc_runs_settle(g);
    assert_true(gc_runs_is_needed(g, ingest_run("e1", "p"))); /* the newest with an outcome */
    assert_true(gc_runs_is_needed(g, ingest_run("e2", "p"))); /* open */
    assert_false(gc_runs_is_needed(g, ingest_run("other", "p")));
    assert_false(gc_runs_is_needed(g, ingest_run("e1", "q")));
    take_outcome(g, "s3", "e3");
    gc_runs_settle(g);
    assert_false(gc_runs_is_needed(g, ingest_run("e1", "p")));
    assert_false(gc_runs_is_needed(g, ingest_run("e2", "p")));
    assert_true(gc_runs_is_needed(g, ingest_run("e3", "p")));
    gc_runs_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_training_is_over_when_the_log_says_how_it_ended),
        cmocka_unit_test(the_order_of_topics_does_not_matter),
        cmocka_unit_test(an_ingest_is_over_when_a_newer_version_has_its_outcome),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
