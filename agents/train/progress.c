#include "agents/train/progress.h"

#include <ctype.h>
#include <math.h>

#include "common/json.h"

void progress_print(const struct progress *p)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct json *j = json_object();

    json_set_str(j, "phase", p->phase);
    json_set_int(j, "trial", p->trial);
    json_set_int(j, "trials", p->trials);
    json_set_int(j, "round", p->round);
    json_set_int(j, "rounds", p->rounds);
    if (p->metric[0]) {
        json_set_str(j, "metric", p->metric);
        json_set_num(j, "value", p->value);
    }
    json_write(j, 0, false, &text);
    json_free(j);
    buf_add_char(&text, '\n');
    fwrite(text.data, 1, text.len, stdout);
    fflush(stdout);
}

bool progress_parse(const char *line, struct progress *ret)
{
    struct json *j = line[0] == '{' ? json_parse(slice_str(line), "progress", NULL) : NULL;
    struct progress p = {.value = NAN};
    bool is_progress = json_get_str(j, "phase", NULL) != NULL;

    if (is_progress) {
        str_copy(p.phase, sizeof(p.phase), json_get_str(j, "phase", ""));
        str_copy(p.metric, sizeof(p.metric), json_get_str(j, "metric", ""));
        p.trial = json_get_int(j, "trial", 0);
        p.trials = json_get_int(j, "trials", 0);
        p.round = json_get_int(j, "round", 0);
        p.rounds = json_get_int(j, "rounds", 0);
        p.value = json_get_num(j, "value", NAN);
        *ret = p;
    }
    json_free(j);
    return is_progress;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.' || c == '@';
}

/* "name:0.5" or "name=0.5" at `at`; *end after it. */
static bool take_pair(const char *at, const char **end, struct progress *ret)
{
    const char *name = at;
    char number[32], *stop;
    double v;

    while (is_name_char(*at))
        at++;
    if (at == name || (*at != ':' && *at != '=') || (size_t)(at - name) >= sizeof(ret->metric))
        return false;
    snprintf(number, sizeof(number), "%.31s", at + 1);
    v = strtod(number, &stop);
    if (stop == number || !isfinite(v))
        return false;
    snprintf(ret->metric, sizeof(ret->metric), "%.*s", (int)(at - name), name);
    ret->value = v;
    *end = at + 1 + (stop - number);
    return true;
}

bool progress_scrape(const char *line, struct progress *ret)
{
    struct progress p = *ret;
    bool is_found = false;
    char *stop;

    if (line[0] == '[' && isdigit((unsigned char)line[1])) {
        int64_t round = strtoll(line + 1, &stop, 10);

        if (*stop != ']' || round == INT64_MAX)
            return false;
        p.round = round + 1; /* XGBoost counts from 0 */
        is_found = true;
        line = stop + 1;
    }
    while (*line) {
        const char *end;

        if (str_has_prefix(line, "#011"))
            line += 4;
        else if (take_pair(line, &end,
                           &p)) { /* the last one stands: XGBoost prints the valid rows last */
            is_found = true;
            line = end;
        } else {
            while (is_name_char(*line) && !str_has_prefix(line, "#011"))
                line++;
            if (*line)
                line++;
        }
    }
    if (is_found)
        *ret = p;
    return is_found;
}
