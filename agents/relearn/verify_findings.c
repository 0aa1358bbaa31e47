/* What the checks found: counted always, listed up to a cap, told as a table or as JSON. */
#include <stdarg.h>
#include <stdio.h>

#include "agents/relearn/verify.h"

struct check_text {
    const char *name, *claim;
};
static const struct check_text CHECKS[VERIFY_CHECK_COUNT] = {
    [VERIFY_READ] = {"readable", "every event can be read, or is a dead letter"},
    [VERIFY_IDS] = {"ids", "no id stands for two different things"},
    [VERIFY_PLACES] = {"places", "every event lies on the partition of its key"},
    [VERIFY_CAUSES] = {"causes", "causes are there, and come before their effects"},
    [VERIFY_OUTCOMES] = {"outcomes", "every dataset has one outcome for each line that uses it"},
    [VERIFY_TRIGGERS] = {"triggers", "every trigger is answered by one plan"},
    [VERIFY_RUNS] = {"runs", "every run has one result and one end"},
    [VERIFY_EVALUATIONS] = {"evaluations", "every candidate is evaluated once each time it is due"},
    [VERIFY_DECISIONS] = {"decisions",
                          "every evaluation has one decision, and that is carried out once"},
    [VERIFY_COMMANDS] = {"commands", "every command is answered once"},
    [VERIFY_BASES] = {"bases", "each base has one winner, and nothing follows from the others"},
    [VERIFY_GENERATIONS] = {"generations", "generations rise without gap or repeat"},
    [VERIFY_PROMOTIONS] = {"promotions",
                           "every promotion leads back to its decision, evaluation, run and data"},
    [VERIFY_SERVING] = {"serving", "what instances serve and answer is what the log says"},
    [VERIFY_ARTEFACTS] = {"artefacts", "every artefact that is named is there with its bytes"},
    [VERIFY_UNNAMED] = {"unnamed", "nothing in the store that nobody names is older than a day"},
    [VERIFY_DEAD_LETTERS] = {"deadletters", "every dead letter has a reason"},
};

void findings_add(struct findings *f, const struct finding_of *of, const char *fmt, ...)
{
    char text[1024]; /* a sentence with a few ids */
    va_list args;

    if (f->violations[of->check]++ >= FINDINGS_LISTED_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    f->items = xgrow(f->items, &f->cap, f->n + 1, sizeof(*f->items));
    f->items[f->n++] = (struct finding){.check = of->check,
                                        .at = of->at,
                                        .id = xstrdup(of->id),
                                        .line = xstrdup(of->line),
                                        .what = xstrdup(text),
                                        .todo = xstrdup(of->todo)};
}

int64_t findings_violations(const struct findings *f)
{
    int64_t sum = 0;

    for (int c = 0; c < VERIFY_CHECK_COUNT; c++)
        sum += f->violations[c];
    return sum;
}

void findings_fini(struct findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free_ptr(&f->items[i].id);
        free_ptr(&f->items[i].line);
        free_ptr(&f->items[i].what);
        free_ptr(&f->items[i].todo);
    }
    free_ptr(&f->items);
    *f = (struct findings){0};
}

static struct json *finding_to_json(const struct finding *x)
{
    struct json *o = json_object();

    json_set_str(o, "check", CHECKS[x->check].name);
    if (x->at.record != RECORD_NONE) {
        json_set_str(o, "topic", record_topic(x->at.record));
        json_set_int(o, "partition", x->at.partition);
        json_set_int(o, "offset", x->at.offset);
    }
    json_set_str(o, "id", x->id);
    json_set_str(o, "line", x->line);
    json_set_str(o, "what", x->what);
    json_set_str(o, "todo", x->todo);
    return o;
}

struct json *findings_to_json(const struct findings *f)
{
    struct json *root = json_object(), *checks, *list;

    json_set_bool(root, "holds", findings_violations(f) == 0);
    checks = json_set(root, "checks", json_array());
    for (int c = 0; c < VERIFY_CHECK_COUNT; c++) {
        struct json *o = json_add(checks, json_object());

        json_set_str(o, "check", CHECKS[c].name);
        json_set_str(o, "claim", CHECKS[c].claim);
        json_set_int(o, "looked_at", f->looked[c]);
        json_set_int(o, "open", f->open[c]);
        json_set_int(o, "violations", f->violations[c]);
    }
    list = json_set(root, "violations", json_array());
    for (size_t i = 0; i < f->n; i++)
        json_add(list, finding_to_json(&f->items[i]));
    json_set_int(root, "repeated", f->repeated);
    json_set_int(root, "void", f->voided);
    return root;
}

static void print_finding(const struct finding *x, struct buf *out)
{
    buf_addf(out, "%s: ", CHECKS[x->check].name);
    if (x->at.record != RECORD_NONE)
        buf_addf(out, "%s[%d]@%lld ", record_topic(x->at.record), x->at.partition,
                 (long long)x->at.offset);
    if (x->id)
        buf_addf(out, "%s ", x->id);
    if (x->line)
        buf_addf(out, "(%s) ", x->line);
    buf_addf(out, "%s; %s\n", x->what, x->todo);
}

void findings_print(const struct findings *f, struct buf *out)
{
    buf_addf(out, "%-12s %12s %8s %11s  %s\n", "CHECK", "LOOKED AT", "OPEN", "VIOLATIONS",
             "WHAT HOLDS");
    for (int c = 0; c < VERIFY_CHECK_COUNT; c++)
        buf_addf(out, "%-12s %12lld %8lld %11lld  %s%s\n", CHECKS[c].name, (long long)f->looked[c],
                 (long long)f->open[c], (long long)f->violations[c],
                 f->violations[c] ? "REFUTED: " : "", CHECKS[c].claim);
    if (f->n)
        buf_addf(out, "\n");
    for (size_t i = 0; i < f->n; i++)
        print_finding(&f->items[i], out);
    for (int c = 0; c < VERIFY_CHECK_COUNT; c++)
        if (f->violations[c] > FINDINGS_LISTED_MAX)
            buf_addf(out, "%s: %lld more like these\n", CHECKS[c].name,
                     (long long)f->violations[c] - FINDINGS_LISTED_MAX);
}
