#include "tests/support/ingest_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Thousands of syncs are made here, and what a disk does is not what is tested. */
static void prefer_memory(void)
{
    static const char folder[] = "/dev/shm";
    struct statvfs st;

    if (!getenv("TMPDIR") && statvfs(folder, &st) == 0 && access(folder, W_OK) == 0 &&
        (uint64_t)st.f_bavail * st.f_frsize > (uint64_t)1 << 30)
        setenv("TMPDIR", folder, 1);
}

int ingest_world_setup(void **state)
{
    struct ingest_world *w = xcalloc(1, sizeof(*w));
    struct err err;

    prefer_memory();
    tmpdir_init(&w->dir);
    if (artifacts_open(tmpdir_join(&w->dir, "store"), &w->a, &err))
        fail_msg("%s", err.msg);
    w->dataset = (struct dataset_published){
        .dataset = "d", .version = "1", .size_bytes = ABSENT_I64, .rows = ABSENT_I64};
    w->request = (struct ingest_request){
        .dataset = &w->dataset,
        .dataset_event = "event-1",
        .earlier = w->lines,
        .artifacts = &w->a,
        .file_root = "/",
        .max_bytes = (uint64_t)1 << 30,
        .attempts = 2,
        .retry_ms = 2,
        .stall_ms = 20000,
        .timeout_ms = -1,
    };
    *state = w;
    ingest_world_pipeline(w, NULL);
    return 0;
}

int ingest_world_teardown(void **state)
{
    struct ingest_world *w = *state;

    ingest_result_fini(&w->result);
    for (size_t i = 0; i < w->request.n_earlier; i++) {
        free((void *)(uintptr_t)w->lines[i].segment);
        for (size_t k = 0; k < w->lines[i].n; k++)
            free((void *)(uintptr_t)w->snapshots[i][k]);
    }
    /* whatever was ingested or refused, nothing is left behind */
    assert_int_equal(tmpdir_count(&w->dir, "store/tmp"), 0);
    pipeline_free(w->p);
    artifacts_close(&w->a);
    tmpdir_fini(&w->dir);
    free(w);
    return 0;
}

void ingest_world_pipeline(struct ingest_world *w, const char *yaml)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct err err;

    buf_add_str(&text, "apiVersion: relearn/v1\nkind: Pipeline\nname: p\n");
    buf_add_str(&text, yaml ? yaml : "dataset: {name: d, label: y}\ntask: binary\n");
    pipeline_free(w->p);
    w->p = NULL;
    if (pipeline_parse(buf_slice(&text), "p.yaml", &w->p, &err))
        fail_msg("%s", err.msg);
    w->request.pipeline = w->p;
}

const struct dataset_ingested *ingest_uri(struct ingest_world *w, const char *uri)
{
    struct err err = {0};

    ingest_result_fini(&w->result);
    w->dataset.uri = uri;
    if (ingest_run(&w->request, &w->result, &err))
        fail_msg("%s", err.msg);
    assert_true(w->result.n > 0);
    return &w->result.items[0];
}

const struct dataset_ingested *ingest_bytes(struct ingest_world *w, const void *p, size_t n)
{
    char name[32];

    snprintf(name, sizeof(name), "data-%d", w->n_files++);
    return ingest_uri(w,
                      arena_printf(&w->dir.names, "file://%s", tmpdir_write(&w->dir, name, p, n)));
}

const struct dataset_ingested *ingest_csv(struct ingest_world *w, const char *text)
{
    return ingest_bytes(w, text, strlen(text));
}

static size_t line_of(struct ingest_world *w, const char *segment)
{
    for (size_t i = 0; i < w->request.n_earlier; i++)
        if (segment ? w->lines[i].segment && strcmp(w->lines[i].segment, segment) == 0
                    : !w->lines[i].segment)
            return i;
    assert_true(w->request.n_earlier < WORLD_LINES);
    w->lines[w->request.n_earlier] = (struct ingest_line){
        .segment = xstrdup(segment), .snapshots = w->snapshots[w->request.n_earlier]};
    return w->request.n_earlier++;
}

void ingest_world_remember(struct ingest_world *w)
{
    for (size_t i = 0; i < w->result.n; i++) {
        const struct dataset_ingested *o = &w->result.items[i];
        size_t at = line_of(w, o->segment);

        if (!o->snapshot)
            continue;
        assert_true(w->lines[at].n < WORLD_SNAPSHOTS);
        w->snapshots[at][w->lines[at].n++] = xstrdup(o->snapshot);
    }
}

const struct violation *find_violation(const struct dataset_ingested *o, const char *column,
                                       const char *rule)
{
    for (size_t i = 0; i < o->violations.n; i++) {
        const struct violation *v = &o->violations.items[i];

        if (strcmp(v->rule, rule) == 0 &&
            (column ? v->column && strcmp(v->column, column) == 0 : !v->column))
            return v;
    }
    fail_msg("no violation %s of %s; reason: %s", rule, column ? column : "the whole", o->reason);
    return NULL;
}

void assert_accepted(const struct dataset_ingested *o, int64_t rows)
{
    if (strcmp(o->status, "accepted") != 0)
        fail_msg("refused: %s", o->reason);
    assert_int_equal(o->rows, rows);
    assert_int_equal(o->train_rows + o->valid_rows + o->test_rows, rows);
    assert_non_null(o->snapshot);
    assert_non_null(o->profile);
}

void assert_rejected(const struct dataset_ingested *o, const char *column, const char *rule,
                     const char *reason_has)
{
    if (strcmp(o->status, "rejected") != 0)
        fail_msg("accepted: %s", o->reason);
    assert_null(o->snapshot);
    assert_int_equal(o->rows, 0);
    assert_string_equal(find_violation(o, column, rule)->severity, "reject");
    if (!strstr(o->reason, reason_has))
        fail_msg("'%s' is not in: %s", reason_has, o->reason);
}

struct snapshot *open_outcome(struct ingest_world *w, const struct dataset_ingested *o,
                              struct snapshot_data *ret)
{
    struct snapshot *s = NULL;
    struct err err;

    if (snapshot_open(&w->a, o->snapshot, &s, &err) || snapshot_map(&w->a, s, ret, &err))
        fail_msg("%s", err.msg);
    return s;
}
