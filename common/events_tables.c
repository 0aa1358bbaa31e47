/* The field tables: member by member what a struct and its schema have in common, in the order of
 * both (the order is the wire's).  A member of another C type than its row says does not compile;
 * that schemas/<record>.avsc says the same is checked by codec_check_tables.  A list may follow
 * another record's table (RECS), so nested tables stand first. */
#include "common/events.h"

/* Offset of member m of T; compiles only when m has the type that the row stands for. */
#define AT(m, type) (offsetof(T, m) + 0 * sizeof(_Generic(((T *)0)->m, type : (char)0)))
#define ROW(m, type, c_type, opt)                                                                  \
    {                                                                                              \
#m, type, opt, AT(m, c_type), NULL                                                         \
    }
#define STR(m) ROW(m, FIELD_STRING, const char *, false)
#define OPT_STR(m) ROW(m, FIELD_STRING, const char *, true)
#define LONG(m) ROW(m, FIELD_LONG, int64_t, false)
#define OPT_LONG(m) ROW(m, FIELD_LONG, int64_t, true)
#define DOUBLE(m) ROW(m, FIELD_DOUBLE, double, false)
#define OPT_DOUBLE(m) ROW(m, FIELD_DOUBLE, double, true)
#define BOOL(m) ROW(m, FIELD_BOOL, bool, false)
#define OPT_BYTES(m) ROW(m, FIELD_BYTES, struct bytes, true)
#define STRS(m) ROW(m, FIELD_STRINGS, struct string_list, false)
#define DOUBLES(m) ROW(m, FIELD_DOUBLES, struct double_list, false)
#define FLOATS(m) ROW(m, FIELD_FLOATS, struct float_list, false)
#define RECS(m, elem, table)                                                                       \
    {                                                                                              \
#m, FIELD_RECORDS, false,                                                                     \
     offsetof(T, m) + 0 * sizeof(_Generic(((T *)0)->m.items, const elem *: (char)0)), table    \
    }
#define TABLE(var, avro_name, rows)                                                                \
    static const struct record_fields var = {avro_name, sizeof(T), rows, ARRAY_LEN(rows)}

#define T struct pipeline_declared
static const struct field pipeline_declared_fields[] = {
    STR(name),
    STR(yaml),
    STR(sha256),
    STR(by),
    LONG(declared_unix_ms),
    LONG(first_declared_unix_ms),
};
TABLE(pipeline_declared_table, "PipelineDeclared", pipeline_declared_fields);
#undef T

#define T struct dataset_published
static const struct field dataset_published_fields[] = {
    STR(dataset),    OPT_STR(version), STR(uri),
    OPT_STR(format), OPT_STR(sha256),  OPT_LONG(size_bytes),
    OPT_LONG(rows),  STR(by),          OPT_LONG(published_unix_ms),
};
TABLE(dataset_published_table, "DatasetPublished", dataset_published_fields);
#undef T

#define T struct violation
static const struct field violation_fields[] = {
    OPT_STR(column), STR(rule), STR(severity), LONG(count), STR(detail), STRS(examples),
};
TABLE(violation_table, "Violation", violation_fields);
#undef T

#define T struct dataset_ingested
static const struct field dataset_ingested_fields[] = {
    STR(line),
    STR(pipeline),
    OPT_STR(segment),
    STR(pipeline_sha256),
    STR(dataset),
    STR(version),
    STR(dataset_event),
    STR(status),
    STR(reason),
    OPT_STR(snapshot),
    OPT_STR(profile),
    LONG(rows),
    LONG(train_rows),
    LONG(valid_rows),
    LONG(test_rows),
    LONG(rows_quarantined),
    LONG(rows_seen_before),
    LONG(bytes),
    DOUBLE(seconds),
    RECS(violations, struct violation, &violation_table),
};
TABLE(dataset_ingested_table, "DatasetIngested", dataset_ingested_fields);
#undef T

#define T struct drift_feature
static const struct field drift_feature_fields[] = {
    STR(feature),
    OPT_DOUBLE(value),
    OPT_DOUBLE(threshold),
};
TABLE(drift_feature_table, "DriftFeature", drift_feature_fields);
#undef T

