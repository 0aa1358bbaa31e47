/* relearn watch [LINE]: the console's stream of events, one line each. */
#include <stdint.h>
#include <string.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/cmd_print.h"
#include "common/mem.h"

struct watching {
    struct buf rest; /* of an event that is not whole yet */
    bool is_json;
};

static int on_bytes(void *ctx, const void *p, size_t n, struct err *err)
{
    struct watching *w = ctx;
    (void)err;
    buf_add(&w->rest, p, n);
    for (char *end; w->rest.len && (end = strstr(w->rest.data, "\n\n"));) {
        *end = '\0';
        char *data = strstr(w->rest.data, "data: ");
        if (data)
            print_event_text(data + strlen("data: "), w->is_json);
        size_t used = (size_t)(end - w->rest.data) + 2;
        memmove(w->rest.data, w->rest.data + used, w->rest.len - used + 1);
        w->rest.len -= used;
    }
    return 0;
}

int cmd_watch(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    enum { FOR_EVER_MS = INT32_MAX };
    CLEANUP(buf_fini) struct buf url = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    buf_addf(&url, "%s/v1/watch", console);
    if (n_args) {
        buf_add_str(&url, "?line=");
        http_escape(args[0], &url);
    }
    struct watching w = {.is_json = conf_bool(conf, "json")};
    struct http_request rq = {
        .url = url.data, .timeout_ms = -1, .stall_ms = FOR_EVER_MS, .sink = on_bytes, .ctx = &w};
    CLEANUP(http_response_fini) struct http_response rs = {0};
    int rc = http_call(&rq, &rs, err);
    buf_fini(&w.rest);
    if (!rc && rs.status / 100 != 2)
        rc = err_set(err, ERR_HTTP, NEXT_REJECT, "the console answered %d", rs.status);
    return rc ? cli_exit_code(err) : EXIT_DONE;
}
