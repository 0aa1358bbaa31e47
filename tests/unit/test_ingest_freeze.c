/* What is in a snapshot: rows, split, classes, hashes, profile; segments; rows seen before. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/profile.h"
#include "common/rng.h"
#include "tests/support/ingest_world.h"

#define REGRESSION "dataset: {name: d, label: y}\ntask: regression\n"

static void rows_csv(struct buf *csv, int from, int to)
{
    buf_add_str(csv, "a,b,y\n");
    for (int i = from; i < to; i++)
        buf_addf(csv, "%d,%d.5,%d\n", i, i * 2, i % 2);
}

static void rows_are_what_the_file_says(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    struct snapshot_data d;
    const struct dataset_ingested *o;
    struct snapshot *s;

    rows_csv(&csv, 0, 1000);
    o = ingest_csv(w, csv.data);
    assert_accepted(o, 1000);
    assert_string_equal(o->line, "p");
    assert_null(o->segment);
    assert_string_equal(o->dataset_event, "event-1");
    assert_string_equal(o->version, "1");
    assert_string_equal(o->pipeline_sha256, w->p->sha256);
    assert_int_equal(o->bytes, csv.len);
    assert_string_equal(o->reason, "1000 rows: 700 to learn from, 150 to stop by, 150 to test.");
    s = open_outcome(w, o, &d);
    assert_string_equal(s->line, "p");
    assert_string_equal(s->version, "1");
    assert_string_equal(s->label_name, "y");
    assert_string_equal(s->profile, o->profile);
    for (size_t i = 0; i < 1000; i++) {
        char text[64];

        snprintf(text, sizeof(text), "%zu,%zu.5,%zu", i, i * 2, i % 2);
        assert_true(((const float *)d.features.data)[2 * i] == (float)i);
        assert_true(((const float *)d.features.data)[2 * i + 1] == (float)(2 * i) + 0.5f);
        assert_true(((const float *)d.label.data)[i] == (float)(i % 2));
        assert_int_equal(((const uint8_t *)d.split.data)[i], i < 700 ? 0 : i < 850 ? 1 : 2);
        assert_true(((const uint64_t *)d.row_hash.data)[i] == hash64(text, strlen(text), 0));
    }
    snapshot_unmap(&d);
    snapshot_free(s);
}

/* Whatever the columns are otherwise: an ignored one, a feature. */
static void weights_groups_and_values_are_kept_beside_the_features(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    struct snapshot_data d;
    struct matrix m = {0};
    struct snapshot *s;
    struct err err = {0};

    ingest_world_pipeline(
        w, "dataset: {name: d, label: y}\ntask: binary\n"
           "contract: {columns: {query: {type: ignore}, w: {type: ignore}}}\n"
           "evaluate: {weight: w, group: query, cost: {value: amount}, cluster: query}\n");
    buf_add_str(&csv, "query,amount,a,w,y\n");
    for (int i = 0; i < 1000; i++)
        buf_addf(&csv, "q%d,%d.5,%d,%s,%d\n", i / 10, i, i, i % 7 ? "0.25" : "", i % 2);
    s = open_outcome(w, ingest_csv(w, csv.data), &d);
    assert_int_equal(s->n_columns, 2);
    assert_int_equal(s->n_asides, 4);
    assert_string_equal(s->asides[ASIDE_GROUP], "query");
    assert_int_equal(artifacts_verify(&w->a, s->aside, NULL), 0);
    assert_int_equal(matrix_load(&w->a, &s, 1, ROW_TEST, 0, NULL, &m, &err), 0);
    assert_int_equal(m.rows, 150);
    for (size_t i = 0; i < 150; i++) {
        size_t row = 850 + i;

        assert_true(row % 7 ? m.aside[ASIDE_WEIGHT][i] == 0.25 : isnan(m.aside[ASIDE_WEIGHT][i]));
        assert_true(m.aside[ASIDE_VALUE][i] == (double)row + 0.5);
        assert_true(m.aside[ASIDE_CLUSTER][i] == m.aside[ASIDE_GROUP][i]);
        if (i > 0)
            assert_true((m.aside[ASIDE_GROUP][i] == m.aside[ASIDE_GROUP][i - 1]) ==
                        (row % 10 != 0));
    }
    matrix_fini(&m);
    assert_int_equal(matrix_load(&w->a, &s, 1, ROW_TRAIN, 0, NULL, &m, &err), 0);
    assert_null(m.aside[ASIDE_WEIGHT]); /* only evaluation asks for them */
    matrix_fini(&m);
    snapshot_unmap(&d);
    snapshot_free(s);
    assert_rejected(ingest_csv(w, "query,amount,a,y\nq,1,2,0\n"), NULL, "columns",
                    "there is no weight column");
}

