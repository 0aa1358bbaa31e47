/* Options, the user's data, the pipeline that is declared when none is given, and the installation.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ctype.h>

#include "agents/relearn/replay_internal.h"
#include "common/clk.h"
#include "common/digest.h"

enum {
    FEW_VALUES = 20,  /* numbers: with more of them the label is a quantity */
    MAX_CLASSES = 50, /* text: with more of them it is hardly a class */
};

const struct conf_option replay_options[] = {
    {.name = "label", .letter = 'l', .meta = "COLUMN", .help = "the column to predict"},
    {.name = "batch",
     .type = CONF_INT,
     .fallback = "1000",
     .meta = "ROWS",
     .help = "rows that are published at a time",
     .min = 10,
     .max = 10000000},
    {.name = "pipeline",
     .letter = 'p',
     .meta = "FILE",
     .help = "pipeline to declare; default: one made for the data"},
    {.name = "segment", .meta = "COLUMN", .help = "segment column of the pipeline that is made"},
    {.name = "bus",
     .meta = "BROKERS",
     .help = "Kafka to run on; default: that of the installation in --data, else the embedded bus"},
    {.name = "data",
     .letter = 'd',
     .meta = "DIR",
     .help = "folder of the installation to use; default: a new one that is removed at the end"},
    {.name = "prefix",
     .fallback = "relearn.",
     .meta = "TEXT",
     .help = "in front of every topic's name"},
    {.name = "registry", .meta = "URL", .help = "schema registry for a new installation"},
    {.name = "keep",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "keep the installation and its folder when it was started for this replay"},
    {.name = "rest-timeout",
     .type = CONF_DURATION,
     .fallback = "120s",
     .meta = "TIME",
     .help = "how long the loop may take to come to rest after a batch",
     .min = 1000,
     .max = 86400000},
    {.name = "json",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "one JSON object on standard output; progress goes to standard error"},
    {0},
};

/* ---- the pipeline ---- */

struct label_facts {
    bool is_numeric;
    size_t distinct;
    const char *values[MAX_CLASSES + 1];
    double stddev;
};

static void look_at_labels(const struct replay *r, struct label_facts *f)
{
    double sum = 0, square = 0, n = 0;
    *f = (struct label_facts){.is_numeric = true};
    for (size_t i = 0; i < r->table.rows; i++) {
        const char *cell = table_cell(&r->table, i, r->label);
        double v;
        if (table_is_missing(cell))
            continue;
        if (str_to_double(cell, &v))
            f->is_numeric = false;
        else {
            sum += v;
            square += v * v;
            n++;
        }
        size_t k = 0;
        while (k < f->distinct && strcmp(f->values[k], cell) != 0)
            k++;
        if (k == f->distinct && f->distinct < ARRAY_LEN(f->values))
            f->values[f->distinct++] = cell;
    }
    f->stddev = n > 1 ? sqrt(fmax(0, square / n - (sum / n) * (sum / n))) : 1;
}

static char *name_of_file(const char *path)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    char name[40] = "";
    size_t n = 0;
    for (; base[n] && base[n] != '.' && n < 32; n++)
        name[n] = (char)(isalnum((unsigned char)base[n]) ? tolower((unsigned char)base[n]) : '-');
    char id[ID_SIZE];
    id_random(id);
    return xasprintf("%s%s-%.6s", isalnum((unsigned char)name[0]) ? "" : "data", name, id);
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A YAML text in double quotes. */
static void add_quoted(struct buf *b, const char *text)
{
    buf_add_char(b, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_add_char(b, '\\');
        if ((unsigned char)*text < 0x20)
            buf_addf(b, "\\x%02x", (unsigned)*text);
        else
            buf_add_char(b, *text);
    }
    buf_add_char(b, '"');
}

static void write_dataset(const struct replay *r, const char *segment, struct buf *b)
{
    buf_addf(b, "apiVersion: relearn/v1\nkind: Pipeline\nname: %s\n", r->name);
    buf_addf(b, "dataset: {name: %s, label: ", r->name);
    add_quoted(b, r->table.names[r->label]);
    if (segment) {
        buf_add_str(b, ", segment: ");
        add_quoted(b, segment);
    }
    buf_add_str(b, "}\n");
}

static void write_classes(struct label_facts *f, struct buf *b)
{
    qsort(f->values, f->distinct, sizeof(f->values[0]), compare_text);
    buf_add_str(b, "classes: [");
    for (size_t i = 0; i < f->distinct; i++) {
        buf_add_str(b, i ? ", " : "");
        add_quoted(b, f->values[i]);
    }
    buf_add_str(b, "]\n");
}

/* The default pipeline: found by experiment on a public stream with natural drift; see the README.
 */
