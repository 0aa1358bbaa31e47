/* Which artefacts the log names: events, manifests, manifests of manifests, bytes that nobody can
 * read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/relearn/named.h"
#include "common/fsx.h"
#include "tests/support/make_event.h"
#include "tests/support/sample_model.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/tmpdir.h"

static const char A[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                  B[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                  C[] = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
                  D[] = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

struct heard {
    char text[2000]; /* "model a, snapshot b" by their first digit */
};

static void hear(void *ctx, enum named_kind kind, const char *digest)
{
    struct heard *h = ctx;
    size_t n = strlen(h->text);

    snprintf(h->text + n, sizeof(h->text) - n, "%s%s %c", n ? ", " : "", named_kind_str(kind),
             digest[0]);
}

static void check_names(enum record r, const void *rec, const char *expected)
{
    struct heard h = {0};
    struct event *ev = make_event(&(struct event_parts){.type = r, .rec = rec, .id = "e1"});

    named_by_event(ev, hear, &h);
    assert_string_equal(h.text, expected);
    event_free(ev);
}

static void each_event_names_what_it_says(void **state)
{
    static const struct snapshot_ref REFS[] = {{B, "e", 1}, {C, "e", 1}};
    static const char *const SNAPSHOTS[] = {C, D};
    static const struct route ROUTES[] = {{1, B, "champion", 1}, {2, C, "shadow", 0}};
    static const struct serving_line LINES[] = {{.line = "l", .model = B, .state = "serving"}};

    (void)state;
    check_names(RECORD_PIPELINE_DECLARED,
                &(struct pipeline_declared){.name = "p", .yaml = "", .sha256 = A}, "pipeline a");
    check_names(
        RECORD_DATASET_INGESTED,
        &(struct dataset_ingested){.line = "l", .pipeline_sha256 = A, .snapshot = B, .profile = C},
        "pipeline a, snapshot b, profile c");
    check_names(
        RECORD_TRAINING_PLANNED,
        &(struct training_planned){.line = "l", .pipeline_sha256 = A, .snapshots = {REFS, 2}},
        "pipeline a, snapshot b, snapshot c");
    check_names(RECORD_TRAINING_FINISHED,
                &(struct training_finished){
                    .line = "l", .pipeline_sha256 = A, .model = D, .snapshots = {REFS, 2}},
                "pipeline a, model d, snapshot b, snapshot c");
    check_names(RECORD_MODEL_EVALUATED,
                &(struct model_evaluated){.line = "l",
                                          .pipeline_sha256 = A,
                                          .model = B,
                                          .champion = A,
                                          .snapshots = {SNAPSHOTS, 2}},
                "pipeline a, model b, model a, snapshot c, snapshot d");
    check_names(RECORD_GATE_DECIDED,
                &(struct gate_decided){.line = "l", .pipeline_sha256 = A, .model = B},
                "pipeline a, model b");
    check_names(RECORD_DEPLOYMENT_CHANGED,
                &(struct deployment_changed){
                    .line = "l", .pipeline_sha256 = A, .model = D, .routes = {ROUTES, 2}},
                "pipeline a, model d, model b, model c");
    check_names(RECORD_SERVING_CHANGED,
                &(struct serving_changed){.instance = "s", .lines = {LINES, 1}}, "model b");
    check_names(RECORD_OPERATOR_COMMANDED,
                &(struct operator_commanded){.line = "l", .command = "force", .target = A},
                "bytes a");
    check_names(RECORD_OPERATOR_COMMANDED,
                &(struct operator_commanded){.line = "l", .command = "approve", .target = "e9"},
                "");
    check_names(RECORD_DRIFT_DETECTED, &(struct drift_detected){.line = "l"}, "");
}

static void a_dataset_that_lies_in_the_store_is_named(void **state)
{
    char uri[200];

    (void)state;
    snprintf(uri, sizeof(uri), "file:///store/sha256/%.2s/%s", B, B + 2);
    check_names(RECORD_DATASET_PUBLISHED,
                &(struct dataset_published){.dataset = "d", .uri = uri, .sha256 = A},
                "bytes a, bytes b");
    snprintf(uri, sizeof(uri), "file:///store/sha256/%.2s/%.61s", B, B + 2);
    check_names(RECORD_DATASET_PUBLISHED, &(struct dataset_published){.dataset = "d", .uri = uri},
                "");
}

static void a_dead_letter_names_what_its_bytes_spell(void **state)
{
    char text[200];
    int n = snprintf(text, sizeof(text), "\x80\x01%s\x02%.63s\x01", B, C);

    (void)state;
    check_names(RECORD_DEAD_LETTERED,
                &(struct dead_lettered){.topic = "relearn.models", .value = {text, (size_t)n}},
                "bytes b");
    n = snprintf(text, sizeof(text), "4%s", B); /* a length that looks like a digit */
    check_names(RECORD_DEAD_LETTERED,
                &(struct dead_lettered){.topic = "relearn.models", .value = {text, (size_t)n}},
                "bytes 4, bytes b");
}

/* ---- with a store ---- */

struct world {
    struct tmpdir dir;
    struct artifacts store;
    struct snapshot *snapshot;
    struct model *model;
};

