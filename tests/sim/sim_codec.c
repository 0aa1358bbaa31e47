/* Records on their way.  In most histories the bytes of a value are a ticket for a copy of the
 * record that all readers share; in the others every writer and every reader goes through Avro.
 * Codecs and parsed pipelines outlive the histories: making them anew says nothing about the
 * protocol. */
#include <string.h>
#include <uthash.h>

#include "common/mem.h"
#include "tests/sim/sim.h"

enum { CODECS_MAX = 2 * SIM_PROCS_MAX };
static const char MAGIC[8] = "SIMVALUE";
struct ticket {
    char magic[8];
    uint64_t index, record;
};

int __real_codec_new(struct codec **ret, struct err *err);
int __real_codec_encode(struct codec *c, enum record r, const void *rec, struct buf *out,
                        struct err *err);
int __real_codec_decode(struct codec *c, enum record expected, struct slice framed,
                        struct arena *arena, const void **ret, struct err *err);
int __wrap_codec_new(struct codec **ret, struct err *err);
void __wrap_codec_free(struct codec *c);
int __wrap_codec_encode(struct codec *c, enum record r, const void *rec, struct buf *out,
                        struct err *err);
int __wrap_codec_decode(struct codec *c, enum record expected, struct slice framed,
                        struct arena *arena, const void **ret, struct err *err);

static struct codec *spare[CODECS_MAX];
static size_t n_spare;
static const void **records;
static size_t n_records, cap_records;

/* ---- a copy of a record, as if it had been encoded and decoded ---- */

static void copy_fields(const struct record_fields *t, const void *from, void *to);

static void *copy_list(const struct field *f, const void *items, size_t n)
{
    size_t size = f->type == FIELD_STRINGS   ? sizeof(char *)
                  : f->type == FIELD_DOUBLES ? sizeof(double)
                  : f->type == FIELD_FLOATS  ? sizeof(float)
                                             : f->of->size;
    char *copy = arena_alloc(&sim.arena, (n + 1) * size);
    if (n)
        memcpy(copy, items, n * size);
    for (size_t i = 0; i < n && f->type == FIELD_STRINGS; i++)
        ((char **)(void *)copy)[i] = arena_strdup(&sim.arena, ((const char *const *)items)[i]);
    for (size_t i = 0; i < n && f->type == FIELD_RECORDS; i++)
        copy_fields(f->of, (const char *)items + i * size, copy + i * size);
    return copy;
}

static void copy_field(const struct field *f, const char *from, char *to)
{
    struct list {
        const void *items;
        size_t n;
    } list;
    const char *text;
    switch (f->type) {
    case FIELD_STRING:
        memcpy(&text, from + f->offset, sizeof(text));
        text = text || f->optional ? arena_strdup(&sim.arena, text) : "";
        memcpy(to + f->offset, &text, sizeof(text));
        break;
    case FIELD_BYTES:
        memcpy(&list, from + f->offset, sizeof(list));
        list.items = list.items ? arena_memdup(&sim.arena, list.items, list.n) : NULL;
        memcpy(to + f->offset, &list, sizeof(list));
        break;
    case FIELD_STRINGS:
    case FIELD_DOUBLES:
    case FIELD_FLOATS:
    case FIELD_RECORDS:
        memcpy(&list, from + f->offset, sizeof(list));
        list.items = copy_list(f, list.items, list.n);
        memcpy(to + f->offset, &list, sizeof(list));
        break;
    default:
        break;
    }
}

static void copy_fields(const struct record_fields *t, const void *from, void *to)
{
    memcpy(to, from, t->size);
    for (size_t i = 0; i < t->n; i++)
        copy_field(&t->fields[i], from, to);
}

/* ---- the codec's functions ---- */

int __wrap_codec_new(struct codec **ret, struct err *err)
{
    if (n_spare) {
        *ret = spare[--n_spare];
        return 0;
    }
    return __real_codec_new(ret, err);
}

void __wrap_codec_free(struct codec *c)
{
    if (!c)
        return;
    BUG_ON(n_spare == CODECS_MAX);
    spare[n_spare++] = c;
}

int __wrap_codec_encode(struct codec *c, enum record r, const void *rec, struct buf *out,
                        struct err *err)
{
    if (sim.plan->is_full)
        return __real_codec_encode(c, r, rec, out, err);
    const struct record_fields *t = record_fields(r);
    void *copy = arena_alloc(&sim.arena, t->size);
    struct ticket ticket = {.index = n_records, .record = (uint64_t)r};
    memcpy(ticket.magic, MAGIC, sizeof(MAGIC));
    copy_fields(t, rec, copy);
    records = xgrow(records, &cap_records, n_records + 1, sizeof(void *));
    records[n_records++] = copy;
    buf_add(out, &ticket, sizeof(ticket));
    return 0;
}

static const void *shared(enum record r, struct slice value)
{
    struct ticket t;
    if (value.n != sizeof(t) || memcmp(value.p, MAGIC, sizeof(MAGIC)) != 0)
        return NULL;
    memcpy(&t, value.p, sizeof(t));
    return t.record == (uint64_t)r && t.index < n_records ? records[t.index] : NULL;
}

int __wrap_codec_decode(struct codec *c, enum record expected, struct slice framed,
                        struct arena *arena, const void **ret, struct err *err)
{
    *ret = shared(expected, framed);
    return *ret ? 0 : __real_codec_decode(c, expected, framed, arena, ret, err);
}

static struct codec *own_codec(void)
{
    static struct codec *c;
    struct err err = {0};
    if (!c && __real_codec_new(&c, &err))
        sim_wrong("codec: %s", err.msg);
    return c;
}

const void *sim_decode(enum record r, struct slice value)
{
    const void *rec = shared(r, value);
    struct err err = {0};
    if (!rec && __real_codec_decode(own_codec(), r, value, &sim.arena, &rec, &err))
        return NULL;
    return rec;
}

void sim_encode(enum record r, const void *rec, struct buf *out)
{
    struct err err = {0};
    if (__wrap_codec_encode(own_codec(), r, rec, out, &err))
        sim_wrong("encode: %s", err.msg);
}

void sim_codec_reset(void)
{
    free_ptr(&records);
    n_records = cap_records = 0;
}

/* ---- pipelines ---- */

int __real_pipeline_parse(struct slice yaml, const char *what, struct pipeline **ret,
                          struct err *err);
int __wrap_pipeline_parse(struct slice yaml, const char *what, struct pipeline **ret,
                          struct err *err);
void __wrap_pipeline_free(struct pipeline *p);

struct parsed {
    char *text;
    struct pipeline *p;
    UT_hash_handle hh;
};

int __wrap_pipeline_parse(struct slice yaml, const char *what, struct pipeline **ret,
                          struct err *err)
{
    static struct parsed *all;
    struct parsed *p = NULL;
    HASH_FIND(hh, all, yaml.p, yaml.n, p);
    if (!p) {
        struct pipeline *made = NULL;
        if (__real_pipeline_parse(yaml, what, &made, err)) {
            sim_wrong("the pipeline: %s", err->msg);
            return -1;
        }
        p = xcalloc(1, sizeof(*p));
        p->text = xstrndup(yaml.p, yaml.n);
        p->p = made;
        HASH_ADD_KEYPTR(hh, all, p->text, yaml.n, p);
    }
    *ret = p->p;
    return 0;
}

void __wrap_pipeline_free(struct pipeline *p)
{
    (void)p; /* kept */
}
