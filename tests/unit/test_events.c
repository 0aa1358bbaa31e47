#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/events.h"
#include "tests/support/sample_events.h"

/* What design.md section 3 says; line: keyed by line, control: folded and kept. */
static const struct {
    enum record r;
    const char *topic, *name, *avro_name, *key;
    bool line, control;
} catalogue[] = {
    {RECORD_PIPELINE_DECLARED, "pipelines", "pipeline_declared", "PipelineDeclared", "name", false,
     false},
    {RECORD_DATASET_PUBLISHED, "datasets", "dataset_published", "DatasetPublished", "dataset",
     false, false},
    {RECORD_DATASET_INGESTED, "snapshots", "dataset_ingested", "DatasetIngested", "line", true,
     true},
    {RECORD_DRIFT_DETECTED, "drift", "drift_detected", "DriftDetected", "line", true, true},
    {RECORD_OPERATOR_COMMANDED, "commands", "operator_commanded", "OperatorCommanded", "line", true,
     true},
    {RECORD_TRAINING_PLANNED, "plans", "training_planned", "TrainingPlanned", "line", true, true},
    {RECORD_TRAINING_FINISHED, "models", "training_finished", "TrainingFinished", "line", true,
     true},
    {RECORD_MODEL_EVALUATED, "evaluations", "model_evaluated", "ModelEvaluated", "line", true,
     true},
    {RECORD_GATE_DECIDED, "decisions", "gate_decided", "GateDecided", "line", true, true},
    {RECORD_DEPLOYMENT_CHANGED, "deployments", "deployment_changed", "DeploymentChanged", "line",
     true, true},
    {RECORD_SERVING_CHANGED, "serving", "serving_changed", "ServingChanged", "instance", false,
     false},
    {RECORD_PREDICTION_SERVED, "predictions", "prediction_served", "PredictionServed", "line", true,
     false},
    {RECORD_LABEL_OBSERVED, "labels", "label_observed", "LabelObserved", "line", true, false},
    {RECORD_HEALTH_MEASURED, "health", "health_measured", "HealthMeasured", "line", true, true},
    {RECORD_TRAINING_PROGRESSED, "progress", "training_progressed", "TrainingProgressed", "line",
     true, false},
    {RECORD_DEAD_LETTERED, "deadletters", "dead_lettered", "DeadLettered", "topic", false, false},
};

static void every_record_has_its_names_and_kind(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(catalogue), RECORD_COUNT - 1);
    for (size_t i = 0; i < ARRAY_LEN(catalogue); i++) {
        enum record r = catalogue[i].r;

        assert_string_equal(record_topic(r), catalogue[i].topic);
        assert_string_equal(record_str(r), catalogue[i].name);
        assert_string_equal(record_avro_name(r), catalogue[i].avro_name);
        assert_int_equal(record_of_topic(catalogue[i].topic), r);
        assert_int_equal(record_is_line_keyed(r), catalogue[i].line);
        assert_int_equal(record_is_control(r), catalogue[i].control);
        assert_string_equal(record_fields(r)->name, catalogue[i].avro_name);
        assert_string_equal(record_fields(r)->fields[0].name, catalogue[i].key);
    }
}

static void what_is_no_record_has_no_name_and_no_topic(void **state)
{
    (void)state;
    assert_string_equal(record_str(RECORD_NONE), "none");
    assert_string_equal(record_str((enum record)99), "none");
    assert_string_equal(record_topic(RECORD_NONE), "");
    assert_string_equal(record_avro_name(RECORD_COUNT), "");
    assert_int_equal(record_of_topic("nothing"), RECORD_NONE);
    assert_int_equal(record_of_topic(""), RECORD_NONE);
    assert_int_equal(record_of_topic(NULL), RECORD_NONE);
    assert_null(record_fields(RECORD_NONE));
    assert_null(record_fields(RECORD_COUNT));
    assert_int_equal(record_struct_size(RECORD_NONE), 0);
    assert_false(record_is_control(RECORD_NONE));
    assert_false(record_is_line_keyed(RECORD_COUNT));
}

static void a_record_tells_its_own_key(void **state)
{
    CLEANUP(arena_fini) struct arena arena = {0};

    (void)state;
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        char expected[64];

        snprintf(expected, sizeof(expected), "%s-1", record_fields((enum record)r)->fields[0].name);
        assert_string_equal(record_own_key((enum record)r, sample_full((enum record)r, &arena)),
                            expected);
        assert_null(record_own_key((enum record)r, sample_empty((enum record)r, &arena)));
        assert_null(record_own_key((enum record)r, NULL));
    }
    assert_null(record_own_key(RECORD_LABEL_OBSERVED, &(struct label_observed){.line = ""}));
    assert_null(record_own_key(RECORD_NONE, &(struct label_observed){.line = "x"}));
}

static size_t size_of(const struct field *f)
{
    switch (f->type) {
    case FIELD_STRING:
        return sizeof(char *);
    case FIELD_LONG:
        return sizeof(int64_t);
    case FIELD_DOUBLE:
        return sizeof(double);
    case FIELD_BOOL:
        return sizeof(bool);
    default:
        return sizeof(struct string_list); /* bytes and lists: pointer and count */
    }
}

static size_t aligned(size_t n, size_t size)
{
    size_t align = size == 1 ? 1 : 8;
    return (n + align - 1) / align * align;
}

/* A member of a struct that its table does not have would leave a hole. */
static void no_hole_in(const struct record_fields *t)
{
    size_t end = 0;

    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[i];

        if (f->offset != aligned(end, size_of(f)))
            fail_msg("%s: the table has no row for a member before %s", t->name, f->name);
        end = f->offset + size_of(f);
        if (f->of)
            no_hole_in(f->of);
    }
    if (aligned(end, 8) != t->size)
        fail_msg("%s: the table has no row for the last member", t->name);
}

static void the_tables_have_every_member_of_every_struct(void **state)
{
    (void)state;
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++)
        no_hole_in(record_fields((enum record)r));
    assert_int_equal(record_struct_size(RECORD_LABEL_OBSERVED), sizeof(struct label_observed));
}

static void an_event_frees_all_that_it_owns(void **state)
{
    struct event *ev = xcalloc(1, sizeof(*ev));

    (void)state;
    ev->rec = sample_full(RECORD_GATE_DECIDED, &ev->arena);
    ev->id = arena_strdup(&ev->arena, "id");
    event_free(ev);
    event_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_has_its_names_and_kind),
        cmocka_unit_test(what_is_no_record_has_no_name_and_no_topic),
        cmocka_unit_test(a_record_tells_its_own_key),
        cmocka_unit_test(the_tables_have_every_member_of_every_struct),
        cmocka_unit_test(an_event_frees_all_that_it_owns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