#define T struct drift_detected
static const struct field drift_detected_fields[] = {
    STR(line),
    STR(source),
    STR(kind),
    OPT_STR(statistic),
    OPT_DOUBLE(value),
    OPT_DOUBLE(threshold),
    OPT_LONG(generation),
    OPT_LONG(windows),
    STR(summary),
    LONG(detected_unix_ms),
    RECS(features, struct drift_feature, &drift_feature_table),
};
TABLE(drift_detected_table, "DriftDetected", drift_detected_fields);
#undef T

#define T struct operator_commanded
static const struct field operator_commanded_fields[] = {
    STR(line),
    STR(command),
    OPT_STR(target),
    OPT_LONG(generation),
    OPT_LONG(to_generation),
    STR(by),
    STR(reason),
    LONG(commanded_unix_ms),
    OPT_LONG(expires_unix_ms),
};
TABLE(operator_commanded_table, "OperatorCommanded", operator_commanded_fields);
#undef T

#define T struct snapshot_ref
static const struct field snapshot_ref_fields[] = {
    STR(snapshot),
    STR(event),
    LONG(rows),
};
TABLE(snapshot_ref_table, "SnapshotRef", snapshot_ref_fields);
#undef T

#define T struct training_planned
static const struct field training_planned_fields[] = {
    STR(line),
    STR(kind),
    OPT_LONG(base),
    OPT_STR(run),
    OPT_STR(trigger),
    STRS(covers),
    OPT_LONG(until_unix_ms),
    OPT_STR(outcome),
    STR(reason),
    OPT_STR(pipeline_sha256),
    RECS(snapshots, struct snapshot_ref, &snapshot_ref_table),
    LONG(rows),
    OPT_LONG(deadline_unix_ms),
    LONG(planned_unix_ms),
};
TABLE(training_planned_table, "TrainingPlanned", training_planned_fields);
#undef T

#define T struct named_value
static const struct field named_value_fields[] = {
    STR(name),
    OPT_DOUBLE(value),
};
TABLE(named_value_table, "NamedValue", named_value_fields);
#undef T

#define T struct training_finished
static const struct field training_finished_fields[] = {
    STR(line),
    STR(run),
    LONG(attempt),
    STR(status),
    OPT_STR(reason),
    OPT_STR(model),
    STR(trainer),
    STR(pipeline_sha256),
    RECS(snapshots, struct snapshot_ref, &snapshot_ref_table),
    LONG(trained_rows),
    LONG(valid_rows),
    LONG(rounds),
    LONG(trials),
    RECS(params, struct named_value, &named_value_table),
    RECS(metrics, struct named_value, &named_value_table),
    DOUBLE(seconds),
    DOUBLE(cpu_seconds),
    LONG(max_rss_bytes),
    STR(instance),
};
TABLE(training_finished_table, "TrainingFinished", training_finished_fields);
#undef T

#define T struct evaluation_metric
static const struct field evaluation_metric_fields[] = {
    STR(metric),           STR(slice),           LONG(rows),
    OPT_DOUBLE(candidate), OPT_DOUBLE(champion), OPT_DOUBLE(difference),
    OPT_DOUBLE(low),       OPT_DOUBLE(high),     BOOL(higher_is_better),
    OPT_STR(undefined),    STR(method),          OPT_DOUBLE(effective_rows),
    LONG(clusters),        DOUBLE(level),        OPT_DOUBLE(p),
};
TABLE(evaluation_metric_table, "EvaluationMetric", evaluation_metric_fields);
#undef T

#define T struct evaluation_baseline
static const struct field evaluation_baseline_fields[] = {
    STR(name),
    OPT_STR(model),
    STR(metric),
    LONG(rows),
    OPT_DOUBLE(candidate),
    OPT_DOUBLE(value),
    OPT_DOUBLE(difference),
    OPT_DOUBLE(low),
    OPT_DOUBLE(high),
    OPT_STR(reason),
};
TABLE(evaluation_baseline_table, "EvaluationBaseline", evaluation_baseline_fields);
#undef T