static int write_pipeline(struct replay *r, const char *segment, struct buf *b, struct err *err)
{
    struct label_facts f;
    look_at_labels(r, &f);
    if (!f.is_numeric && f.distinct > MAX_CLASSES)
        return err_inval(err, "%s has more than %d values and some are no numbers: it is no label",
                         r->table.names[r->label], MAX_CLASSES);
    if (segment && table_column(&r->table, segment) < 0)
        return err_inval(err, "there is no column %s to segment by", segment);
    enum task task = f.distinct <= 2                           ? TASK_BINARY
                     : f.is_numeric && f.distinct > FEW_VALUES ? TASK_REGRESSION
                                                               : TASK_MULTICLASS;
    bool is_regression = task == TASK_REGRESSION;
    const int64_t min_rows = (int64_t)r->batch / 20 > 10 ? (int64_t)r->batch / 20 : 10;
    write_dataset(r, segment, b);
    buf_addf(b, "task: %s\n", task_str(task));
    if (task == TASK_MULTICLASS)
        write_classes(&f, b);
    buf_add_str(b, "split: {by: order, valid: 0, test: 0.1}\n"
                   "train:\n  trainer: xgboost\n  window: {snapshots: 8}\n"
                   "  params: {max_depth: 4, eta: 0.1, rounds: 50}\n"
                   "plan:\n  on: [dataset, drift]\n  quiet: 0s\n"
                   "  cooldown: {after_promotion: 0s, after_rejection: 0s, after_failure: 0s}\n"
                   "  budget: {runs_per_day: 10000}\n");
    buf_addf(b, "evaluate: {metrics: [%s]}\n", is_regression ? "rmse, mae" : "logloss, accuracy");
    buf_addf(b,
             "gate:\n  min_rows: %lld\n  rules:\n"
             "    - {metric: %s, no_worse_than: champion, by: %.6g}\n",
             (long long)min_rows, is_regression ? "rmse" : "logloss",
             is_regression ? 0.02 * f.stddev : 0.02);
    buf_addf(b,
             "deploy: {strategy: replace}\nmonitor:\n  window: {predictions: %zu}\n"
             "  drift: {metric: psi, threshold: 0.2, consecutive: 2}\n",
             r->batch);
    return 0;
}

static int take_pipeline(struct replay *r, struct err *err)
{
    const char *file = conf_str(r->conf, "pipeline");
    CLEANUP(buf_fini) struct buf yaml = {0};
    if (file) {
        if (fsx_read_file(file, PIPELINE_MAX_BYTES, &yaml, err))
            return -1;
    } else {
        const char *const *args;
        conf_args(r->conf, &args);
        r->name = name_of_file(args[0]);
        if (write_pipeline(r, conf_str(r->conf, "segment"), &yaml, err))
            return -1;
    }
    if (pipeline_parse(buf_slice(&yaml), file ? file : "the pipeline made for the data",
                       &r->pipeline, err))
        return -1;
    if (strcmp(r->pipeline->label, r->table.names[r->label]) != 0)
        return err_inval(err, "the pipeline's label is %s, --label says %s", r->pipeline->label,
                         r->table.names[r->label]);
    free_ptr(&r->name);
    r->name = xstrdup(r->pipeline->name);
    r->dataset = xstrdup(r->pipeline->dataset);
    r->yaml = xstrdup(yaml.data);
    return 0;
}

/* Text columns: declared as categories, dates or segment, or with a value that is no number. */
static void find_text_columns(struct replay *r)
{
    r->is_text = xcalloc(r->table.n_columns, sizeof(*r->is_text));
    for (size_t c = 0; c < r->table.n_columns; c++) {
        double v;
        for (size_t i = 0; i < r->table.rows && !r->is_text[c]; i++) {
            const char *cell = table_cell(&r->table, i, c);
            r->is_text[c] = !table_is_missing(cell) && str_to_double(cell, &v);
        }
        for (size_t k = 0; k < r->pipeline->n_columns; k++)
            if (strcmp(r->pipeline->columns[k].name, r->table.names[c]) == 0 &&
                r->pipeline->columns[k].type == COLUMN_CATEGORY)
                r->is_text[c] = true;
        if (r->pipeline->segment && strcmp(r->pipeline->segment, r->table.names[c]) == 0)
            r->is_text[c] = true;
    }
}

