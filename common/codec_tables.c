/* The compiled-in schemas: their texts (linked in by ld -b binary, without a NUL), what they say a
 * field is when nobody says anything, and the check that they and the field tables tell the same.
 */
#include "common/codec_internal.h"

#include "common/json.h"

#include <math.h>
#include <pthread.h>

#define NAMESPACE "relearn.v1"
#define SCHEMA(r, name)                                                                            \
    extern const char binary_##name##_start[] __asm__("_binary_schemas_" #name "_avsc_start");     \
    extern const char binary_##name##_end[] __asm__("_binary_schemas_" #name "_avsc_end");
#define SCHEMAS(X)                                                                                 \
    X(RECORD_PIPELINE_DECLARED, pipeline_declared)                                                 \
    X(RECORD_DATASET_PUBLISHED, dataset_published)                                                 \
    X(RECORD_DATASET_INGESTED, dataset_ingested)                                                   \
    X(RECORD_DRIFT_DETECTED, drift_detected)                                                       \
    X(RECORD_OPERATOR_COMMANDED, operator_commanded)                                               \
    X(RECORD_TRAINING_PLANNED, training_planned)                                                   \
    X(RECORD_TRAINING_FINISHED, training_finished)                                                 \
    X(RECORD_MODEL_EVALUATED, model_evaluated)                                                     \
    X(RECORD_GATE_DECIDED, gate_decided)                                                           \
    X(RECORD_DEPLOYMENT_CHANGED, deployment_changed)                                               \
    X(RECORD_SERVING_CHANGED, serving_changed)                                                     \
    X(RECORD_PREDICTION_SERVED, prediction_served)                                                 \
    X(RECORD_LABEL_OBSERVED, label_observed)                                                       \
    X(RECORD_HEALTH_MEASURED, health_measured)                                                     \
    X(RECORD_TRAINING_PROGRESSED, training_progressed)                                             \
    X(RECORD_DEAD_LETTERED, dead_lettered)

SCHEMAS(SCHEMA)

#define MAX_TABLES 64 /* sixteen records and what is nested in them */

/* Made once, never freed, never changed afterwards: any thread may read. */
static struct {
    char *text[RECORD_COUNT];
    struct {
        const struct record_fields *table;
        void *rec;
    } defaults[MAX_TABLES];
    size_t n_defaults;
} tables;

static const struct json *field_named(const struct json *schema, const char *name)
{
    const struct json *fields = json_get(schema, "fields");

    for (size_t i = 0; i < json_len(fields); i++)
        if (strcmp(json_get_str(json_at(fields, i), "name", ""), name) == 0)
            return json_at(fields, i);
    return NULL;
}

void codec__set_absent(const struct field *f, void *rec)
{
    void *p = field_of(rec, f);

    switch (f->type) {
    case FIELD_STRING:
        *(const char **)p = NULL;
        break;
    case FIELD_LONG:
        *(int64_t *)p = ABSENT_I64;
        break;
    case FIELD_DOUBLE:
        *(double *)p = (double)NAN;
        break;
    case FIELD_BOOL:
        *(bool *)p = false;
        break;
    case FIELD_BYTES:
        *(struct bytes *)p = (struct bytes){0};
        break;
    default:
        field_set_list(rec, f, NULL, 0);
    }
}

static void set_default(const struct field *f, const struct json *value, void *rec)
{
    void *p = field_of(rec, f);

    codec__set_absent(f, rec);
    if (json_is_string(value) && f->type == FIELD_STRING)
        *(const char **)p = xstrdup(json_str(value, ""));
    else if (json_is_number(value) && f->type == FIELD_LONG)
        *(int64_t *)p = json_int(value, 0);
    else if (json_is_number(value) && f->type == FIELD_DOUBLE)
        *(double *)p = json_num(value, 0);
    else if (json_is_bool(value) && f->type == FIELD_BOOL)
        *(bool *)p = json_bool(value, false);
}

static void add_defaults(const struct record_fields *t, const struct json *schema)
{
    char *rec;

    for (size_t i = 0; i < tables.n_defaults; i++)
        if (tables.defaults[i].table == t)
            return;
    BUG_ON(tables.n_defaults == MAX_TABLES);
    rec = xcalloc(1, t->size);
    for (size_t i = 0; i < t->n; i++) {
        const struct json *f = field_named(schema, t->fields[i].name);

        set_default(&t->fields[i], json_get(f, "default"), rec);
        if (t->fields[i].of)
            add_defaults(t->fields[i].of, json_get(json_get(f, "type"), "items"));
    }
    tables.defaults[tables.n_defaults].table = t;
    tables.defaults[tables.n_defaults++].rec = rec;
}

static void make_tables(void)
{
#define TEXT(r, name)                                                                              \
    tables.text[r] =                                                                               \
        xstrndup(binary_##name##_start, (size_t)(binary_##name##_end - binary_##name##_start));
    SCHEMAS(TEXT)
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        CLEANUP(json_freep)
        struct json *schema = json_parse(slice_str(tables.text[r]), "schema", NULL);

        add_defaults(record_fields((enum record)r), schema);
    }
}

