#include "tests/support/sample_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/fsx.h"
#include "tests/support/sample_rows.h"
#include "tests/support/sample_snapshot.h"

void sample_run_init(struct sample_run *s, enum task task, const char *more)
{
    CLEANUP(buf_fini) struct buf yaml = {0};
    char digest[DIGEST_HEX_SIZE];
    struct err err = {0};

    *s = (struct sample_run){.task = task};
    tmpdir_init(&s->dir);
    buf_addf(&yaml,
             "apiVersion: relearn/v1\nkind: Pipeline\nname: sample\ndataset: {name: sample, label: "
             "y}\ntask: %s\n%s",
             task_str(task), more);
    if (artifacts_open(tmpdir_join(&s->dir, "artifacts"), &s->artifacts, &err) ||
        pipeline_parse(buf_slice(&yaml), "sample", &s->pipeline, &err) ||
        artifacts_put(&s->artifacts, yaml.data, yaml.len, digest, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(digest, s->pipeline->sha256);
    assert_int_equal(loop_new(&s->job.loop, &err), 0);
}

void sample_run_fini(struct sample_run *s)
{
    pipeline_free(s->pipeline);
    artifacts_close(&s->artifacts);
    buf_fini(&s->job.lines);
    loop_free(s->job.loop);
    arena_fini(&s->arena);
    tmpdir_fini(&s->dir);
}

const char *sample_run_add(struct sample_run *s, size_t rows, uint64_t seed)
{
    static const char *const classes[] = {"a", "b", "c", NULL}, *const two[] = {"a", "b", NULL};
    static const struct sample_column columns[SAMPLE_COLUMNS] = {
        {.name = "x0"}, {.name = "x1"}, {.name = "x2"},
        {.name = "x3"}, {.name = "x4"}, {.name = "x5"},
    };
    CLEANUP_FREE uint8_t *split = xcalloc(rows + 1, sizeof(*split));
    struct snapshot *snapshot;
    struct sample_rows sample;

    assert_true(s->n_refs < SAMPLE_RUN_SNAPSHOTS);
    sample_rows_init(&sample, s->task, rows, 0, seed);
    for (size_t i = 0; i < rows; i++)
        split[i] = i * 100 < rows * 70 ? ROW_TRAIN : i * 100 < rows * 85 ? ROW_VALID : ROW_TEST;
    snapshot =
        sample_snapshot_put(&s->artifacts, &(struct sample_snapshot){
                                               .task = s->task,
                                               .classes = s->task == TASK_BINARY       ? two
                                                          : s->task == TASK_MULTICLASS ? classes
                                                                                       : NULL,
                                               .columns = columns,
                                               .n_columns = SAMPLE_COLUMNS,
                                               .rows = rows,
                                               .x = sample.train.x,
                                               .y = sample.train.y,
                                               .split = split,
                                               .first_hash = seed * 1000000,
                                           });
    s->refs[s->n_refs++] =
        (struct snapshot_ref){arena_strdup(&s->arena, snapshot->digest), "event", (int64_t)rows};
    snapshot_free(snapshot);
    sample_rows_fini(&sample);
    return s->refs[s->n_refs - 1].snapshot;
}

const char *sample_run_order(struct sample_run *s, const char *run, const char *const *command)
{
    struct order o = {
        .line = "sample",
        .run = run,
        .instance = "train-1",
        .pipeline_sha256 = s->pipeline->sha256,
        .attempt = 1,
        .snapshots = {s->refs, s->n_refs},
        .artifacts = s->artifacts.root,
        .key = tmpdir_join(&s->dir, "train.key"),
        .trainer = command ? "mine" : "xgboost",
    };
    CLEANUP(buf_fini) struct buf text = {0};
    struct err err = {0};
    struct json *j;

    o.folder = arena_printf(&s->arena, "%s/work.%s", s->dir.path, run);
    while (command && command[o.command.n])
        o.command.n++;
    o.command.items = command;
    assert_int_equal(fsx_mkdirs(o.folder, &err), 0);
    j = order_to_json(&o);
    json_write(j, 1, false, &text);
    json_free(j);
    return tmpdir_write_str(&s->dir, arena_printf(&s->arena, "%s.json", run), text.data);
}

void sample_run_train(struct sample_run *s, const char *order, const struct job_spec *limits)
{
    const char *bin = getenv("RELEARN_BIN");
    CLEANUP_FREE char *program = fsx_join(bin ? bin : "build/bin", "relearn-trainer");
    const char *argv[] = {program, "run", order, NULL}, *env[8];
    struct job_spec spec = limits ? *limits : (struct job_spec){0};
    static const char *const passed[] = {"PATH", "RELEARN_LIBEXEC", "ASAN_OPTIONS", "UBSAN_OPTIONS",
                                         "LSAN_OPTIONS"};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(passed); i++)
        if (getenv(passed[i]))
            env[n++] = arena_printf(&s->arena, "%s=%s", passed[i], getenv(passed[i]));
    env[n] = NULL;
    spec.argv = argv;
    spec.env = env;
    job_run_start(&s->job, &spec);
    job_run_finish(&s->job);
}

bool sample_run_has_result(struct sample_run *s, const char *run)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct err err = {0};

    return artifacts_get_run(&s->artifacts, run, &text, &err) == 0;
}

const struct training_finished *sample_run_result(struct sample_run *s, const char *run)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    const void *rec = NULL;
    struct err err = {0};

    if (artifacts_get_run(&s->artifacts, run, &text, &err))
        fail_msg("%s; it said: %s", err.msg, s->job.r.tail);
    j = json_parse(buf_slice(&text), "result", &err);
    if (!j || codec_from_json(RECORD_TRAINING_FINISHED, j, &s->arena, &rec, &err))
        fail_msg("%s", err.msg);
    return rec;
}
