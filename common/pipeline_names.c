/* Names of pipelines, segments and lines, and words for enums and rules. */
#include "common/pipeline.h"

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool pipeline_name_is_valid(const char *name)
{
    size_t n = strlen(name);

    if (n < 1 || n > PIPELINE_NAME_MAX || (!is_lower(name[0]) && !is_digit(name[0])))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!is_lower(name[i]) && !is_digit(name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

bool segment_is_valid(const char *value)
{
    size_t n = strlen(value);

    if (n < 1 || n > PIPELINE_NAME_MAX || value[0] == '.' || value[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_lower(value[i]) && !is_upper(value[i]) && !is_digit(value[i]) &&
            !strchr("._-", value[i]))
            return false;
    return true;
}

void line_name(const char *pipeline, const char *segment, struct buf *out)
{
    buf_add_str(out, pipeline);
    if (segment && *segment)
        buf_addf(out, "/%s", segment);
}

bool line_split(const char *line, char pipeline[PIPELINE_NAME_MAX + 1],
                char segment[PIPELINE_NAME_MAX + 1])
{
    const char *slash = strchr(line, '/');
    size_t n = slash ? (size_t)(slash - line) : strlen(line);
    char name[PIPELINE_NAME_MAX + 1];

    if (n > PIPELINE_NAME_MAX)
        return false;
    memcpy(name, line, n);
    name[n] = '\0';
    if (!pipeline_name_is_valid(name) || (slash && !segment_is_valid(slash + 1)))
        return false;
    memcpy(pipeline, name, n + 1);
    str_copy(segment, PIPELINE_NAME_MAX + 1, slash ? slash + 1 : "");
    return true;
}

const char *task_str(enum task t)
{
    switch (t) {
    case TASK_BINARY:
        return "binary";
    case TASK_MULTICLASS:
        return "multiclass";
    case TASK_REGRESSION:
        return "regression";
    }
    return "unknown";
}

const char *severity_str(enum severity s)
{
    switch (s) {
    case SEVERITY_BLOCK:
        return "block";
    case SEVERITY_WARN:
        return "warn";
    case SEVERITY_OBSERVE:
        return "observe";
    }
    return "unknown";
}

const char *column_type_str(enum column_type t)
{
    switch (t) {
    case COLUMN_FLOAT:
        return "float";
    case COLUMN_INT:
        return "int";
    case COLUMN_CATEGORY:
        return "category";
    case COLUMN_DATE:
        return "date";
    case COLUMN_BOOL:
        return "bool";
    case COLUMN_IGNORE:
        return "ignore";
    case COLUMN_TYPE_COUNT:
        break;
    }
    return "unknown";
}

const char *const *gate_fact_names(void)
{
    static const char *const names[] = {"trained_rows",      "valid_rows",        "train_seconds",
                                        "train_cpu_seconds", "train_memory",      "evaluated_rows",
                                        "data_rows",         "data_age_hours",    "data_violations",
                                        "quarantined_share", "seen_before_share", NULL};

    return names;
}

void gate_rule_str(const struct gate_rule *r, struct buf *out)
{
    bool is_bound = r->kind == RULE_AT_LEAST || r->kind == RULE_AT_MOST;
    char number[32];

    buf_add_str(out, r->fact ? r->fact : r->metric);
    if (r->slice && strcmp(r->slice, RULE_EVERY_SLICE) == 0)
        buf_add_str(out, " on every slice");
    else if (r->slice_value)
        buf_addf(out, " on %s=%s", r->slice, r->slice_value);
    else if (r->slice)
        buf_addf(out, " on each %s", r->slice);
    double_to_str(is_bound ? r->bound : r->is_relative ? r->by * 100 : r->by, number);
    if (is_bound) {
        buf_addf(out, " %s %s", r->kind == RULE_AT_LEAST ? "at least" : "at most", number);
        return;
    }
    buf_addf(out, " %s than %s", r->kind == RULE_NO_WORSE_THAN ? "no worse" : "better",
             r->baseline);
    if (r->by > 0)
        buf_addf(out, " by %s%s", number, r->is_relative ? "%" : "");
    if (r->by_interval)
        buf_add_str(out, ", by the interval");
}
