#include "agents/relearn/site.h"

#include <stdlib.h>
#include <string.h>

#include "common/fsx.h"
#include "common/mem.h"

static char *said(const struct conf *conf, const char *option, const char *otherwise)
{
    const char *given = conf_str(conf, option);
    const char *value = given && given[0] ? given : otherwise;
    return value ? xstrdup(value) : NULL;
}

void site_fini(struct site *s)
{
    if (s->is_running)
        installation_fini(&s->in);
    free(s->brokers);
    free(s->prefix);
    free(s->registry);
    free(s->artifacts);
    *s = (struct site){0};
}

int site_find(const struct conf *conf, struct site *ret, struct err *err)
{
    struct site s = {0};
    const char *data = conf_str(conf, "data");
    CLEANUP_FREE char *beside = fsx_join(data, "artifacts");
    s.is_running = installation_find(data, &s.in, err) == 0;
    s.brokers = said(conf, "brokers", s.in.brokers);
    s.prefix = said(conf, "prefix", s.in.prefix ? s.in.prefix : "relearn.");
    s.registry = said(conf, "registry", s.in.registry);
    s.artifacts = said(conf, "artifacts", s.in.artifacts ? s.in.artifacts : beside);
    s.registry_token = conf_str(conf, "registry-token");
    s.n_x = conf_x(conf, &s.x);
    if (!s.brokers || !s.brokers[0]) {
        site_fini(&s);
        return err_wrap(err, "no --brokers are given");
    }
    *err = (struct err){0};
    *ret = s;
    return 0;
}
