/* The environment of an operator's trainer: what SageMaker's toolkit sets, and PATH. */
#include <ctype.h>
#include <math.h>
#include <unistd.h>

#include "agents/train/layout.h"

enum { FIXED_NAMES = 32 }; /* at most, beside the parameters */

struct env {
    const char **items;
    size_t n, cap;
    struct arena *arena;
};

static void add(struct env *e, const char *name, const char *value)
{
    BUG_ON(e->n + 1 >= e->cap);
    e->items[e->n++] = arena_printf(e->arena, "%s=%s", name, value);
}

static void add_json(struct env *e, const char *name, struct json *j)
{
    CLEANUP(buf_fini) struct buf text = {0};

    json_write(j, 0, false, &text);
    add(e, name, text.data);
    json_free(j);
}

/* As the toolkit does it: SM_HP_MAX_DEPTH. */
static void add_param(struct env *e, const struct param *p)
{
    char *name = arena_printf(e->arena, "SM_HP_%s", p->name);

    for (char *c = name; *c; c++)
        *c = isalnum((unsigned char)*c) ? (char)toupper((unsigned char)*c) : '_';
    add(e, name, p->text);
}

static struct json *params_json(const struct trial *t)
{
    struct json *j = json_object();

    for (size_t i = 0; i < t->n; i++) {
        if (isfinite(t->params[i].number))
            json_set_num(j, t->params[i].name, t->params[i].number);
        else
            json_set_str(j, t->params[i].name, t->params[i].text);
    }
    return j;
}

static struct json *one_string(const char *s)
{
    struct json *array = json_array();

    json_add_str(array, s);
    return array;
}

static void add_channels(struct env *e, const char *base, bool has_valid)
{
    struct json *names = one_string("train");
    const char *train = arena_printf(e->arena, "%s/input/data/train", base);
    const char *valid = arena_printf(e->arena, "%s/input/data/validation", base);

    add(e, "SM_CHANNEL_TRAIN", train);
    if (has_valid) {
        json_add_str(names, "validation");
        add(e, "SM_CHANNEL_VALIDATION", valid);
    }
    add_json(e, "SM_CHANNELS", names);
}

static void add_folders(struct env *e, const char *base)
{
    static const struct {
        const char *name, *below;
    } folders[] = {
        {"SM_MODEL_DIR", "model"},
        {"SM_OUTPUT_DIR", "output"},
        {"SM_OUTPUT_DATA_DIR", "output/data"},
        {"SM_INPUT_DIR", "input"},
        {"SM_INPUT_CONFIG_DIR", "input/config"},
        {"TMPDIR", "tmp"},
        {"HOME", "tmp"},
    };

    add(e, "SAGEMAKER_BASE_DIR", base);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        add(e, folders[i].name, arena_printf(e->arena, "%s/%s", base, folders[i].below));
}

const char *const *layout_env(const struct fit_input *in, const struct trial *t, const char *base,
                              struct arena *arena)
{
    struct env e = {.cap = t->n + FIXED_NAMES, .arena = arena};
    const char *path = getenv("PATH");
    long cpus = in->order->threads > 0 ? (long)in->order->threads : sysconf(_SC_NPROCESSORS_ONLN);

    e.items = arena_alloc(arena, (e.cap + 1) * sizeof(*e.items));
    add(&e, "PATH", path ? path : "/usr/local/bin:/usr/bin:/bin");
    add(&e, "LANG", "C.UTF-8");
    add(&e, "OMP_WAIT_POLICY",
        "PASSIVE"); /* threads that wait by spinning take the other agents' cores */
    add_folders(&e, base);
    add_channels(&e, base, in->valid->rows > 0);
    add(&e, "TRAINING_JOB_NAME", in->order->run);
    add(&e, "SM_CURRENT_HOST", "algo-1");
    add_json(&e, "SM_HOSTS", one_string("algo-1"));
    add(&e, "SM_NUM_CPUS", arena_printf(arena, "%ld", cpus < 1 ? 1 : cpus));
    add(&e, "SM_NUM_GPUS", "0");
    add(&e, "SM_LOG_LEVEL", "20");
    add_json(&e, "SM_HPS", params_json(t));
    for (size_t i = 0; i < t->n; i++)
        add_param(&e, &t->params[i]);
    return e.items;
}