#define T struct model_evaluated
static const struct field model_evaluated_fields[] = {
    STR(line),
    STR(run),
    OPT_STR(model),
    STR(model_event),
    STR(status),
    STR(reason),
    LONG(against),
    OPT_STR(champion),
    STR(pipeline_sha256),
    STRS(snapshots),
    LONG(rows),
    DOUBLE(confidence),
    LONG(rounds),
    LONG(seed),
    RECS(metrics, struct evaluation_metric, &evaluation_metric_table),
    DOUBLE(seconds),
    RECS(baselines, struct evaluation_baseline, &evaluation_baseline_table),
    LONG(attempt),
    LONG(comparisons),
    BOOL(sequential),
};
TABLE(model_evaluated_table, "ModelEvaluated", model_evaluated_fields);
#undef T

#define T struct rule_result
static const struct field rule_result_fields[] = {
    STR(rule),
    STR(metric),
    STR(slice),
    OPT_DOUBLE(value),
    OPT_DOUBLE(low),
    OPT_DOUBLE(high),
    OPT_DOUBLE(threshold),
    OPT_DOUBLE(baseline),
    STR(verdict),
    STR(severity),
    STR(reason),
};
TABLE(rule_result_table, "RuleResult", rule_result_fields);
#undef T

#define T struct gate_approval
static const struct field gate_approval_fields[] = {
    STR(by),
    STR(role),
    STR(reason),
    LONG(approved_unix_ms),
};
TABLE(gate_approval_table, "GateApproval", gate_approval_fields);
#undef T

#define T struct gate_decided
static const struct field gate_decided_fields[] = {
    STR(line),
    LONG(base),
    OPT_STR(run),
    OPT_STR(model),
    OPT_STR(evaluation),
    OPT_STR(model_event),
    STR(verdict),
    LONG(against),
    STR(reason),
    STR(by),
    OPT_STR(pipeline_sha256),
    OPT_LONG(deadline_unix_ms),
    RECS(rules, struct rule_result, &rule_result_table),
    LONG(decided_unix_ms),
    OPT_LONG(evaluations_read),
    OPT_LONG(deployments_read),
    LONG(judge),
    OPT_LONG(snapshots_read),
    OPT_STR(waits_for),
    OPT_STR(then),
    OPT_LONG(rows_needed),
    STRS(snapshots),
    RECS(approvals, struct gate_approval, &gate_approval_table),
};
TABLE(gate_decided_table, "GateDecided", gate_decided_fields);
#undef T

#define T struct route
static const struct field route_fields[] = {
    LONG(generation),
    STR(model),
    STR(role),
    DOUBLE(weight),
};
TABLE(route_table, "Route", route_fields);
#undef T

#define T struct deployment_changed
static const struct field deployment_changed_fields[] = {
    STR(line),
    STR(kind),
    OPT_LONG(base),
    LONG(generation),
    OPT_STR(action),
    LONG(step),
    LONG(steps),
    RECS(routes, struct route, &route_table),
    OPT_STR(run),
    OPT_STR(model),
    OPT_STR(decision),
    LONG(against),
    BOOL(is_final),
    STR(reason),
    STR(by),
    OPT_LONG(until_unix_ms),
    OPT_STR(pipeline_sha256),
    LONG(changed_unix_ms),
};
TABLE(deployment_changed_table, "DeploymentChanged", deployment_changed_fields);
#undef T

#define T struct serving_line
static const struct field serving_line_fields[] = {
    STR(line),  LONG(generation), LONG(sequence),      OPT_STR(model),
    STR(state), STR(reason),      LONG(since_unix_ms),
};
TABLE(serving_line_table, "ServingLine", serving_line_fields);
#undef T

#define T struct serving_changed
static const struct field serving_changed_fields[] = {
    STR(instance),         STR(url),
    BOOL(stopping),        RECS(lines, struct serving_line, &serving_line_table),
    OPT_STR(changed_line), LONG(changed_unix_ms),
};
TABLE(serving_changed_table, "ServingChanged", serving_changed_fields);
#undef T

#define T struct prediction_served
static const struct field prediction_served_fields[] = {
    STR(line),
    STR(prediction),
    OPT_STR(request),
    LONG(generation),
    STR(model),
    STR(role),
    STR(instance),
    LONG(rows),
    LONG(features_per_row),
    LONG(outputs_per_row),
    FLOATS(features),
    DOUBLES(outputs),
    LONG(latency_us),
    LONG(served_unix_ms),
};
TABLE(prediction_served_table, "PredictionServed", prediction_served_fields);
#undef T

