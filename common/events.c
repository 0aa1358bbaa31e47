#include "common/events.h"

#include <stdlib.h>
#include <string.h>

enum kind { KIND_CONTROL = 0, KIND_STREAM, KIND_OTHER };

/* Stream: line-keyed, but not kept for ever in anybody's fold.  Other: not keyed by line. */
static const struct {
    const char *topic, *name, *avro_name;
    enum kind kind;
} records[RECORD_COUNT] = {
    [RECORD_NONE] = {"", "none", "", KIND_OTHER},
    [RECORD_PIPELINE_DECLARED] = {"pipelines", "pipeline_declared", "PipelineDeclared", KIND_OTHER},
    [RECORD_DATASET_PUBLISHED] = {"datasets", "dataset_published", "DatasetPublished", KIND_OTHER},
    [RECORD_DATASET_INGESTED] = {"snapshots", "dataset_ingested", "DatasetIngested", KIND_CONTROL},
    [RECORD_DRIFT_DETECTED] = {"drift", "drift_detected", "DriftDetected", KIND_CONTROL},
    [RECORD_OPERATOR_COMMANDED] = {"commands", "operator_commanded", "OperatorCommanded",
                                   KIND_CONTROL},
    [RECORD_TRAINING_PLANNED] = {"plans", "training_planned", "TrainingPlanned", KIND_CONTROL},
    [RECORD_TRAINING_FINISHED] = {"models", "training_finished", "TrainingFinished", KIND_CONTROL},
    [RECORD_MODEL_EVALUATED] = {"evaluations", "model_evaluated", "ModelEvaluated", KIND_CONTROL},
    [RECORD_GATE_DECIDED] = {"decisions", "gate_decided", "GateDecided", KIND_CONTROL},
    [RECORD_DEPLOYMENT_CHANGED] = {"deployments", "deployment_changed", "DeploymentChanged",
                                   KIND_CONTROL},
    [RECORD_SERVING_CHANGED] = {"serving", "serving_changed", "ServingChanged", KIND_OTHER},
    [RECORD_PREDICTION_SERVED] = {"predictions", "prediction_served", "PredictionServed",
                                  KIND_STREAM},
    [RECORD_LABEL_OBSERVED] = {"labels", "label_observed", "LabelObserved", KIND_STREAM},
    [RECORD_HEALTH_MEASURED] = {"health", "health_measured", "HealthMeasured", KIND_CONTROL},
    [RECORD_TRAINING_PROGRESSED] = {"progress", "training_progressed", "TrainingProgressed",
                                    KIND_STREAM},
    [RECORD_DEAD_LETTERED] = {"deadletters", "dead_lettered", "DeadLettered", KIND_OTHER},
};

static bool is_record(enum record r)
{
    return r > RECORD_NONE && r < RECORD_COUNT;
}

const char *record_topic(enum record r)
{
    return records[is_record(r) ? r : RECORD_NONE].topic;
}

const char *record_str(enum record r)
{
    return records[is_record(r) ? r : RECORD_NONE].name;
}

const char *record_avro_name(enum record r)
{
    return records[is_record(r) ? r : RECORD_NONE].avro_name;
}

enum record record_of_topic(const char *topic_without_prefix)
{
    if (!topic_without_prefix)
        return RECORD_NONE;
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++)
        if (strcmp(records[r].topic, topic_without_prefix) == 0)
            return (enum record)r;
    return RECORD_NONE;
}

bool record_is_line_keyed(enum record r)
{
    return is_record(r) && records[r].kind != KIND_OTHER;
}

bool record_is_control(enum record r)
{
    return is_record(r) && records[r].kind == KIND_CONTROL;
}

const char *record_own_key(enum record r, const void *rec)
{
    const struct record_fields *t = record_fields(r);
    const char *key;

    if (!t || !rec)
        return NULL;
    /* the key is the first member of every record */
    key = *(const char *const *)(const void *)((const char *)rec + t->fields[0].offset);
    return key && key[0] ? key : NULL; /* empty is how an absent one travels */
}

size_t record_struct_size(enum record r)
{
    const struct record_fields *t = record_fields(r);
    return t ? t->size : 0;
}

void event_free(struct event *ev)
{
    if (!ev)
        return;
    arena_fini(&ev->arena);
    free(ev);
}
