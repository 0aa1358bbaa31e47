#include "tests/support/sample_events.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum how { HOW_EMPTY = 0, HOW_FULL, HOW_RANDOM };

struct sampler {
    struct arena *arena;
    struct rng rng;
    enum how how;
    int64_t counter; /* full: every value is another one */
};

static void fill(struct sampler *s, const struct record_fields *t, void *rec);

static const char *a_text(struct sampler *s, const char *name)
{
    static const char *const words[] = {"",
                                        "a",
                                        "champion",
                                        "electricity/nsw",
                                        "\xc3\xa9t\xc3\xa9",
                                        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
                                        "\xf0\x9f\x8c\x8d",
                                        "line\nbreak \"quoted\""};

    if (s->how == HOW_FULL)
        return arena_printf(s->arena, "%s-%lld", name, (long long)++s->counter);
    if (rng_below(&s->rng, 20) == 0) {
        size_t n = rng_below(&s->rng, 20000);
        char *text = arena_alloc(s->arena, n + 1);

        memset(text, 'x', n);
        return text;
    }
    return arena_strdup(s->arena, words[rng_below(&s->rng, ARRAY_LEN(words))]);
}

static int64_t a_long(struct sampler *s)
{
    static const int64_t edges[] = {0,   1,         -1,        63,        64,           -64,
                                    -65, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN + 1};

    if (s->how == HOW_FULL)
        return 1700000000000 + ++s->counter;
    return edges[rng_below(&s->rng, ARRAY_LEN(edges))];
}

static double a_double(struct sampler *s)
{
    static const double edges[] = {0, -0.0, 1, -1.5, 0.1, DBL_MAX, -DBL_MAX, DBL_MIN, 5e-324};

    if (s->how == HOW_FULL)
        return 0.1 + (double)++s->counter;
    return edges[rng_below(&s->rng, ARRAY_LEN(edges))];
}

static void fill_list(struct sampler *s, const struct field *f, void *member)
{
    size_t n = s->how == HOW_FULL ? 2 : s->how == HOW_EMPTY ? 0 : rng_below(&s->rng, 4);
    size_t size = f->type == FIELD_RECORDS   ? f->of->size
                  : f->type == FIELD_STRINGS ? sizeof(char *)
                  : f->type == FIELD_FLOATS  ? sizeof(float)
                                             : sizeof(double);
    char *items = n ? arena_alloc(s->arena, n * size) : NULL;
    struct string_list l = {.items = (const char *const *)(const void *)items, .n = n};

    for (size_t i = 0; i < n; i++) {
        void *item = items + i * size;

        if (f->type == FIELD_RECORDS)
            fill(s, f->of, item);
        else if (f->type == FIELD_STRINGS)
            *(const char **)item = a_text(s, f->name);
        else if (f->type == FIELD_FLOATS)
            *(float *)item = i == 1 ? NAN : (float)rng_below(&s->rng, 1000) / 7.0F;
        else
            *(double *)item = a_double(s);
    }
    memcpy(member, &l, sizeof(l)); /* all lists are laid out alike */
}

static void fill(struct sampler *s, const struct record_fields *t, void *rec)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[i];
        void *p = (char *)rec + f->offset;
        bool absent = s->how == HOW_EMPTY || (s->how == HOW_RANDOM && rng_below(&s->rng, 3) == 0);

        switch (f->type) {
        case FIELD_STRING:
            *(const char **)p =
                absent && (f->optional || s->how == HOW_EMPTY) ? NULL : a_text(s, f->name);
            break;
        case FIELD_LONG:
            *(int64_t *)p = absent ? (f->optional ? ABSENT_I64 : 0) : a_long(s);
            break;
        case FIELD_DOUBLE:
            *(double *)p = absent ? (f->optional ? (double)NAN : 0) : a_double(s);
            break;
        case FIELD_BOOL:
            *(bool *)p = !absent;
            break;
        case FIELD_BYTES: {
            const char *text = absent ? NULL : a_text(s, f->name);
            *(struct bytes *)p =
                (struct bytes){.p = text, .n = text ? strlen(text) + 1 : 0}; /* with its NUL */
            break;
        }
        default:
            fill_list(s, f, p);
        }
    }
}

static const void *sample(enum record r, struct arena *arena, enum how how, struct rng *rng)
{
    struct sampler s = {.arena = arena, .how = how};
    void *rec = arena_alloc(arena, record_struct_size(r));

    if (rng)
        s.rng = *rng;
    else
        rng_seed(&s.rng, (uint64_t)r);
    fill(&s, record_fields(r), rec);
    if (rng)
        *rng = s.rng;
    return rec;
}

const void *sample_full(enum record r, struct arena *arena)
{
    return sample(r, arena, HOW_FULL, NULL);
}

const void *sample_empty(enum record r, struct arena *arena)
{
    return sample(r, arena, HOW_EMPTY, NULL);
}

const void *sample_random(enum record r, struct arena *arena, struct rng *rng)
{
    return sample(r, arena, HOW_RANDOM, rng);
}
