#include "tests/support/make_event.h"

#include "common/digest.h"

struct list { /* every list of common/events.h looks like this */
    const void *items;
    size_t n;
};

static void copy_fields(const struct record_fields *fields, const void *from, void *to,
                        struct arena *arena);

static struct list copy_list(struct list from, size_t size_bytes, struct arena *arena)
{
    return (struct list){from.n ? arena_memdup(arena, from.items, from.n * size_bytes) : NULL,
                         from.n};
}

static struct list copy_strings(struct list from, struct arena *arena)
{
    const char *const *strings = from.items;
    const char **copies = arena_alloc(arena, (from.n + 1) * sizeof(*copies));

    for (size_t i = 0; i < from.n; i++)
        copies[i] = arena_strdup(arena, strings[i]);
    return (struct list){from.n ? copies : NULL, from.n};
}

static struct list copy_records(struct list from, const struct record_fields *of,
                                struct arena *arena)
{
    char *copies = arena_alloc(arena, (from.n + 1) * of->size);

    for (size_t i = 0; i < from.n; i++)
        copy_fields(of, (const char *)from.items + i * of->size, copies + i * of->size, arena);
    return (struct list){from.n ? copies : NULL, from.n};
}

static void copy_field(const struct field *f, const char *from, char *to, struct arena *arena)
{
    struct list list;

    switch (f->type) {
    case FIELD_STRING:
        memcpy(&list.items, from, sizeof(list.items));
        list.items = arena_strdup(arena, list.items);
        memcpy(to, &list.items, sizeof(list.items));
        return;
    case FIELD_LONG:
        memcpy(to, from, sizeof(int64_t));
        return;
    case FIELD_DOUBLE:
        memcpy(to, from, sizeof(double));
        return;
    case FIELD_BOOL:
        memcpy(to, from, sizeof(bool));
        return;
    default:
        break;
    }
    memcpy(&list, from, sizeof(list));
    if (f->type == FIELD_STRINGS)
        list = copy_strings(list, arena);
    else if (f->type == FIELD_RECORDS)
        list = copy_records(list, f->of, arena);
    else
        list = copy_list(list,
                         f->type == FIELD_DOUBLES  ? sizeof(double)
                         : f->type == FIELD_FLOATS ? sizeof(float)
                                                   : 1,
                         arena);
    memcpy(to, &list, sizeof(list));
}

static void copy_fields(const struct record_fields *fields, const void *from, void *to,
                        struct arena *arena)
{
    for (size_t i = 0; i < fields->n; i++)
        copy_field(&fields->fields[i], (const char *)from + fields->fields[i].offset,
                   (char *)to + fields->fields[i].offset, arena);
}

const void *record_copy(enum record r, const void *rec, struct arena *arena)
{
    void *copy = arena_alloc(arena, record_struct_size(r));

    copy_fields(record_fields(r), rec, copy, arena);
    return copy;
}

struct event *make_event(const struct event_parts *parts)
{
    static int64_t next_offset;
    struct event *ev = xcalloc(1, sizeof(*ev));
    char id[ID_SIZE];

    id_from_cause(record_topic(parts->type), parts->cause ? parts->cause->id : "",
                  parts->about ? parts->about : "", id);
    ev->type = parts->type;
    ev->rec = record_copy(parts->type, parts->rec, &ev->arena);
    ev->id = arena_strdup(&ev->arena, parts->id ? parts->id : id);
    ev->cause = parts->cause ? arena_strdup(&ev->arena, parts->cause->id) : NULL;
    ev->correlation = arena_strdup(&ev->arena, parts->cause ? parts->cause->correlation : ev->id);
    ev->source = "test";
    ev->time_unix_us = parts->time_unix_ms * 1000;
    ev->hops = parts->cause ? parts->cause->hops + 1 : parts->hops;
    ev->key =
        arena_strdup(&ev->arena, parts->key ? parts->key : record_own_key(parts->type, ev->rec));
    ev->offset = next_offset++;
    return ev;
}
