/* From text to struct: the file's own keys, the dataset's, and the order of the steps. */
#include <math.h>

#include "common/digest.h"
#include "common/pipeline_internal.h"

#define AT(member) offsetof(struct pipeline, member)

static const char *const api_versions[] = {"relearn/v1", NULL};
static const char *const kinds[] = {"Pipeline", NULL};
static const char *const tasks[] = {[TASK_BINARY] = "binary",
                                    [TASK_MULTICLASS] = "multiclass",
                                    [TASK_REGRESSION] = "regression",
                                    NULL};
static const char *const split_words[] = {[SPLIT_ORDER] = "order", [SPLIT_HASH] = "hash", NULL};

/* Control characters would travel into logs and terminals. */
bool pipeline__is_text(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool pipeline__is_word(const char *s)
{
    if (!is_alnum(s[0]) && s[0] != '_')
        return false;
    if (s[0] >= '0' && s[0] <= '9')
        return false;
    for (; *s; s++)
        if (!is_alnum(*s) && !strchr("_.-", *s))
            return false;
    return true;
}

/* Dataset names are keys of a topic and parts of folders and addresses. */
static bool is_dataset_name(const char *s)
{
    size_t n = strlen(s);

    if (n < 1 || n > 128 || !is_alnum(s[0]))
        return false;
    for (; *s; s++)
        if (!is_alnum(*s) && !strchr("._-", *s))
            return false;
    return true;
}

const struct key pipeline__column_name = {.kind = KEY_TEXT, .must = "be the name of a column"};

static int read_segments(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key item = {
        .kind = KEY_TEXT,
        .is_valid = segment_is_valid,
        .must = "be a segment: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with . or -"};
    struct pipeline *p = target;

    return pipeline__texts(rd, n, &item, 1, PIPELINE_LIST_MAX, &p->segments, &p->n_segments);
}

static int read_classes(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key item = {.kind = KEY_TEXT, .must = "be a value of the label"};
    struct pipeline *p = target;

    return pipeline__texts(rd, n, &item, 2, PIPELINE_MAX_CLASSES, &p->classes, &p->n_classes);
}

static const struct key dataset_keys[] = {
    {.name = "name",
     .kind = KEY_TEXT,
     .offset = AT(dataset),
     .is_valid = is_dataset_name,
     .must = "be 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or digit",
     .needed = "the dataset that this pipeline learns from"},
    {.name = "label",
     .kind = KEY_TEXT,
     .offset = AT(label),
     .must = "be the name of a column",
     .needed = "the column that is to be predicted"},
    {.name = "time", .kind = KEY_TEXT, .offset = AT(time), .must = "be the name of a column"},
    {.name = "segment", .kind = KEY_TEXT, .offset = AT(segment), .must = "be the name of a column"},
    {.name = "segments", .kind = KEY_CUSTOM, .read = read_segments},
    {.name = "max_segments",
     .kind = KEY_INT,
     .offset = AT(max_segments),
     .min = 1,
     .max = 10.0 * PIPELINE_MAX_SEGMENTS},
    {0},
};

static const struct key split_keys[] = {
    {.name = "by", .kind = KEY_WORD, .offset = AT(split_by), .words = split_words},
    {.name = "valid",
     .kind = KEY_NUMBER,
     .offset = AT(valid),
     .min = 0,
     .max = 1,
     .is_open_max = true},
    {.name = "test",
     .kind = KEY_NUMBER,
     .offset = AT(test),
     .min = 0,
     .max = 1,
     .is_open_min = true,
     .is_open_max = true},
    {0},
};

static const struct key root_keys[] = {
    {.name = "apiVersion",
     .kind = KEY_WORD,
     .offset = KEY_NOT_STORED,
     .words = api_versions,
     .needed = "relearn/v1"},
    {.name = "kind",
     .kind = KEY_WORD,
     .offset = KEY_NOT_STORED,
     .words = kinds,
     .needed = "Pipeline"},
    {.name = "name",
     .kind = KEY_TEXT,
     .offset = AT(name),
     .is_valid = pipeline_name_is_valid,
     .must = "be 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
     .needed = "what the pipeline is called"},
    {.name = "dataset", .kind = KEY_MAP, .keys = dataset_keys, .needed = "{name: ..., label: ...}"},
    {.name = "task",
     .kind = KEY_WORD,
     .offset = AT(task),
     .words = tasks,
     .needed = "binary, multiclass or regression"},
    {.name = "positive",
     .kind = KEY_TEXT,
     .offset = AT(positive),
     .must = "be a value of the label"},
    {.name = "classes", .kind = KEY_CUSTOM, .read = read_classes},
    {.name = "contract", .kind = KEY_MAP, .keys = pipeline__contract_keys},
    {.name = "split", .kind = KEY_MAP, .keys = split_keys},
    {.name = "train", .kind = KEY_MAP, .keys = pipeline__train_keys},
    {.name = "plan", .kind = KEY_MAP, .keys = pipeline__plan_keys},
    {.name = "evaluate", .kind = KEY_MAP, .keys = pipeline__evaluate_keys},
    {.name = "gate", .kind = KEY_MAP, .keys = pipeline__gate_keys},
    {.name = "deploy", .kind = KEY_MAP, .keys = pipeline__deploy_keys},
    {.name = "monitor", .kind = KEY_MAP, .keys = pipeline__monitor_keys},
    {0},
};

int pipeline_parse(struct slice yaml, const char *what, struct pipeline **ret, struct err *err)
{
    struct arena tree = {0};
    struct err unused = {0};
    struct pipeline *p = xcalloc(1, sizeof(*p));
    struct reader rd = {.what = what, .p = p, .err = err ? err : &unused};
    int rc;

    if (yaml.n > PIPELINE_MAX_BYTES) {
        rc = err_set(err, ERR_LIMIT, NEXT_REJECT, "%s: %zu bytes; a pipeline may have %zu", what,
                     yaml.n, PIPELINE_MAX_BYTES);
    } else {
        rc = yaml_parse(yaml, what, &tree, &rd.root, rd.err);
    }
    if (!rc && yaml_is_null(rd.root))
        rc = err_inval(err, "%s:1: empty; a pipeline begins with 'apiVersion: relearn/v1'", what);
    pipeline__defaults(p);
    if (!rc)
        rc = pipeline__map(&rd, rd.root, root_keys, p);
    if (!rc) {
        pipeline__leave(&rd, 0);
        rc = pipeline__check(&rd);
    }
    arena_fini(&tree);
    if (rc) {
        pipeline_free(p);
        return -1;
    }
    digest_bytes(yaml.p, yaml.n, p->sha256);
    *ret = p;
    return 0;
}

void pipeline_free(struct pipeline *p)
{
    if (!p)
        return;
    arena_fini(&p->arena);
    free(p);
}
