/* What was tried, beside each other and over time: compare, card, trend. */
#include <stdio.h>
#include <string.h>

#include "agents/relearn/card.h"
#include "agents/relearn/cli.h"
#include "agents/relearn/compare.h"
#include "agents/relearn/trend.h"
#include "common/fsx.h"
#include "common/mem.h"

static const struct conf_option COMPARE_OPTIONS[] = {
    {.name = "all",
     .letter = 'a',
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "what is equal as well"},
    {.name = "html", .meta = "FILE", .help = "write one page with tables and drawings"},
    {0},
};
static const struct conf_option TREND_OPTIONS[] = {
    {.name = "svg", .meta = "FILE", .help = "write the drawing"},
    {0},
};

static void print_buf(const struct buf *text)
{
    fwrite(text->data ? text->data : "", 1, text->len, stdout);
}

static int write_buf(const char *path, const struct buf *text, struct err *err)
{
    if (text->overflow)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "%s: would be larger than 256 MiB", path);
    return fsx_write_file(path, text->data ? text->data : "", text->len, err);
}

static struct json *facts_of(const char *console, const char *id, struct err *err)
{
    CLEANUP(buf_fini) struct buf path = {0};
    buf_add_str(&path, "/v1/runs/");
    http_escape(id, &path);
    return cli_get(console, path.data, err);
}

/* ---- compare ---- */

struct compared {
    struct json *facts[COMPARE_MAX_RUNS], *distances[COMPARE_MAX_RUNS];
    size_t n;
};

static void free_compared(struct compared *c)
{
    for (size_t i = 0; i < c->n; i++) {
        json_free(c->facts[i]);
        json_free(c->distances[i]);
    }
}

/* Data that is gone from log or store has no distance: that is unknown, no error. */
static struct json *distance_of(const char *console, const struct json *a, const struct json *b)
{
    struct err ignored = {0};
    CLEANUP(buf_fini) struct buf path = {0};
    buf_add_str(&path, "/v1/distance?from=");
    http_escape(json_get_str(a, "run", ""), &path);
    buf_add_str(&path, "&to=");
    http_escape(json_get_str(b, "run", ""), &path);
    return cli_get(console, path.data, &ignored);
}

static int ask_all(const char *console, const char *const *ids, size_t n, struct compared *c,
                   struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        c->facts[i] = facts_of(console, ids[i], err);
        if (!c->facts[i])
            return cli_exit_code(err);
        c->n = i + 1;
        if (i)
            c->distances[i] = distance_of(console, c->facts[0], c->facts[i]);
    }
    return EXIT_DONE;
}

static int compare(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    struct compared c = {0};
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *document = NULL;
    bool all = conf_bool(conf, "all");
    int code = ask_all(console, args, n_args, &c, err);
    if (code == EXIT_DONE)
        document = compare_document((const struct json *const *)c.facts,
                                    (const struct json *const *)c.distances, c.n);
    free_compared(&c);
    if (!document)
        return code;
    if (conf_str(conf, "html")) {
        compare_html(document, all, &text);
        if (write_buf(conf_str(conf, "html"), &text, err))
            return EXIT_REFUSED;
        buf_reset(&text);
    }
    if (conf_bool(conf, "json")) {
        cli_print_json(document);
        return EXIT_DONE;
    }
    compare_print(document, all, &text);
    print_buf(&text);
    return EXIT_DONE;
}

/* ---- card ---- */

static int card(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    CLEANUP(json_freep) struct json *facts = facts_of(console, args[0], err), *c = NULL;
    if (!facts)
        return cli_exit_code(err);
    c = card_document(facts);
    if (conf_bool(conf, "json")) {
        cli_print_json(c);
        return EXIT_DONE;
    }
    CLEANUP(buf_fini) struct buf text = {0};
    card_markdown(c, &text);
    print_buf(&text);
    return EXIT_DONE;
}

/* ---- trend ---- */

static int trend(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(buf_fini) struct buf path = {0}, text = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    buf_add_str(&path, "/v1/trend?line=");
    http_escape(args[0], &path);
    buf_add_str(&path, "&metric=");
    http_escape(args[1], &path);
    CLEANUP(json_freep) struct json *j = cli_get(console, path.data, err);
    if (!j)
        return cli_exit_code(err);
    if (conf_str(conf, "svg")) {
        trend_svg(j, &text);
        if (write_buf(conf_str(conf, "svg"), &text, err))
            return EXIT_REFUSED;
        buf_reset(&text);
    }
    if (conf_bool(conf, "json")) {
        cli_print_json(j);
        return EXIT_DONE;
    }
    struct trend_screen screen = trend_screen();
    trend_draw(j, &screen, &text);
    print_buf(&text);
    return EXIT_DONE;
}

const struct cli_command track_commands[] = {
    {.name = "compare",
     .usage = "compare RUN RUN ...",
     .purpose = "what differs between runs or models: parameters, data, metrics, cost",
     .example = "relearn compare 5f3c9a0d 71be02aa --html compared.html",
     .options = COMPARE_OPTIONS,
     .min_args = 2,
     .max_args = COMPARE_MAX_RUNS,
     .run = compare},
    {.name = "card",
     .usage = "card MODEL",
     .purpose = "a model card in Markdown, of facts alone; MODEL may also be a run",
     .example = "relearn card 5f3c9a0d > CARD.md",
     .min_args = 1,
     .max_args = 1,
     .run = card},
    {.name = "trend",
     .usage = "trend LINE METRIC",
     .purpose = "a metric over time, with promotions, rollbacks, drift and data on the same axis",
     .example = "relearn trend electricity auc --svg auc.svg",
     .options = TREND_OPTIONS,
     .min_args = 2,
     .max_args = 2,
     .run = trend},
    {0},
};
