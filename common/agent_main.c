/* main() of every agent, and the small questions that its code may ask the runtime. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/agent_internal.h"
#include "common/log.h"
#include "common/mem.h"

void *agent_self(struct agent *a)
{
    return a->self;
}

struct loop *agent_loop(struct agent *a)
{
    return a->loop;
}

const struct conf *agent_conf(struct agent *a)
{
    return a->conf;
}

const struct clk *agent_clk(struct agent *a)
{
    return a->clk;
}

int64_t agent_now_ms(struct agent *a)
{
    return clk_unix_ms(a->clk);
}

const struct artifacts *agent_artifacts(struct agent *a)
{
    return &a->artifacts;
}

const char *agent_instance(struct agent *a)
{
    return a->instance;
}

const char *agent_url(struct agent *a)
{
    return a->url;
}

const char *agent_cluster(struct agent *a)
{
    return a->cluster;
}

const char *agent_state_dir(struct agent *a)
{
    return a->state_dir;
}

const char *agent_prefix(struct agent *a)
{
    return a->prefix;
}

struct codec *agent_codec(struct agent *a)
{
    return a->codec;
}

bool agent_is_stopping(const struct agent *a)
{
    return a->is_stopping;
}

bool agent_is_ready(const struct agent *a)
{
    return a->is_ready;
}

static void on_stopped(void *ctx)
{
    struct agent *a = ctx;
    loop_stop(a->loop);
}

static void on_signal(void *ctx)
{
    agent_stop(ctx, on_stopped, ctx);
}

/* --help, --print-config, --docs; true when there is nothing more to do. */
static bool print_if_asked(const struct agent_spec *spec, int argc, char **argv, int *ret_code)
{
    const struct conf_option *tables[] = {agent_options, spec->options, NULL};
    struct conf *conf = NULL;
    struct err err = {0};
    CLEANUP_FREE char *program = xasprintf("relearn-%s", spec->name);
    CLEANUP(buf_fini) struct buf out = {0};
    if (conf_parse(tables, argc, argv, &conf, &err)) {
        fprintf(stderr, "%s: %s\n", program, err.msg);
        *ret_code = 2;
        return true;
    }
    bool asked = conf_print_if_asked(conf, program, spec->purpose, spec->example, &out);
    if (asked)
        fwrite(out.data, 1, out.len, stdout);
    conf_free(conf);
    *ret_code = 0;
    return asked;
}

int agent_main(const struct agent_spec *spec, int argc, char **argv)
{
    int code = 1;
    if (print_if_asked(spec, argc, argv, &code))
        return code;
    enum { POOL_THREADS = 8 }; /* slow servers must not keep all threads of the pool */
    char threads[12];
    snprintf(threads, sizeof(threads), "%d", POOL_THREADS);
    setenv("UV_THREADPOOL_SIZE", threads, 0);
    signal(SIGPIPE, SIG_IGN);
    struct err err = {0};
    struct loop *l = NULL;
    struct agent *a = NULL;
    if (loop_new(&l, &err) || agent_new(spec, l, argc, argv, &a, &err) || agent_start(a, &err)) {
        fprintf(stderr, "relearn-%s: %s\n", spec->name, err.msg);
        _Exit(1);
    }
    loop_on_stop_signal(l, on_signal, a);
    loop_run(l);
    code = agent_exit_code(a);
    if (code) /* what is held is the operating system's to free: be gone */
        _Exit(code);
    agent_free(a);
    loop_free(l);
    return code;
}
