#include "agents/relearn/scale.h"

#include <string.h>

#include "common/mem.h"

const char *const scale_agents[SCALE_AGENTS] = {"ingest", "plan",  "train",   "evaluate", "gate",
                                                "deploy", "serve", "monitor", "console"};

void scale_init(struct scale *s)
{
    for (int i = 0; i < SCALE_AGENTS; i++)
        s->n[i] = 1;
}

int scale_index(const char *agent)
{
    for (int i = 0; i < SCALE_AGENTS; i++)
        if (strcmp(scale_agents[i], agent) == 0)
            return i;
    return -1;
}

static int parse_one(struct scale *s, const char *text, struct err *err)
{
    CLEANUP_FREE char *agent = xstrdup(text);
    char *equals = strchr(agent, '=');
    int64_t n = 0;
    if (!equals)
        return err_inval(err, "'%.100s': give AGENT=N, for example train=2", text);
    *equals = '\0';
    int i = scale_index(agent);
    if (i < 0)
        return err_inval(err,
                         "there is no agent '%.100s': ingest, plan, train, evaluate, gate, "
                         "deploy, serve, monitor, console",
                         agent);
    if (str_to_i64(equals + 1, &n) || n < 1 || n > SCALE_MAX_INSTANCES)
        return err_inval(err, "%.100s: give 1 to %d instances", text, SCALE_MAX_INSTANCES);
    s->n[i] = (int)n;
    return 0;
}

int scale_parse(struct scale *s, const char *text, struct err *err)
{
    struct scale changed = *s;
    while (text && *text) {
        size_t n = strcspn(text, ",");
        CLEANUP_FREE char *one = xstrndup(text, n);
        if (parse_one(&changed, one, err))
            return -1;
        text += n + (text[n] == ',');
    }
    *s = changed;
    return 0;
}

void scale_write(const struct scale *s, struct buf *out)
{
    const char *comma = "";
    for (int i = 0; i < SCALE_AGENTS; i++) {
        if (s->n[i] == 1)
            continue;
        buf_addf(out, "%s%s=%d", comma, scale_agents[i], s->n[i]);
        comma = ",";
    }
}