int replay_setup(struct replay *r, int argc, char **argv, struct err *err)
{
    const struct conf_option *tables[] = {replay_options, NULL};
    const char *const *args;
    r->is_usage_wrong = true;
    if (conf_parse(tables, argc, argv, &r->conf, err))
        return -1;
    if (conf_args(r->conf, &args) != 1)
        return err_inval(err, "give one CSV file: relearn replay FILE.csv --label COLUMN");
    if (!conf_str(r->conf, "label"))
        return err_inval(err, "--label is missing: the column to predict");
    r->is_usage_wrong = false;
    r->is_json = conf_bool(r->conf, "json");
    r->batch = (size_t)conf_int(r->conf, "batch");
    if (table_open(args[0], &r->table, err))
        return -1;
    int label = table_column(&r->table, conf_str(r->conf, "label"));
    if (label < 0)
        return err_inval(err, "%s has no column %s", args[0], conf_str(r->conf, "label"));
    if (!r->table.rows)
        return err_inval(err, "%s has a header and no rows", args[0]);
    r->label = (size_t)label;
    if (take_pipeline(r, err))
        return -1;
    find_text_columns(r);
    r->segment = r->pipeline->segment ? table_column(&r->table, r->pipeline->segment) : -1;
    r->source = (struct row_source){.table = &r->table,
                                    .label = r->label,
                                    .is_text = r->is_text,
                                    .model = r->name,
                                    .task = r->pipeline->task};
    r->naive = naive_new(r->pipeline->task);
    r->by_batch = xcalloc(r->table.rows / r->batch + 2, sizeof(*r->by_batch));
    r->answers = xcalloc(r->batch, sizeof(*r->answers));
    r->answer_rows = xcalloc(r->batch, sizeof(*r->answer_rows));
    return 0;
}

/* ---- the installation ---- */

static int start_own(struct replay *r, struct err *err)
{
    struct installation_options o = {.brokers = conf_str(r->conf, "bus"),
                                     .prefix = conf_str(r->conf, "prefix"),
                                     .registry = conf_str(r->conf, "registry"),
                                     .ends_with_us = !conf_bool(r->conf, "keep")};
    o.n_x = conf_x(r->conf, &o.x);
    const char *data = conf_str(r->conf, "data");
    if (!data) {
        r->own_data = fsx_tmpdir("relearn-replay", err);
        if (!r->own_data)
            return -1;
    }
    o.data = data ? data : r->own_data;
    o.is_temporary = !data && o.ends_with_us;
    replay_say(r, "starting %s and every agent", o.brokers ? "on Kafka" : "the embedded bus");
    if (installation_start(&o, &r->in, err))
        return -1;
    r->is_own = true;
    return 0;
}

static int find_or_start(struct replay *r, struct err *err)
{
    const char *data = conf_str(r->conf, "data");
    struct err none = {0};
    if (data && !conf_str(r->conf, "bus") && installation_find(data, &r->in, &none) == 0) {
        replay_say(r, "using the installation in %s", data);
        return 0;
    }
    return start_own(r, err);
}

static int declare(struct replay *r, struct err *err)
{
    struct json *j = client_post(r->client, r->in.console_url, "/v1/pipelines", "application/yaml",
                                 slice_str(r->yaml), err);
    json_free(j);
    return j ? 0 : -1;
}

int replay_begin(struct replay *r, struct err *err)
{
    r->client = http_client_new();
    if (find_or_start(r, err) || loop_new(&r->loop, err))
        return -1;
    const char *const *x;
    size_t n_x = conf_x(r->conf, &x);
    r->work_dir = fsx_join(r->in.data, "replay");
    if (fsx_mkdirs(r->work_dir, err))
        return -1;
    if (replay_log_open(r->loop, r->in.brokers, r->in.prefix, r->in.data, x, n_x, r->name, &r->log,
                        err))
        return -1;
    replay_log_on_event(r->log, replay_narrate, r);
    replay_say(r, "declaring pipeline %s (%s, label %s)", r->name, task_str(r->pipeline->task),
               r->pipeline->label);
    return declare(r, err);
}

void replay_fini(struct replay *r)
{
    struct err err = {0};
    bool keep = r->conf && conf_bool(r->conf, "keep");
    replay_log_close(r->log);
    if (r->is_own && !keep && installation_stop(&r->in, &err))
        replay_say(r, "the installation did not stop: %s", err.msg);
    if (r->own_data && !keep && fsx_remove_tree(r->own_data, &err))
        replay_say(r, "%s could not be removed: %s", r->own_data, err.msg);
    if (r->is_own && keep)
        replay_say(r, "kept: relearn status --data %s", r->in.data);
    if (r->loop)
        loop_free(r->loop);
    installation_fini(&r->in);
    http_client_free(r->client);
    naive_free(r->naive);
    pipeline_free(r->pipeline);
    table_close(&r->table);
    conf_free(r->conf);
    free_ptr(&r->is_text);
    free_ptr(&r->yaml);
    free_ptr(&r->name);
    free_ptr(&r->dataset);
    free_ptr(&r->work_dir);
    free_ptr(&r->own_data);
    free_ptr(&r->served);
    free_ptr(&r->answers);
    free_ptr(&r->answer_rows);
    free_ptr(&r->by_batch);
    *r = (struct replay){0};
}
