#include "agents/relearn/cmd_print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"

static const char *text(const struct json *j, const char *key)
{
    return json_get_str(j, key, "-");
}

static const char *short_time(const struct json *j, const char *key, char out[20])
{
    const char *t = json_get_str(j, key, NULL); /* 2026-11-23T14:05:06.123456Z */
    snprintf(out, 20, "%.19s", t ? t : "-");
    return out;
}

void print_sent(const struct json *sent, bool is_json)
{
    if (is_json)
        cli_print_json(sent);
    else
        printf("sent, event %s\n", text(sent, "event"));
}

/* Was what was asked for not done?  A person's rejection of a candidate is what was asked for. */
static bool is_refusal(const struct json *event)
{
    static const char *const WORDS[] = {"rejected", "refused", "failed", "ignored", "reject"};
    const struct json *r = json_get(event, "record");
    const char *said[] = {json_get_str(r, "status", ""), json_get_str(r, "kind", ""),
                          json_get_str(r, "verdict", "")};
    bool is_by_person =
        strcmp(said[2], "reject") == 0 && strcmp(json_get_str(r, "by", "policy"), "policy") != 0;
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        for (size_t w = 0; w < ARRAY_LEN(WORDS); w++)
            if (strcmp(said[i], WORDS[w]) == 0)
                return !is_by_person;
    return false;
}

static const char *verb_of(const struct json *event)
{
    const struct json *r = json_get(event, "record");
    static const char *const KEYS[] = {"status", "verdict", "action", "kind"};
    for (size_t i = 0; i < ARRAY_LEN(KEYS); i++) {
        const char *v = json_get_str(r, KEYS[i], NULL);
        if (v && v[0])
            return v;
    }
    return "-";
}

static void print_violations(FILE *to, const struct json *record)
{
    const struct json *list = json_get(record, "violations");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *v = json_at(list, i), *examples = json_get(v, "examples");
        fprintf(to, "  %s, rule %s: %lld rows; %s\n", json_get_str(v, "column", "the dataset"),
                text(v, "rule"), (long long)json_get_int(v, "count", 0),
                json_get_str(v, "detail", ""));
        for (size_t k = 0; k < json_len(examples); k++)
            fprintf(to, "    %s\n", json_str(json_at(examples, k), ""));
    }
}

bool print_answer(const struct json *event, bool is_json)
{
    const struct json *r = json_get(event, "record");
    bool is_done = !is_refusal(event);
    FILE *to = is_done ? stdout : stderr;
    if (is_json) {
        cli_print_json(event);
    } else {
        fprintf(to, "%s: %s (event %s)\n", verb_of(event), json_get_str(r, "reason", ""),
                text(event, "id"));
        print_violations(to, r);
    }
    return is_done;
}

void print_prediction(const struct json *answer, bool is_json)
{
    if (is_json) {
        cli_print_json(answer);
        return;
    }
    const struct json *outputs = json_get(answer, "outputs"), *p = json_get(answer, "parameters");
    for (size_t i = 0; i < json_len(outputs); i++) {
        CLEANUP(buf_fini) struct buf b = {0};
        const struct json *o = json_at(outputs, i);
        json_write(json_get(o, "data"), 0, false, &b);
        printf("%s %s  ", text(o, "name"), b.data);
    }
    printf(" generation %lld, prediction %s\n", (long long)json_get_int(p, "generation", 0),
           text(p, "prediction"));
}

void print_pipelines(const struct json *list)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *p = json_at(list, i);
        char t[20];
        printf("%-28s dataset %-24s label %-16s %-11s declared %s\n", text(p, "pipeline"),
               text(p, "dataset"), text(p, "label"), text(p, "task"), short_time(p, "declared", t));
    }
}

void print_lines(const struct json *list)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *l = json_at(list, i);
        printf("%-32s generation %-4lld %-8s %s\n", text(l, "line"),
               (long long)json_get_int(l, "generation", 0), text(l, "state"),
               json_get_str(l, "why", ""));
        if (json_get(l, "canary"))
            printf("  canary: generation %lld, %.0f %% of requests\n",
                   (long long)json_get_int(l, "canary", 0),
                   100 * json_get_num(l, "canary_share", 0));
        if (json_get_str(l, "health", NULL))
            printf("  health: %s, %s\n", text(l, "health"), json_get_str(l, "health_reason", ""));
    }
}

void print_runs(const struct json *list)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *r = json_at(list, i);
        char t[20];
        printf("%s  %s  %-24s %-8s %-12s %s\n", short_time(r, "planned", t), text(r, "run"),
               text(r, "line"), text(r, "trigger"), text(r, "state"),
               json_get_str(r, "reason", ""));
    }
}

void print_models(const struct json *list)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *m = json_at(list, i);
        CLEANUP(buf_fini) struct buf generations = {0};
        char t[20];
        json_write(json_get(m, "generations"), 0, false, &generations);
        printf("%s  %.16s  %-24s %-10s generations %-10s %lld rows\n", short_time(m, "trained", t),
               text(m, "model"), text(m, "line"), text(m, "role"), generations.data,
               (long long)json_get_int(m, "trained_rows", 0));
    }
}

