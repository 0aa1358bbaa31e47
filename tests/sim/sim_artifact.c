/* common/artifact.h in memory.  While the store is troubled, a call fails, or does its work and its
 * answer is lost. */
#include "common/artifact.h"

#include <string.h>
#include <uthash.h>

#include "common/mem.h"
#include "tests/sim/sim.h"

struct blob {
    char *name; /* digest, or run */
    struct slice bytes;
    UT_hash_handle hh;
};
static struct blob *blobs, *runs;

static struct blob *find(struct blob *head, const char *name)
{
    struct blob *b = NULL;
    HASH_FIND_STR(head, name, b);
    return b;
}

static void add(struct blob **head, const char *name, const void *p, size_t n)
{
    if (find(*head, name))
        return;
    struct blob *b = arena_alloc(&sim.arena, sizeof(*b));
    b->name = arena_strdup(&sim.arena, name);
    b->bytes = (struct slice){arena_memdup(&sim.arena, p, n), n};
    HASH_ADD_KEYPTR(hh, *head, b->name, strlen(b->name), b);
}

void sim_artifact_reset(void)
{
    HASH_CLEAR(hh, blobs);
    HASH_CLEAR(hh, runs);
}

bool sim_artifact_has(const char *digest)
{
    return find(blobs, digest) != NULL;
}

static bool is_troubled(void)
{
    return sim.current && !sim.is_calm && sim.now_us < sim.store_trouble_until_us &&
           sim_chance(sim.current, sim.store_trouble);
}

static int trouble(struct err *err)
{
    return err_io(err, "sim: the store did not answer");
}

int artifacts_open(const char *url, struct artifacts *ret, struct err *err)
{
    (void)err;
    ret->root = xstrdup(url);
    return 0;
}

void artifacts_close(struct artifacts *a)
{
    free_ptr(&a->root);
}

int artifacts_put(const struct artifacts *a, const void *p, size_t n, char digest[DIGEST_HEX_SIZE],
                  struct err *err)
{
    bool is_bad = is_troubled();
    (void)a;
    digest_bytes(p, n, digest);
    if (!is_bad || sim_chance(sim.current, 500))
        add(&blobs, digest, p, n);
    return is_bad ? trouble(err) : 0;
}

bool artifacts_has(const struct artifacts *a, const char *digest)
{
    (void)a;
    return find(blobs, digest) != NULL;
}

int artifacts_get(const struct artifacts *a, const char *digest, size_t cap_bytes, struct buf *ret,
                  struct err *err)
{
    const struct blob *b = find(blobs, digest);
    (void)a;
    (void)cap_bytes;
    if (is_troubled())
        return trouble(err);
    if (!b)
        return err_set(err, ERR_NOTFOUND, NEXT_RETRY, "%.12s is not in the store", digest);
    buf_add(ret, b->bytes.p, b->bytes.n);
    return 0;
}

int artifacts_put_run(const struct artifacts *a, const char *run, struct slice result_json,
                      struct err *err)
{
    bool is_bad = is_troubled();
    (void)a;
    if (!is_bad || sim_chance(sim.current, 500))
        add(&runs, run, result_json.p, result_json.n);
    return is_bad ? trouble(err) : 0;
}

int artifacts_get_run(const struct artifacts *a, const char *run, struct buf *ret, struct err *err)
{
    const struct blob *b = find(runs, run);
    (void)a;
    if (is_troubled())
        return trouble(err);
    if (!b || sim.mutant == MUTANT_NO_RESULT)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "no result of run %s", run);
    buf_add(ret, b->bytes.p, b->bytes.n);
    return 0;
}

/* ---- files, which only what is replaced makes and reads ---- */

static int no_files(struct err *err)
{
    return err_inval(err, "sim: artefacts are no files");
}

char *artifacts_tmp(const struct artifacts *a, const char *hint, struct err *err)
{
    (void)a;
    (void)hint;
    no_files(err);
    return NULL;
}

char *artifacts_path(const struct artifacts *a, const char *digest, struct err *err)
{
    (void)a;
    (void)digest;
    no_files(err);
    return NULL;
}

int artifacts_put_file_as(const struct artifacts *a, const char *tmp_path, const char *digest,
                          struct err *err)
{
    (void)a;
    (void)tmp_path;
    (void)digest;
    return no_files(err);
}

int artifacts_put_files_as(const struct artifacts *a, const struct artifact_file *files, size_t n,
                           struct err *err)
{
    (void)a;
    (void)files;
    (void)n;
    return no_files(err);
}

int artifacts_verify(const struct artifacts *a, const char *digest, struct err *err)
{
    (void)a;
    (void)digest;
    return no_files(err);
}

/* ---- schemas: all that there are, are compiled in ---- */

int artifacts_put_schema(const struct artifacts *a, uint64_t fingerprint, struct slice text,
                         struct err *err)
{
    (void)a;
    (void)fingerprint;
    (void)text;
    (void)err;
    return 0;
}

int artifacts_get_schema(const struct artifacts *a, uint64_t fingerprint, struct buf *ret,
                         struct err *err)
{
    (void)a;
    (void)fingerprint;
    (void)ret;
    return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "sim: no such schema");
}