static void the_same_bytes_make_the_same_snapshot(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    char first[DIGEST_HEX_SIZE];

    rows_csv(&csv, 0, 500);
    snprintf(first, sizeof(first), "%s", ingest_csv(w, csv.data)->snapshot);
    assert_string_equal(ingest_csv(w, csv.data)->snapshot, first);
}

/* More rows than spools keep in memory: the files are made in another way, and must be the same. */
static void many_rows_are_as_few(void **state)
{
    enum { ROWS = 1200000 };
    struct ingest_world *w = *state;
    struct buf csv = {.cap = (size_t)64 << 20};
    struct snapshot_data d;
    struct snapshot *s;
    const float *x;

    rows_csv(&csv, 0, ROWS);
    assert_false(csv.overflow);
    s = open_outcome(w, ingest_bytes(w, csv.data, csv.len), &d);
    x = d.features.data;
    assert_int_equal(s->rows, ROWS);
    for (size_t i = 0; i < ROWS; i++)
        if (x[2 * i] != (float)i || ((const float *)d.label.data)[i] != (float)(i % 2))
            fail_msg("row %zu", i);
    assert_int_equal(artifacts_verify(&w->a, s->features, NULL), 0);
    assert_int_equal(artifacts_verify(&w->a, s->row_hash, NULL), 0);
    snapshot_unmap(&d);
    snapshot_free(s);
    buf_fini(&csv);
}

static void a_split_by_hash_keeps_equal_rows_together(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    struct snapshot_data d;
    struct snapshot *s;
    const uint8_t *split;

    ingest_world_pipeline(w, REGRESSION "split: {by: hash, valid: 0.2, test: 0.3}\n");
    buf_add_str(&csv, "a,y\n");
    for (int i = 0; i < 20000; i++)
        buf_addf(&csv, "%d,%d\n", i % 10000, i % 10000);
    s = open_outcome(w, ingest_csv(w, csv.data), &d);
    split = d.split.data;
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(split[i], split[i + 10000]);
    /* five standard errors of a share over 10,000 different rows: 2.3 % */
    assert_in_range(s->split_rows[ROW_TRAIN], 10000 - 500, 10000 + 500);
    assert_in_range(s->split_rows[ROW_VALID], 4000 - 400, 4000 + 400);
    assert_in_range(s->split_rows[ROW_TEST], 6000 - 460, 6000 + 460);
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void parts_may_be_empty_but_add_up(void **state)
{
    static const struct {
        const char *split;
        int64_t rows, train, valid, test;
    } rows[] = {
        {"split: {by: order, valid: 0, test: 0.5}\n", 4, 2, 0, 2},
        {"split: {by: order, valid: 0.5, test: 0.49}\n", 3, 0, 2, 1},
        {"split: {by: order, valid: 0.45, test: 0.45}\n", 10, 0, 5, 5},
        {"split: {by: order, valid: 0.1, test: 0.1}\n", 2, 2, 0, 0},
        {"split: {by: order, valid: 0.25, test: 0.25}\n", 2, 0, 1, 1},
    };
    struct ingest_world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf yaml = {0}, csv = {0};
        const struct dataset_ingested *o;

        buf_addf(&yaml, REGRESSION "%s", rows[i].split);
        ingest_world_pipeline(w, yaml.data);
        buf_add_str(&csv, "a,y\n");
        for (int64_t k = 0; k < rows[i].rows; k++)
            buf_addf(&csv, "%d,%d\n", (int)k, (int)k);
        o = ingest_csv(w, csv.data);
        assert_accepted(o, rows[i].rows);
        assert_int_equal(o->test_rows, rows[i].test);
        assert_int_equal(o->valid_rows, rows[i].valid);
        assert_int_equal(o->train_rows, rows[i].train);
    }
}

