#include "agents/train/order.h"

#include <math.h>

static void add_strings(struct json *obj, const char *key, struct string_list list)
{
    struct json *array = json_set(obj, key, json_array());

    for (size_t i = 0; i < list.n; i++)
        json_add_str(array, list.items[i]);
}

static void add_snapshots(struct json *obj, const char *key, struct snapshot_ref_list list)
{
    struct json *array = json_set(obj, key, json_array());

    for (size_t i = 0; i < list.n; i++) {
        struct json *ref = json_add(array, json_object());

        json_set_str(ref, "snapshot", list.items[i].snapshot);
        json_set_str(ref, "event", list.items[i].event);
        json_set_int(ref, "rows", list.items[i].rows);
    }
}

struct json *order_to_json(const struct order *o)
{
    struct json *j = json_object();

    json_set_str(j, "line", o->line);
    json_set_str(j, "run", o->run);
    json_set_str(j, "instance", o->instance);
    json_set_str(j, "pipeline_sha256", o->pipeline_sha256);
    json_set_int(j, "attempt", o->attempt);
    add_snapshots(j, "snapshots", o->snapshots);
    json_set_str(j, "artifacts", o->artifacts);
    json_set_str(j, "key", o->key);
    json_set_str(j, "folder", o->folder);
    json_set_str(j, "trainer", o->trainer);
    add_strings(j, "command", o->command);
    json_set_int(j, "threads", o->threads);
    return j;
}

static int take(const struct json *j, const char *key, struct arena *arena, const char **ret,
                struct err *err)
{
    const char *s = json_get_str(j, key, NULL);

    if (!s || !s[0])
        return err_inval(err, "order: %s is missing", key);
    *ret = arena_strdup(arena, s);
    return 0;
}

static int take_lists(const struct json *j, struct arena *arena, struct order *o, struct err *err)
{
    const struct json *snapshots = json_get(j, "snapshots"), *command = json_get(j, "command");
    struct snapshot_ref *refs = arena_alloc(arena, (json_len(snapshots) + 1) * sizeof(*refs));
    const char **words = arena_alloc(arena, (json_len(command) + 1) * sizeof(*words));

    for (size_t i = 0; i < json_len(snapshots); i++) {
        const struct json *ref = json_at(snapshots, i);

        if (take(ref, "snapshot", arena, &refs[i].snapshot, err))
            return -1;
        refs[i].event = arena_strdup(arena, json_get_str(ref, "event", NULL));
        refs[i].rows = json_get_int(ref, "rows", 0);
    }
    for (size_t i = 0; i < json_len(command); i++)
        words[i] = arena_strdup(arena, json_str(json_at(command, i), ""));
    o->snapshots = (struct snapshot_ref_list){refs, json_len(snapshots)};
    o->command = (struct string_list){words, json_len(command)};
    return o->snapshots.n ? 0 : err_inval(err, "order: snapshots are missing");
}

int order_from_json(const struct json *j, struct arena *arena, struct order *ret, struct err *err)
{
    struct order o = {.attempt = json_get_int(j, "attempt", 1),
                      .threads = json_get_int(j, "threads", 0)};

    if (take(j, "line", arena, &o.line, err) || take(j, "run", arena, &o.run, err) ||
        take(j, "instance", arena, &o.instance, err) ||
        take(j, "pipeline_sha256", arena, &o.pipeline_sha256, err) ||
        take(j, "artifacts", arena, &o.artifacts, err) || take(j, "key", arena, &o.key, err) ||
        take(j, "folder", arena, &o.folder, err) || take(j, "trainer", arena, &o.trainer, err))
        return -1;
    if (take_lists(j, arena, &o, err))
        return -1;
    *ret = o;
    return 0;
}

static void add_values(struct json *obj, const char *key, struct named_value_list list)
{
    struct json *array = json_set(obj, key, json_array());

    for (size_t i = 0; i < list.n; i++) {
        struct json *v;

        if (!isfinite(list.items[i].value))
            continue;
        v = json_add(array, json_object());
        json_set_str(v, "name", list.items[i].name);
        json_set_num(v, "value", list.items[i].value);
    }
}

struct json *result_to_json(const struct training_finished *f)
{
    struct json *j = json_object();

    json_set_str(j, "line", f->line);
    json_set_str(j, "run", f->run);
    json_set_int(j, "attempt", f->attempt);
    json_set_str(j, "status", f->status);
    json_set_str(j, "reason", f->reason);
    json_set_str(j, "model", f->model);
    json_set_str(j, "trainer", f->trainer);
    json_set_str(j, "pipeline_sha256", f->pipeline_sha256);
    add_snapshots(j, "snapshots", f->snapshots);
    json_set_int(j, "trained_rows", f->trained_rows);
    json_set_int(j, "valid_rows", f->valid_rows);
    json_set_int(j, "rounds", f->rounds);
    json_set_int(j, "trials", f->trials);
    add_values(j, "params", f->params);
    add_values(j, "metrics", f->metrics);
    json_set_num(j, "seconds", f->seconds);
    json_set_num(j, "cpu_seconds", f->cpu_seconds);
    json_set_int(j, "max_rss_bytes", f->max_rss_bytes);
    json_set_str(j, "instance", f->instance);
    return j;
}
