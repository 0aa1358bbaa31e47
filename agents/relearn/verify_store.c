#include "agents/relearn/verify_store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fsx.h"
#include "common/mem.h"

/* ---- what is named ---- */

struct named_check {
    const struct verify_store *s;
    struct findings *f;
};

static void check_one(void *ctx, const struct named_entry *e)
{
    const struct named_check *q = ctx;
    const struct finding_of of = {.check = VERIFY_ARTEFACTS,
                                  .id = e->by,
                                  .todo = "restore it from a copy of the store; what is lost for "
                                          "good is made again by a run: `relearn retrain`"};
    struct err err = {0};

    if (e->kind == NAMED_MAYBE) /* perhaps no artefact at all */
        return;
    q->f->looked[VERIFY_ARTEFACTS]++;
    if (!artifacts_has(q->s->artifacts, e->digest))
        findings_add(q->f, &of, "names %s %s, which is not in the store", named_kind_str(e->kind),
                     e->digest);
    else if (q->s->reads_bytes && artifacts_verify(q->s->artifacts, e->digest, &err))
        findings_add(q->f, &of, "names %s %s: %s", named_kind_str(e->kind), e->digest, err.msg);
    else if (e->is_broken)
        findings_add(q->f, &of, "names %s %s, whose manifest cannot be read",
                     named_kind_str(e->kind), e->digest);
}

void store_check_named(const struct verify_store *s, struct findings *f)
{
    struct named_check q = {s, f};

    named_each(s->names, check_one, &q);
}

/* ---- what is there ---- */

/* Each entry of a folder of the store, but the hidden ones that are in the making. */
typedef void (*entry_fn)(const struct verify_store *s, const char *folder, const char *name,
                         struct findings *f);

static int each_entry(const struct verify_store *s, const char *folder, entry_fn fn,
                      struct findings *f, struct err *err)
{
    CLEANUP_FREE char *path = fsx_join(s->artifacts->root, folder);
    DIR *dir = opendir(path);
    struct dirent *e;

    if (!dir && errno == ENOENT)
        return 0;
    if (!dir)
        return err_io(err, "open folder %s: %s", path, strerror(errno));
    while ((e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            fn(s, folder, e->d_name, f);
    closedir(dir);
    return 0;
}

static void refute_if_old(const struct verify_store *s, const char *folder, const char *name,
                          const char *what, struct findings *f)
{
    CLEANUP_FREE char *path = xasprintf("%s/%s/%s", s->artifacts->root, folder, name);
    const struct finding_of of = {
        .check = VERIFY_UNNAMED,
        .todo = "`relearn gc --dry-run` shows all of them, `relearn gc` deletes them"};
    struct stat st;
    int64_t age_ms;

    if (stat(path, &st))
        return; /* it has gone meanwhile */
    age_ms = s->now_unix_ms - (int64_t)st.st_mtim.tv_sec * 1000;
    if (age_ms > STORE_OLD_MS)
        findings_add(f, &of, "%s/%s (%lld bytes, %lld hours old) %s", folder, name,
                     (long long)st.st_size, (long long)age_ms / 3600000, what);
}

static void check_file(const struct verify_store *s, const char *folder, const char *name,
                       struct findings *f)
{
    char digest[DIGEST_HEX_SIZE];

    f->looked[VERIFY_UNNAMED]++;
    snprintf(digest, sizeof(digest), "%.2s%.62s", strrchr(folder, '/') + 1, name);
    if (strlen(name) != sizeof(digest) - 3 || !digest_is_hex(digest))
        refute_if_old(s, folder, name, "is called as no artefact is", f);
    else if (!named_find(s->names, digest))
        refute_if_old(s, folder, name, "is named by no event and no manifest", f);
}

static void check_tmp(const struct verify_store *s, const char *folder, const char *name,
                      struct findings *f)
{
    f->looked[VERIFY_UNNAMED]++;
    refute_if_old(s, folder, name, "was left by a process that died", f);
}

static bool is_known_run(const struct verify_store *s, const char *name)
{
    return strset_find(s->runs, slice_str(name)) != STRSET_NONE;
}

static void check_run(const struct verify_store *s, const char *folder, const char *name,
                      struct findings *f)
{
    f->looked[VERIFY_UNNAMED]++;
    if (!is_known_run(s, name))
        refute_if_old(s, folder, name, "is the result of a run that no event speaks of", f);
}

/* A run that was closed before its result came out has it in the store alone. */
static int take_results(const struct verify_store *s, struct named *names, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    for (size_t i = 0; i < s->runs->n; i++) {
        struct err none = {0};

        buf_reset(&text);
        if (artifacts_get_run(s->artifacts, s->runs->items[i], &text, &none) == 0)
            named_take_bytes(names, buf_slice(&text), s->runs->items[i]);
        else if (none.code != ERR_NOTFOUND && none.code != ERR_INVAL)
            return err_set(err, none.code, none.next, "%s", none.msg);
    }
    return 0;
}

int store_check_unnamed(const struct verify_store *s, struct named *names, struct findings *f,
                        struct err *err)
{
    enum { FOLDERS = 256 };

    if (take_results(s, names, err))
        return -1;
    for (int i = 0; i < FOLDERS; i++) {
        char folder[16];

        snprintf(folder, sizeof(folder), "sha256/%02x", i);
        if (each_entry(s, folder, check_file, f, err))
            return -1;
    }
    return each_entry(s, "tmp", check_tmp, f, err) || each_entry(s, "runs", check_run, f, err) ? -1
                                                                                               : 0;
}