static void check_classes(struct ingest_world *w, const char *yaml, const char *csv,
                          const char *const *classes, const float *labels)
{
    struct snapshot_data d;
    struct snapshot *s;
    size_t n = 0;

    ingest_world_pipeline(w, yaml);
    s = open_outcome(w, ingest_csv(w, csv), &d);
    while (classes[n])
        n++;
    assert_int_equal(s->n_classes, n);
    for (size_t k = 0; k < n; k++)
        assert_string_equal(s->classes[k], classes[k]);
    for (size_t i = 0; i < s->rows; i++)
        assert_true(((const float *)d.label.data)[i] == labels[i]);
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void classes_have_an_order(void **state)
{
#define BINARY "dataset: {name: d, label: y}\ntask: binary\n"
    struct ingest_world *w = *state;

    check_classes(w, BINARY, "a,y\n1,yes\n2,no\n3,yes\n", (const char *const[]){"no", "yes", NULL},
                  (const float[]){1, 0, 1});
    check_classes(w, BINARY "positive: no\n", "a,y\n1,yes\n2,no\n3,yes\n",
                  (const char *const[]){"yes", "no", NULL}, (const float[]){0, 1, 0});
    check_classes(w, BINARY, "a,y\n1,10\n2,9\n", (const char *const[]){"9", "10", NULL},
                  (const float[]){1, 0});
    check_classes(w, BINARY "positive: '1.0'\n", "a,y\n1,1.0\n2,0.0\n3,1\n",
                  (const char *const[]){"0", "1", NULL}, (const float[]){1, 0, 1});
    check_classes(w, "dataset: {name: d, label: y}\ntask: multiclass\n",
                  "a,y\n1,c\n2,a\n3,b\n4,a\n", (const char *const[]){"a", "b", "c", NULL},
                  (const float[]){2, 0, 1, 0});
    check_classes(w, "dataset: {name: d, label: y}\ntask: multiclass\nclasses: [c, b, a]\n",
                  "a,y\n1,c\n2,a\n", (const char *const[]){"a", "b", "c", NULL},
                  (const float[]){2, 0});
    check_classes(w, REGRESSION, "a,y\n1,1.5\n2,-2\n", (const char *const[]){NULL},
                  (const float[]){1.5f, -2});
}

static void the_profile_counts_what_was_kept(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    struct profile *p;
    struct err err;
    const struct dataset_ingested *o = ingest_csv(w, "a,c,y\n1,red,0\n2,blue,1\n,red,1\n4,red,0\n");

    assert_int_equal(artifacts_get(&w->a, o->profile, 1 << 20, &text, &err), 0);
    j = json_parse(buf_slice(&text), "profile", &err);
    assert_int_equal(profile_from_json(j, &p, &err), 0);
    assert_int_equal(p->rows, 4);
    assert_int_equal(p->n_columns, 3);
    assert_int_equal(p->columns[0].missing, 1);
    assert_true(p->columns[0].max == 4);
    assert_true(p->columns[1].category);
    assert_int_equal(p->columns[1].hitter_counts[0], 3);
    assert_string_equal(p->columns[2].name, "y"); /* the label comes last */
    assert_true(p->columns[2].category);
    profile_free(p);
}

static void segments_have_snapshots_of_their_own(void **state)
{
    struct ingest_world *w = *state;
    const struct dataset_ingested *o;
    struct snapshot_data d;
    struct snapshot *s;

    ingest_world_pipeline(w, "dataset: {name: d, label: y, segment: s}\ntask: binary\n"
                             "contract: {columns: {a: {type: float, max: 100}}}\n");
    o = ingest_csv(w, "a,s,c,y\n1,north,q,0\n2,south,r,0\n3,north,r,1\n4,south,q,1\n500,west,q,1\n"
                      "6,west,q,0\n7,east,q,1\n");
    assert_int_equal(w->result.n, 4);
    assert_string_equal(o[0].line, "p/north");
    assert_string_equal(o[0].segment, "north");
    assert_accepted(&o[0], 2);
    assert_string_equal(o[1].line, "p/south");
    assert_accepted(&o[1], 2);
    assert_rejected(&o[2], "a", "max", "row 5: '500'"); /* west alone is refused */
    assert_rejected(&o[3], "y", "label", "same value in every row");
    s = open_outcome(w, &o[1], &d);
    assert_string_equal(s->line, "p/south");
    assert_int_equal(s->n_columns, 2); /* the segment is no feature */
    assert_true(((const float *)d.features.data)[0] == 2);
    assert_true(((const float *)d.features.data)[1] == 1); /* one dictionary for all: r is 1 */
    assert_true(((const float *)d.features.data)[2] == 4);
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void many_segments_are_spooled(void **state)
{
    enum { SEGMENTS = 300, ROWS = 300 };
    struct ingest_world *w = *state;
    struct buf csv = {0};

    ingest_world_pipeline(w, "dataset: {name: d, label: y, segment: s}\ntask: binary\n");
    buf_add_str(&csv, "s,y,a,b,c,d,e,f\n");
    for (int i = 0; i < SEGMENTS * ROWS; i++)
        buf_addf(&csv, "s%d,%d,%d,0,0,0,0,%d\n", i % SEGMENTS, i / SEGMENTS % 2, i, i);
    ingest_bytes(w, csv.data, csv.len);
    assert_int_equal(w->result.n, SEGMENTS);
    for (size_t k = 0; k < SEGMENTS; k += 37) {
        struct snapshot_data d;
        struct snapshot *s = open_outcome(w, &w->result.items[k], &d);

        assert_int_equal(s->rows, ROWS);
        for (size_t i = 0; i < ROWS; i++)
            assert_true(((const float *)d.features.data)[6 * i] == (float)(i * SEGMENTS + k));
        snapshot_unmap(&d);
        snapshot_free(s);
    }
    buf_fini(&csv);
}

static void segments_are_checked_and_capped(void **state)
{
    static const char csv[] = "a,s,y\n1,n,0\n2,n,1\n3,../x,1\n4,,0\n5,s,0\n6,s,1\n";
    struct ingest_world *w = *state;
    const struct dataset_ingested *o;

    ingest_world_pipeline(w, "dataset: {name: d, label: y, segment: s}\ntask: binary\n");
    o = ingest_csv(w, csv);
    assert_int_equal(w->result.n, 1);
    assert_string_equal(o->line, "p"); /* the dataset as a whole */
    assert_rejected(o, "s", "segments", "row 3: '../x'");
    assert_int_equal(find_violation(o, "s", "segments")->count, 2);

    ingest_world_pipeline(w, "dataset: {name: d, label: y, segment: s}\ntask: binary\n"
                             "contract: {on_violation: quarantine}\n");
    o = ingest_csv(w, csv);
    assert_int_equal(w->result.n, 2);
    assert_accepted(&o[0], 2);
    assert_int_equal(find_violation(&o[0], "s", "segments")->count, 2);

    ingest_world_pipeline(w,
                          "dataset: {name: d, label: y, segment: s, segments: [n]}\ntask: binary\n"
                          "contract: {on_violation: quarantine}\n");
    ingest_csv(w, csv);
    assert_int_equal(w->result.n, 1);
    assert_int_equal(find_violation(w->result.items, "s", "segments")->count, 4);

    ingest_world_pipeline(
        w, "dataset: {name: d, label: y, segment: s, max_segments: 2}\ntask: binary\n");
    assert_int_equal((ingest_csv(w, "a,s,y\n1,n,0\n2,n,1\n5,s,0\n6,s,1\n"), w->result.n), 2);
    ingest_world_remember(w);
    o = ingest_csv(w, "a,s,y\n1,n,0\n2,n,1\n5,t,0\n6,t,1\n");
    assert_rejected(o, "s", "segments", "more than 2 segments, those of earlier versions included");
    assert_rejected(ingest_csv(w, "a,y\n1,0\n"), NULL, "segments", "no segment column 's'");
}

static void rows_seen_before_are_counted(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf first = {0}, second = {0}, third = {0};

    rows_csv(&first, 0, 100);
    rows_csv(&second, 100, 200);
    rows_csv(&third, 50, 250);
    assert_int_equal(ingest_csv(w, first.data)->rows_seen_before, 0);
    ingest_world_remember(w);
    assert_int_equal(ingest_csv(w, second.data)->rows_seen_before, 0);
    ingest_world_remember(w);
    assert_int_equal(ingest_csv(w, third.data)->rows_seen_before, 150);
    assert_int_equal(ingest_csv(w, first.data)->rows_seen_before, 100);
    assert_non_null(strstr(w->result.items->reason, "100 seen before"));
}

static void too_many_seen_rows_break_the_contract(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf first = {0}, second = {0};
    const struct dataset_ingested *o;
    struct snapshot_data d;
    struct snapshot *s;

    rows_csv(&first, 0, 100);
    rows_csv(&second, 60, 160); /* 40 of 100 */
    ingest_csv(w, first.data);
    ingest_world_remember(w);
    ingest_world_pipeline(w, BINARY "contract: {seen_before_at_most: 0.4}\n");
    assert_accepted(ingest_csv(w, second.data), 100);
    ingest_world_pipeline(w, BINARY "contract: {seen_before_at_most: 0.39}\n");
    assert_rejected(ingest_csv(w, second.data), NULL, "seen_before", "40 % are (40 of 100)");
    ingest_world_pipeline(w, BINARY "contract: {seen_before_at_most: 0.39, on_violation: warn}\n");
    assert_accepted(ingest_csv(w, second.data), 100);
    ingest_world_pipeline(w, BINARY
                          "contract: {seen_before_at_most: 0.39, on_violation: quarantine}\n");
    o = ingest_csv(w, second.data);
    assert_accepted(o, 60);
    assert_int_equal(o->rows_quarantined, 40);
    assert_int_equal(o->rows_seen_before, 40);
    s = open_outcome(w, o, &d);
    assert_true(((const float *)d.features.data)[0] == 100);
    assert_true(((const float *)d.label.data)[1] == 1);
    assert_int_equal(s->split_rows[ROW_TRAIN], 42);
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void snapshots_that_are_gone_are_passed_over(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    char gone[DIGEST_HEX_SIZE];

    rows_csv(&csv, 0, 10);
    ingest_csv(w, csv.data);
    ingest_world_remember(w);
    memset(gone, 'a', sizeof(gone) - 1);
    gone[sizeof(gone) - 1] = '\0';
    w->snapshots[0][w->lines[0].n++] = xstrdup(gone);
    w->request.cache = seen_cache_new();
    for (int i = 0; i < 2; i++) /* the second time from the cache */
        assert_int_equal(ingest_csv(w, csv.data)->rows_seen_before, 10);
    seen_cache_free(w->request.cache);
    seen_cache_free(NULL);
}

static void only_the_newest_64_snapshots_are_looked_at(void **state)
{
    struct ingest_world *w = *state;

    for (int i = 0; i < 66; i++) {
        char csv[64];

        snprintf(csv, sizeof(csv), "a,y\n%d,0\n%d,1\n", i, i);
        ingest_csv(w, csv);
        ingest_world_remember(w);
    }
    assert_int_equal(ingest_csv(w, "a,y\n0,0\n1,1\n")->rows_seen_before, 0);
    assert_int_equal(ingest_csv(w, "a,y\n2,0\n65,1\n")->rows_seen_before, 2);
}

static void a_result_survives_the_store(void **state)
{
    struct ingest_world *w = *state;
    struct ingest_result back;
    struct buf text = {0}, again = {0};
    struct err err;

    ingest_world_pipeline(w, "dataset: {name: d, label: y, segment: s}\ntask: binary\n"
                             "contract: {columns: {a: {type: float, max: 100}}}\n");
    ingest_csv(w, "a,s,y\n1,n,0\n2,n,1\n500,s,0\n6,s,1\n");
    ingest_result_to_json(&w->result, &text);
    if (ingest_result_from_json(buf_slice(&text), &back, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(back.n, 2);
    assert_string_equal(back.items[0].snapshot, w->result.items[0].snapshot);
    assert_string_equal(back.items[1].violations.items[0].examples.items[0], "row 3: '500'");
    ingest_result_to_json(&back, &again);
    assert_string_equal(text.data, again.data);
    assert_int_equal(ingest_result_from_json(slice_str("{}"), &back, &err), -1);
    assert_int_equal(ingest_result_from_json(slice_str("[1"), &back, &err), -1);
    ingest_result_fini(&back);
    buf_fini(&text);
    buf_fini(&again);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, ingest_world_setup, ingest_world_teardown)
    const struct CMUnitTest tests[] = {
        T(rows_are_what_the_file_says),
        T(weights_groups_and_values_are_kept_beside_the_features),
        T(the_same_bytes_make_the_same_snapshot),
        T(many_rows_are_as_few),
        T(a_split_by_hash_keeps_equal_rows_together),
        T(parts_may_be_empty_but_add_up),
        T(classes_have_an_order),
        T(the_profile_counts_what_was_kept),
        T(segments_have_snapshots_of_their_own),
        T(many_segments_are_spooled),
        T(segments_are_checked_and_capped),
        T(rows_seen_before_are_counted),
        T(too_many_seen_rows_break_the_contract),
        T(snapshots_that_are_gone_are_passed_over),
        T(only_the_newest_64_snapshots_are_looked_at),
        T(a_result_survives_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