static void need_tables(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_tables);
}

const char *codec_schema_text(enum record r)
{
    need_tables();
    return r > RECORD_NONE && r < RECORD_COUNT ? tables.text[r] : NULL;
}

const void *codec__defaults(const struct record_fields *t)
{
    need_tables();
    for (size_t i = 0; i < tables.n_defaults; i++)
        if (tables.defaults[i].table == t)
            return tables.defaults[i].rec;
    BUG_ON(true);
}

/* --- do struct, table and schema agree? ------------------------------------------------------ */

static int check_record(const struct record_fields *t, const struct json *schema, struct err *err);

static const char *type_name(const struct field *f)
{
    switch (f->type) {
    case FIELD_STRING:
        return "string";
    case FIELD_LONG:
        return "long";
    case FIELD_DOUBLE:
        return "double";
    case FIELD_BOOL:
        return "boolean";
    case FIELD_BYTES:
        return "bytes";
    case FIELD_STRINGS:
        return "string";
    case FIELD_DOUBLES:
        return "double";
    case FIELD_FLOATS:
        return "float";
    case FIELD_RECORDS:
        return f->of->name;
    }
    return "";
}

static bool is_list(const struct field *f)
{
    return f->type >= FIELD_STRINGS;
}

static bool is_type(const struct json *type, const char *name)
{
    return strcmp(json_str(type, ""), name) == 0;
}

static int check_type(const struct field *f, const struct json *type, struct err *err)
{
    const struct json *items = json_get(type, "items");

    if (!is_list(f) && f->optional)
        return json_len(type) == 2 && is_type(json_at(type, 0), "null") &&
                       is_type(json_at(type, 1), type_name(f))
                   ? 0
                   : err_inval(err, "%s: the schema does not say [null, %s]", f->name,
                               type_name(f));
    if (!is_list(f))
        return is_type(type, type_name(f))
                   ? 0
                   : err_inval(err, "%s: the schema does not say %s", f->name, type_name(f));
    if (f->optional || !is_type(json_get(type, "type"), "array"))
        return err_inval(err, "%s: a list, but not in the schema", f->name);
    if (is_type(items, type_name(f))) /* by name: defined further up */
        return 0;
    if (f->of && json_is_object(items) && is_type(json_get(items, "name"), f->of->name))
        return check_record(f->of, items, err);
    return err_inval(err, "%s: the schema has no list of %s", f->name, type_name(f));
}

static bool is_default_right(const struct field *f, const struct json *value)
{
    if (f->optional)
        return json_is_null(value);
    switch (f->type) {
    case FIELD_STRING:
        return json_is_string(value);
    case FIELD_LONG:
    case FIELD_DOUBLE:
        return json_is_number(value);
    case FIELD_BOOL:
        return json_is_bool(value);
    case FIELD_BYTES:
        return false; /* ours are optional */
    default:
        return json_is_array(value) && json_len(value) == 0;
    }
}

static int check_record(const struct record_fields *t, const struct json *schema, struct err *err)
{
    const struct json *fields = json_get(schema, "fields");
    size_t end = 0;

    if (!json_get_str(schema, "doc", NULL))
        return err_inval(err, "%s: no doc", t->name);
    if (json_len(fields) != t->n)
        return err_inval(err, "%s: %zu fields in the schema, %zu in the table", t->name,
                         json_len(fields), t->n);
    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[i];
        const struct json *j = json_at(fields, i);

        if (!is_type(json_get(j, "name"), f->name))
            return err_inval(err, "%s: field %zu is %s in the schema, %s in the table", t->name, i,
                             json_get_str(j, "name", "nameless"), f->name);
        if (f->offset < end || f->offset >= t->size)
            return err_inval(err, "%s.%s: not in the struct's order", t->name, f->name);
        end = f->offset + 1;
        if (check_type(f, json_get(j, "type"), err) != 0)
            return err_wrap(err, "%s", t->name);
        if (!is_default_right(f, json_get(j, "default")))
            return err_inval(err, "%s.%s: no default, or a wrong one", t->name, f->name);
        if (json_get_str(j, "doc", "")[0] == '\0')
            return err_inval(err, "%s.%s: no doc", t->name, f->name);
    }
    return 0;
}

int codec_check_tables(struct err *err)
{
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        const struct record_fields *t = record_fields((enum record)r);
        CLEANUP(json_freep)
        struct json *schema = json_parse(slice_str(codec_schema_text((enum record)r)),
                                         record_str((enum record)r), err);

        if (!schema)
            return -1;
        if (!is_type(json_get(schema, "name"), record_avro_name((enum record)r)) ||
            !is_type(json_get(schema, "namespace"), NAMESPACE) ||
            strcmp(t->name, record_avro_name((enum record)r)) != 0)
            return err_inval(err, "%s: not named %s.%s", record_str((enum record)r), NAMESPACE,
                             record_avro_name((enum record)r));
        if (check_record(t, schema, err) != 0)
            return err_wrap(err, "schemas/%s.avsc", record_str((enum record)r));
    }
    return 0;
}