#define T struct label_observed
static const struct field label_observed_fields[] = {
    STR(line), STR(prediction), STR(value), STR(by), OPT_LONG(observed_unix_ms),
};
TABLE(label_observed_table, "LabelObserved", label_observed_fields);
#undef T

#define T struct feature_health
static const struct field feature_health_fields[] = {
    STR(feature),
    OPT_DOUBLE(psi),
    OPT_DOUBLE(threshold),
    OPT_DOUBLE(missing_share),
};
TABLE(feature_health_table, "FeatureHealth", feature_health_fields);
#undef T

#define T struct health_measured
static const struct field health_measured_fields[] = {
    STR(line),
    STR(kind),
    LONG(generation),
    LONG(window),
    STR(cluster),
    LONG(partition),
    LONG(from_offset),
    LONG(to_offset),
    STR(first_prediction),
    STR(last_prediction),
    LONG(predictions),
    LONG(labels),
    LONG(late_labels),
    RECS(features, struct feature_health, &feature_health_table),
    OPT_DOUBLE(prediction_psi),
    OPT_DOUBLE(worst_psi),
    RECS(quality, struct named_value, &named_value_table),
    STR(verdict),
    LONG(consecutive),
    STR(reason),
    LONG(failures),
    LONG(measured_unix_ms),
};
TABLE(health_measured_table, "HealthMeasured", health_measured_fields);
#undef T

#define T struct training_progressed
static const struct field training_progressed_fields[] = {
    STR(line),
    STR(run),
    LONG(attempt),
    STR(instance),
    STR(phase),
    LONG(trial),
    LONG(trials),
    LONG(round),
    LONG(rounds),
    OPT_STR(metric),
    OPT_DOUBLE(value),
    LONG(beat),
    LONG(progressed_unix_ms),
};
TABLE(training_progressed_table, "TrainingProgressed", training_progressed_fields);
#undef T

#define T struct dead_header
static const struct field dead_header_fields[] = {
    STR(name),
    OPT_BYTES(value),
};
TABLE(dead_header_table, "DeadHeader", dead_header_fields);
#undef T

#define T struct dead_lettered
static const struct field dead_lettered_fields[] = {
    STR(topic),           LONG(partition),
    LONG(offset),         OPT_BYTES(key),
    OPT_BYTES(value),     RECS(headers, struct dead_header, &dead_header_table),
    STR(agent),           STR(code),
    STR(reason),          LONG(attempts),
    LONG(failed_unix_ms),
};
TABLE(dead_lettered_table, "DeadLettered", dead_lettered_fields);
#undef T

static const struct record_fields *const tables[RECORD_COUNT] = {
    [RECORD_PIPELINE_DECLARED] = &pipeline_declared_table,
    [RECORD_DATASET_PUBLISHED] = &dataset_published_table,
    [RECORD_DATASET_INGESTED] = &dataset_ingested_table,
    [RECORD_DRIFT_DETECTED] = &drift_detected_table,
    [RECORD_OPERATOR_COMMANDED] = &operator_commanded_table,
    [RECORD_TRAINING_PLANNED] = &training_planned_table,
    [RECORD_TRAINING_FINISHED] = &training_finished_table,
    [RECORD_MODEL_EVALUATED] = &model_evaluated_table,
    [RECORD_GATE_DECIDED] = &gate_decided_table,
    [RECORD_DEPLOYMENT_CHANGED] = &deployment_changed_table,
    [RECORD_SERVING_CHANGED] = &serving_changed_table,
    [RECORD_PREDICTION_SERVED] = &prediction_served_table,
    [RECORD_LABEL_OBSERVED] = &label_observed_table,
    [RECORD_HEALTH_MEASURED] = &health_measured_table,
    [RECORD_TRAINING_PROGRESSED] = &training_progressed_table,
    [RECORD_DEAD_LETTERED] = &dead_lettered_table,
};
const struct record_fields *record_fields(enum record r)
{
    return r > RECORD_NONE && r < RECORD_COUNT ? tables[r] : NULL;
}
