/* Records in files, for other implementations: tests/interop/test_avro.py runs this program as
 *
 *   test_codec_files write FOLDER [REGISTRY]   sample records as <record>.<n>.bin, framed, and as
 * <record>.<n>.json test_codec_files read FOLDER [REGISTRY]    every <record>.<n>.in as
 * <record>.<n>.out, JSON; other writers' schemas are in <record>.avsc when there is no registry
 *
 * and without arguments it is a test of just that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/schemareg.h"
#include "tests/support/sample_events.h"
#include "tests/support/tmpdir.h"

#define SAMPLES 3       /* full, empty, random */
#define INPUTS_MAX 1000 /* of one record */
#define WAIT_MS 30000

struct tool {
    const char *folder;
    struct loop *loop;
    struct schemareg *registry; /* NULL: none */
    struct codec *codec;
    struct arena arena;
    struct err err;
};

NORETURN static void die(struct tool *t, const char *what)
{
    fprintf(stderr, "test_codec_files: %s: %s\n", what, t->err.msg);
    exit(1);
}

static const char *path_of(struct tool *t, enum record r, int n, const char *ending)
{
    if (n < 0)
        return arena_printf(&t->arena, "%s/%s.%s", t->folder, record_str(r), ending);
    return arena_printf(&t->arena, "%s/%s.%d.%s", t->folder, record_str(r), n, ending);
}

static void save(struct tool *t, const char *path, const struct buf *b)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(b->data, 1, b->len, f) != b->len || fclose(f) != 0)
        die(t, path);
}

static bool load(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    char piece[4096];
    size_t n;

    if (!f)
        return false;
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_add(out, piece, n);
    fclose(f);
    return true;
}

static void tool_open(struct tool *t, const char *folder, const char *registry)
{
    enum record records[RECORD_COUNT];

    t->folder = folder;
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++)
        records[r - 1] = (enum record)r;
    if (loop_new(&t->loop, &t->err) != 0 || codec_new(&t->codec, &t->err) != 0)
        die(t, "open");
    if (!registry)
        return;
    if (schemareg_open(t->loop, registry, NULL, &t->registry, &t->err) != 0 ||
        schemareg_register(t->registry, t->codec, "interop.", records, RECORD_COUNT - 1, WAIT_MS,
                           &t->err) != 0)
        die(t, registry);
    codec_set_lookup(t->codec, schemareg_lookup, t->registry);
}

static void tool_close(struct tool *t)
{
    schemareg_close(t->registry);
    codec_free(t->codec);
    loop_free(t->loop);
    arena_fini(&t->arena);
}

static void save_json(struct tool *t, enum record r, const void *rec, const char *path)
{
    CLEANUP(json_freep) struct json *j = codec_to_json(r, rec);
    CLEANUP(buf_fini) struct buf text = {0};

    json_write(j, 0, false, &text);
    save(t, path, &text);
}

static void write_all(struct tool *t)
{
    struct rng rng;

    rng_seed(&rng, 1);
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        const void *recs[SAMPLES] = {sample_full((enum record)r, &t->arena),
                                     sample_empty((enum record)r, &t->arena),
                                     sample_random((enum record)r, &t->arena, &rng)};

        for (int n = 0; n < SAMPLES; n++) {
            CLEANUP(buf_fini) struct buf framed = {0};

            if (codec_encode(t->codec, (enum record)r, recs[n], &framed, &t->err) != 0)
                die(t, record_str((enum record)r));
            save(t, path_of(t, (enum record)r, n, "bin"), &framed);
            save_json(t, (enum record)r, recs[n], path_of(t, (enum record)r, n, "json"));
        }
    }
}

struct attempt {
    struct tool *t;
    enum record r;
    struct slice framed;
    const void *rec;
    int rc;
};

static bool is_decoded(void *ctx)
{
    struct attempt *a = ctx;

    a->t->err = (struct err){0};
    a->rc = codec_decode(a->t->codec, a->r, a->framed, &a->t->arena, &a->rec, &a->t->err);
    return a->rc != 1;
}

static void read_one(struct tool *t, enum record r, struct slice framed, const char *out)
{
    CLEANUP(json_freep) struct json *failure = json_object();
    CLEANUP(buf_fini) struct buf text = {0};
    struct attempt a = {.t = t, .r = r, .framed = framed};

    if (!loop_until(t->loop, is_decoded, &a, WAIT_MS))
        die(t, "no answer from the registry");
    if (a.rc == 0) {
        save_json(t, r, a.rec, out);
        return;
    }
    json_set_str(failure, "error", t->err.msg);
    json_write(failure, 0, false, &text);
    save(t, out, &text);
}

static void read_all(struct tool *t)
{
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        CLEANUP(buf_fini) struct buf schema = {0};

        if (load(path_of(t, (enum record)r, -1, "avsc"), &schema) &&
            codec_add_schema(t->codec, buf_slice(&schema), &t->err) != 0)
            die(t, record_str((enum record)r));
        for (int n = 0; n < INPUTS_MAX; n++) {
            CLEANUP(buf_fini) struct buf framed = {0};

            if (!load(path_of(t, (enum record)r, n, "in"), &framed))
                break;
            read_one(t, (enum record)r, buf_slice(&framed), path_of(t, (enum record)r, n, "out"));
        }
    }
}

static void what_was_written_to_files_is_read_from_them(void **state)
{
    struct tmpdir *dir = *state;
    struct tool t = {0};

    tool_open(&t, dir->path, NULL);
    write_all(&t);
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++)
        for (int n = 0; n < SAMPLES; n++)
            assert_int_equal(
                rename(path_of(&t, (enum record)r, n, "bin"), path_of(&t, (enum record)r, n, "in")),
                0);
    read_all(&t);
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        CLEANUP(buf_fini) struct buf is = {0}, was = {0};

        assert_true(load(path_of(&t, (enum record)r, 0, "out"), &is));
        assert_true(load(path_of(&t, (enum record)r, 0, "json"), &was));
        assert_string_equal(is.data, was.data);
    }
    tool_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_to_files_is_read_from_them, tmpdir_setup,
                                        tmpdir_teardown),
    };
    struct tool t = {0};

    if (argc == 1)
        return cmocka_run_group_tests(tests, NULL, NULL);
    if (argc < 3 || argc > 4)
        return 2;
    tool_open(&t, argv[2], argv[3]);
    if (strcmp(argv[1], "write") == 0)
        write_all(&t);
    else
        read_all(&t);
    tool_close(&t);
    return 0;
}