static int setup(void **state)
{
    static const struct sample_column COLUMNS[] = {{.name = "x", .type = COLUMN_FLOAT}};
    static const char *const CLASSES[] = {"no", "yes", NULL};
    static const float X[] = {1, 2, 3, 4, 5, 6, 7, 8}, Y[] = {0, 0, 0, 0, 1, 1, 1, 1};
    struct world *w = xcalloc(1, sizeof(*w));
    struct err err = {0};

    tmpdir_init(&w->dir);
    assert_int_equal(artifacts_open(tmpdir_join(&w->dir, "store"), &w->store, &err), 0);
    w->snapshot = sample_snapshot_put(&w->store, &(struct sample_snapshot){.task = TASK_BINARY,
                                                                           .classes = CLASSES,
                                                                           .columns = COLUMNS,
                                                                           .n_columns = 1,
                                                                           .rows = 8,
                                                                           .x = X,
                                                                           .y = Y});
    w->model = sample_model_train(
        &w->store,
        &(struct sample_training){
            .line = "l", .classes = "no yes", .columns = "x:float", .rows = 8, .x = X, .y = Y});
    /* the same, with a snapshot behind it */
    w->model->n_snapshots = 1; /* there is room for one */
    w->model->snapshots[0] = xstrdup(w->snapshot->digest);
    assert_int_equal(model_put(&w->store, w->model, NULL, &err), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    snapshot_free(w->snapshot);
    model_free(w->model);
    artifacts_close(&w->store);
    tmpdir_fini(&w->dir);
    free(w);
    return 0;
}

static void check_kind(const struct named *n, const char *digest, enum named_kind kind)
{
    const struct named_entry *e = named_find(n, digest);

    assert_non_null(e);
    assert_string_equal(named_kind_str(e->kind), named_kind_str(kind));
}

static void count_broken(void *ctx, const struct named_entry *e)
{
    *(size_t *)ctx += e->is_broken;
}

static void take_model_event(struct named *n, const char *model)
{
    struct event *ev = make_event(&(struct event_parts){
        .type = RECORD_TRAINING_FINISHED,
        .rec = &(struct training_finished){.line = "l", .run = "r", .model = model},
        .id = "e1"});

    named_take_event(n, ev);
    event_free(ev);
}

static void manifests_are_followed_to_every_file(void **state)
{
    struct world *w = *state;
    struct named *n = named_new(&w->store);
    const struct snapshot *s = w->snapshot;
    size_t broken = 0;

    take_model_event(n, w->model->digest);
    check_kind(n, w->model->digest, NAMED_MODEL);
    check_kind(n, w->model->file, NAMED_FILE);
    check_kind(n, w->model->profile, NAMED_PROFILE);
    check_kind(n, s->digest, NAMED_SNAPSHOT);
    check_kind(n, s->features, NAMED_FILE);
    check_kind(n, s->label, NAMED_FILE);
    check_kind(n, s->split, NAMED_FILE);
    check_kind(n, s->row_hash, NAMED_FILE);
    if (s->profile[0])
        check_kind(n, s->profile, NAMED_PROFILE);
    assert_string_equal(named_find(n, w->model->digest)->by, "e1");
    assert_string_equal(named_find(n, s->features)->by, s->digest);
    named_each(n, count_broken, &broken);
    assert_int_equal(broken, 0);
    assert_null(named_find(n, A));
    named_free(n);
}

static void bytes_of_unknown_meaning_are_followed_when_they_name_a_manifest(void **state)
{
    struct world *w = *state;
    struct named *n = named_new(&w->store);
    char text[400];

    snprintf(text, sizeof(text), "{\"model\":\"%s\",\"other\":\"%s\"}", w->model->digest, D);
    named_take_bytes(n, slice_str(text), "r1");
    check_kind(n, w->model->digest, NAMED_MAYBE);
    check_kind(n, w->snapshot->label, NAMED_FILE);
    assert_false(named_find(n, D)->is_broken); /* nobody said that it has to be there */
    take_model_event(n, w->model->digest);
    check_kind(n, w->model->digest, NAMED_MODEL);
    assert_string_equal(named_find(n, w->model->digest)->by, "e1");
    named_free(n);
}

static void a_manifest_that_comes_later_is_followed_then(void **state)
{
    struct world *w = *state;
    struct named *n = named_new(&w->store);
    struct err err = {0};
    CLEANUP_FREE char *path = artifacts_path(&w->store, w->model->digest, &err);
    CLEANUP_FREE char *aside = xasprintf("%s.aside", path);

    assert_int_equal(rename(path, aside), 0);
    take_model_event(n, w->model->digest);
    assert_true(named_find(n, w->model->digest)->is_broken);
    assert_int_equal(named_count(n), 1);
    assert_int_equal(rename(aside, path), 0);
    take_model_event(n, w->model->digest);
    assert_false(named_find(n, w->model->digest)->is_broken);
    assert_non_null(named_find(n, w->snapshot->label));
    named_free(n);
}

static void a_damaged_manifest_is_broken(void **state)
{
    struct world *w = *state;
    struct named *n = named_new(&w->store);
    struct err err = {0};
    CLEANUP_FREE char *path = artifacts_path(&w->store, w->snapshot->digest, &err);

    assert_int_equal(fsx_write_file(path, "{}", 2, &err), 0);
    take_model_event(n, w->model->digest);
    assert_true(named_find(n, w->snapshot->digest)->is_broken);
    assert_false(named_find(n, w->model->digest)->is_broken);
    named_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_names_what_it_says),
        cmocka_unit_test(a_dataset_that_lies_in_the_store_is_named),
        cmocka_unit_test(a_dead_letter_names_what_its_bytes_spell),
        cmocka_unit_test_setup_teardown(manifests_are_followed_to_every_file, setup, teardown),
        cmocka_unit_test_setup_teardown(
            bytes_of_unknown_meaning_are_followed_when_they_name_a_manifest, setup, teardown),
        cmocka_unit_test_setup_teardown(a_manifest_that_comes_later_is_followed_then, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_manifest_is_broken, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
