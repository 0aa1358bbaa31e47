#include "agents/relearn/card.h"

#include <string.h>

static void copy(struct json *to, const char *name, const struct json *from, const char *member)
{
    const struct json *v = json_get(from, member);
    if (v)
        json_set(to, name, json_copy(v));
    else
        json_set_null(to, name);
}

static int64_t sum_of(const struct json *data, const char *member)
{
    int64_t sum = 0;
    for (size_t i = 0; i < json_len(data); i++)
        sum += json_get_int(json_at(data, i), member, 0);
    return sum;
}

static void add_split(struct json *card, const struct json *facts)
{
    const struct json *data = json_get(facts, "data"), *trained = json_get(facts, "trained");
    struct json *s = json_set(card, "splits", json_object());
    json_set_int(s, "train_rows", sum_of(data, "train_rows"));
    json_set_int(s, "valid_rows", sum_of(data, "valid_rows"));
    json_set_int(s, "test_rows", sum_of(data, "test_rows"));
    copy(s, "trained_rows", trained, "trained_rows");
    copy(s, "evaluated_rows", json_get(facts, "evaluated"), "rows");
}

static void add_metrics(struct json *card, const struct json *evaluated)
{
    static const char *const KEYS[] = {"metric",     "slice", "rows", "candidate", "champion",
                                       "difference", "low",   "high", "undefined", "method"};
    const struct json *list = json_get(evaluated, "metrics");
    struct json *whole = json_set(card, "metrics", json_array());
    struct json *slices = json_set(card, "slices", json_array());
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *m = json_at(list, i);
        bool is_whole = strcmp(json_get_str(m, "slice", ""), "all") == 0;
        struct json *one = json_add(is_whole ? whole : slices, json_object());
        for (size_t k = 0; k < ARRAY_LEN(KEYS); k++)
            copy(one, KEYS[k], m, KEYS[k]);
    }
    copy(card, "confidence", evaluated, "confidence");
    copy(card, "against_generation", evaluated, "against");
}

static void add_decision(struct json *card, const struct json *decided)
{
    static const char *const KEYS[] = {"rule", "metric",    "slice",   "value",    "low",
                                       "high", "threshold", "verdict", "severity", "reason"};
    const struct json *rules = json_get(decided, "rules");
    struct json *d = json_set(card, "decision", json_object()), *list;
    copy(d, "verdict", decided, "verdict");
    copy(d, "reason", decided, "reason");
    copy(d, "by", decided, "by");
    list = json_set(d, "rules", json_array());
    for (size_t i = 0; i < json_len(rules); i++) {
        struct json *one = json_add(list, json_object());
        for (size_t k = 0; k < ARRAY_LEN(KEYS); k++)
            copy(one, KEYS[k], json_at(rules, i), KEYS[k]);
    }
}

static void add_unknown(struct json *card, const struct json *facts)
{
    struct json *list = json_set(card, "unknown", json_array());
    const struct json *evaluated = json_get(facts, "evaluated");
    if (!json_is_object(json_get(facts, "trained")))
        json_add_str(list, "the model: the run has not been trained to its end");
    if (!json_len(json_get(evaluated, "metrics")))
        json_add_str(list, "how good it is: there is no evaluation with metrics");
    if (!json_len(json_get(card, "slices")))
        json_add_str(list, "how good it is on parts of the data: no slices were evaluated");
    if (json_get_int(evaluated, "against", 0) == 0)
        json_add_str(list,
                     "how it stands against another model: there was no champion to compare with");
    if (!json_is_object(json_get(facts, "decided")))
        json_add_str(list, "what was decided: nothing yet");
    json_add_str(list, "fairness between groups, but for the slices above: not measured");
    json_add_str(list, "calibration curve and importance of the features: no event carries them");
    json_add_str(list,
                 "what it is meant for, and what it must not be used for: nobody has declared it");
}

struct json *card_document(const struct json *facts)
{
    static const char *const COST[] = {"seconds", "cpu_seconds", "max_rss_bytes", "trials",
                                       "rounds",  "attempt",     "instance"};
    const struct json *trained = json_get(facts, "trained");
    struct json *card = json_object(), *cost;
    copy(card, "model", facts, "model");
    copy(card, "run", facts, "run");
    copy(card, "line", facts, "line");
    copy(card, "state", facts, "state");
    copy(card, "trigger", facts, "trigger");
    copy(card, "planned", facts, "planned");
    copy(card, "pipeline_sha256", trained, "pipeline_sha256");
    copy(card, "trainer", trained, "trainer");
    copy(card, "parameters", trained, "params");
    copy(card, "data", facts, "data");
    add_split(card, facts);
    add_metrics(card, json_get(facts, "evaluated"));
    add_decision(card, json_get(facts, "decided"));
    copy(card, "served", facts, "served");
    cost = json_set(card, "cost", json_object());
    for (size_t i = 0; i < ARRAY_LEN(COST); i++)
        copy(cost, COST[i], trained, COST[i]);
    add_unknown(card, facts);
    return card;
}