void print_history(const struct json *list)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *g = json_at(list, i);
        char from[20], to[20];
        printf("generation %-4lld %s to %s  model %.12s  %s\n",
               (long long)json_get_int(g, "generation", 0), short_time(g, "from", from),
               json_get_str(g, "to", NULL) ? short_time(g, "to", to) : "now                ",
               text(g, "model"), json_get_str(g, "decision", json_get_str(g, "reason", "")));
    }
}

static void print_rules(const struct json *record)
{
    const struct json *rules = json_get(record, "rules");
    for (size_t i = 0; i < json_len(rules); i++) {
        const struct json *r = json_at(rules, i);
        printf("        rule %s on %s: %s; %s\n", text(r, "rule"), text(r, "slice"),
               text(r, "verdict"), json_get_str(r, "reason", ""));
    }
}

static void print_steps(const struct json *steps)
{
    for (size_t i = 0; i < json_len(steps); i++) {
        const struct json *s = json_at(steps, i);
        char t[20];
        printf("%3zu. %s  %-12s %s\n", i + 1, short_time(s, "time", t), text(s, "topic"),
               json_get_str(s, "says", ""));
        printf("        event %s%s\n", text(s, "id"),
               json_get_str(s, "cause", NULL) ? ", caused by the next" : ", the first event");
        print_rules(json_get(s, "record"));
        print_violations(stdout, json_get(s, "record"));
    }
}

static void print_effects(const struct json *list)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *s = json_at(list, i);
        char t[20];
        printf("     %s  %-12s %s\n", short_time(s, "time", t), text(s, "topic"),
               json_get_str(s, "says", ""));
    }
}

void print_explanation(const struct json *j)
{
    printf("%s %s", text(j, "what"), text(j, "id"));
    if (json_get(j, "generation"))
        printf(": answered by generation %lld of %s", (long long)json_get_int(j, "generation", 0),
               text(j, "line"));
    printf("\n");
    print_steps(json_get(j, "steps"));
    if (json_get(j, "model_came_from")) {
        printf("the model itself came from:\n");
        print_steps(json_get(j, "model_came_from"));
    }
    if (json_len(json_get(j, "led_to"))) {
        printf("what followed:\n");
        print_effects(json_get(j, "led_to"));
    }
}

void print_dead_letters(const struct json *list)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *d = json_at(list, i);
        char t[20];
        printf("%s  %s  %-9s %s [%lld] offset %lld, by %s: %s\n", short_time(d, "time", t),
               text(d, "id"), text(d, "state"), text(d, "topic"),
               (long long)json_get_int(d, "partition", 0), (long long)json_get_int(d, "offset", 0),
               text(d, "agent"), json_get_str(d, "reason", ""));
    }
    if (!json_len(list))
        printf("no dead letters\n");
}

void print_dead_letter(const struct json *letter)
{
    const struct json *r = json_get(letter, "record"), *headers = json_get(letter, "headers"), *v;
    const struct json *notes = json_get(letter, "sent_back"),
                      *decoded = json_get(letter, "decoded");
    const char *name;
    char t[20];
    printf("dead letter %s of %s, %s\n", text(letter, "id"), short_time(letter, "time", t),
           text(letter, "state"));
    printf("  was at      %s [%lld] offset %lld\n  event       %s\n  key         %s\n"
           "  refused by  %s (%s): %s\n",
           text(r, "topic"), (long long)json_get_int(r, "partition", 0),
           (long long)json_get_int(r, "offset", 0), text(letter, "event"), text(letter, "key_text"),
           text(r, "agent"), text(r, "code"), text(r, "reason"));
    for (void *it = json_next(headers, NULL, &name, &v); it; it = json_next(headers, it, &name, &v))
        printf("  header      %s: %s\n", name, json_str(v, ""));
    for (size_t i = 0; i < json_len(notes); i++)
        printf("  sent back   %s, %s\n", short_time(json_at(notes, i), "time", t),
               text(json_get(json_at(notes, i), "record"), "reason"));
    printf("  bytes       %s\n", text(letter, "value_hex"));
    if (json_get(letter, "unreadable"))
        printf("  unreadable  %s\n", text(letter, "unreadable"));
    if (decoded)
        cli_print_json(decoded);
}

void print_event_text(const char *line, bool is_json)
{
    struct err err = {0};
    char t[20];
    if (is_json) {
        puts(line);
        fflush(stdout);
        return;
    }
    CLEANUP(json_freep) struct json *j = json_parse(slice_str(line), "event", &err);
    const struct json *r = json_get(j, "record");
    if (!j)
        return;
    printf("%s  %-12s %-24s %-12s %s\n", short_time(j, "time", t), text(j, "topic"), text(j, "key"),
           verb_of(j),
           json_get_str(r, "reason", json_get_str(r, "summary", json_get_str(r, "phase", ""))));
    fflush(stdout);
}
