#include "agents/serve/request.h"

#include <string.h>

#include "agents/serve/scan.h"

static const struct {
    const char *name;
    size_t bytes;
} TYPES[OIP_TYPE_COUNT] = {
    [OIP_NONE] = {"none", 0},     [OIP_BOOL] = {"BOOL", 1},     [OIP_UINT8] = {"UINT8", 1},
    [OIP_UINT16] = {"UINT16", 2}, [OIP_UINT32] = {"UINT32", 4}, [OIP_UINT64] = {"UINT64", 8},
    [OIP_INT8] = {"INT8", 1},     [OIP_INT16] = {"INT16", 2},   [OIP_INT32] = {"INT32", 4},
    [OIP_INT64] = {"INT64", 8},   [OIP_FP16] = {"FP16", 2},     [OIP_FP32] = {"FP32", 4},
    [OIP_FP64] = {"FP64", 8},     [OIP_BYTES] = {"BYTES", 0},
};

const char *oip_type_str(enum oip_type t)
{
    return TYPES[(unsigned)t < OIP_TYPE_COUNT ? t : OIP_NONE].name;
}

size_t oip_type_bytes(enum oip_type t)
{
    return TYPES[(unsigned)t < OIP_TYPE_COUNT ? t : OIP_NONE].bytes;
}

static enum oip_type type_parse(struct slice name)
{
    for (int t = OIP_NONE + 1; t < OIP_TYPE_COUNT; t++)
        if (slice_eq_str(name, TYPES[t].name))
            return (enum oip_type)t;
    return OIP_NONE;
}

/* What is being read, for the errors. */
struct reader {
    struct scan s;
    struct oip_request *rq;
    struct slice binary; /* raw tensors behind the JSON, what is left of them */
    bool is_binary_given[OIP_MAX_OUTPUTS];
    struct err *err;
};

static int once(struct reader *r, unsigned *seen, unsigned bit, const char *where, struct slice key)
{
    if (*seen & bit)
        return err_inval(r->err, "%s: \"%.*s\" stands there twice", where, (int)key.n, key.p);
    *seen |= bit;
    return 0;
}

static int want(struct reader *r, enum scan_kind kind, const char *what)
{
    enum scan_kind is = scan_peek(&r->s);

    if (is == kind)
        return 0;
    if (is == SCAN_END || is == SCAN_OTHER)
        return scan_skip(&r->s, NULL, r->err); /* says what is wrong, and where */
    return err_inval(r->err, "%s must be %s, not %s", what, scan_kind_str(kind), scan_kind_str(is));
}

/* ---- parameters ---- */

static int take_parameter(struct reader *r, struct slice key, struct oip_parameter *ret)
{
    *ret = (struct oip_parameter){.name = key};
    if (scan_peek(&r->s) == SCAN_STRING) {
        ret->is_string = true;
        return scan_string(&r->s, &r->rq->arena, &ret->text, r->err);
    }
    return scan_skip(&r->s, &ret->text, r->err);
}

typedef int (*parameter_fn)(struct reader *r, const struct oip_parameter *p, void *ctx);

static int each_parameter(struct reader *r, const char *where, parameter_fn fn, void *ctx)
{
    bool first = true;
    struct slice key;
    int rc, n = 0;

    if (want(r, SCAN_OBJECT, where))
        return -1;
    while ((rc = scan_member(&r->s, &first, &r->rq->arena, &key, r->err)) == 1) {
        struct oip_parameter p;

        if (++n > OIP_MAX_PARAMETERS)
            return err_set(r->err, ERR_LIMIT, NEXT_REJECT, "%s: more than %d members", where,
                           OIP_MAX_PARAMETERS);
        if (take_parameter(r, key, &p) || fn(r, &p, ctx))
            return -1;
    }
    return rc;
}

static int is_true(struct reader *r, const struct oip_parameter *p, bool *ret)
{
    if (p->is_string || (!slice_eq_str(p->text, "true") && !slice_eq_str(p->text, "false")))
        return err_inval(r->err, "parameter %.*s must be true or false", (int)p->name.n, p->name.p);
    *ret = p->text.p[0] == 't';
    return 0;
}

static int on_request_parameter(struct reader *r, const struct oip_parameter *p, void *ctx)
{
    struct oip_request *rq = r->rq;

    (void)ctx;
    for (size_t i = 0; i < rq->n_parameters; i++)
        if (slice_eq(rq->parameters[i].name, p->name))
            return err_inval(r->err, "parameters: \"%.*s\" stands there twice", (int)p->name.n,
                             p->name.p);
    if (slice_eq_str(p->name, "binary_data_output") && is_true(r, p, &rq->binary_output))
        return -1;
    if (!rq->parameters)
        rq->parameters = arena_alloc(&rq->arena, OIP_MAX_PARAMETERS * sizeof(*rq->parameters));
    rq->parameters[rq->n_parameters++] = *p;
    return 0;
}

/* ---- tensors ---- */

struct tensor { /* while it is read */
    struct oip_tensor t;
    unsigned seen;
    int64_t binary_bytes; /* -1: none */
    char where[48];       /* "inputs[3]" */
};
enum { SEEN_NAME = 1, SEEN_SHAPE = 2, SEEN_TYPE = 4, SEEN_DATA = 8, SEEN_PARAMETERS = 16 };

static int take_shape(struct reader *r, struct tensor *t)
{
    bool first = true;
    size_t n = 0;
    int rc;

    if (want(r, SCAN_ARRAY, "shape"))
        return -1;
    while ((rc = scan_element(&r->s, &first, r->err)) == 1) {
        struct slice text;
        double v;

        if (want(r, SCAN_NUMBER, "an element of shape") || scan_number(&r->s, &text, &v, r->err))
            return -1;
        if (v < 1 || v > 1e9 || v != (double)(int64_t)v)
            return err_inval(r->err, "shape: %.*s is no count of at least 1", (int)text.n, text.p);
        if (n == 2)
            return err_inval(r->err,
                             "shape: more than two dimensions, but rows and columns are all "
                             "that there is");
        t->t.shape[n++] = (int64_t)v;
    }
    if (rc)
        return -1;
    if (n == 0)
        return err_inval(r->err, "shape: it is empty, [rows, columns] is expected");
    t->t.is_flat = n == 1;
    if (n == 1)
        t->t.shape[1] = 1;
    return 0;
}

static int on_tensor_parameter(struct reader *r, const struct oip_parameter *p, void *ctx)
{
    struct tensor *t = ctx;
    char number[24];

    if (!slice_eq_str(p->name, "binary_data_size"))
        return 0; /* content_type and the like: hints that need no answer */
    if (p->is_string || p->text.n >= sizeof(number))
        return err_inval(r->err, "parameter binary_data_size must be a number of bytes");
    memcpy(number, p->text.p, p->text.n);
    number[p->text.n] = '\0';
    if (str_to_i64(number, &t->binary_bytes) || t->binary_bytes < 0)
        return err_inval(r->err, "parameter binary_data_size must be a number of bytes");
    return 0;
}

static int take_type(struct reader *r, struct tensor *t)
{
    struct slice text;

    if (want(r, SCAN_STRING, "datatype") || scan_string(&r->s, &r->rq->arena, &text, r->err))
        return -1;
    t->t.type = type_parse(text);
    if (!t->t.type)
        return err_inval(r->err,
                         "datatype \"%.*s\" is none of BOOL, UINT8..64, INT8..64, FP16, FP32, "
                         "FP64, BYTES",
                         (int)(text.n > 40 ? 40 : text.n), text.p);
    return 0;
}

static int take_tensor_member(struct reader *r, struct slice key, struct tensor *t)
{
    if (slice_eq_str(key, "name"))
        return once(r, &t->seen, SEEN_NAME, "tensor", key) || want(r, SCAN_STRING, "name")
                   ? -1
                   : scan_string(&r->s, &r->rq->arena, &t->t.name, r->err);
    if (slice_eq_str(key, "shape"))
        return once(r, &t->seen, SEEN_SHAPE, "tensor", key) ? -1 : take_shape(r, t);
    if (slice_eq_str(key, "datatype"))
        return once(r, &t->seen, SEEN_TYPE, "tensor", key) ? -1 : take_type(r, t);
    if (slice_eq_str(key, "parameters"))
        return once(r, &t->seen, SEEN_PARAMETERS, "tensor", key)
                   ? -1
                   : each_parameter(r, "parameters", on_tensor_parameter, t);
    if (slice_eq_str(key, "data"))
        return once(r, &t->seen, SEEN_DATA, "tensor", key) || want(r, SCAN_ARRAY, "data")
                   ? -1
                   : scan_skip(&r->s, &t->t.data, r->err);
    return scan_skip(&r->s, NULL, r->err);
}

static int take_binary(struct reader *r, struct tensor *t)
{
    if (t->seen & SEEN_DATA)
        return err_inval(r->err, "it has both data and binary_data_size");
    if ((uint64_t)t->binary_bytes > r->binary.n)
        return err_inval(r->err,
                         "binary_data_size is %lld, but only %zu bytes are left behind the JSON",
                         (long long)t->binary_bytes, r->binary.n);
    t->t.is_binary = true;
    t->t.data = (struct slice){r->binary.p, (size_t)t->binary_bytes};
    r->binary.p += t->binary_bytes;
    r->binary.n -= (size_t)t->binary_bytes;
    return 0;
}

static int take_tensor(struct reader *r, struct tensor *t)
{
    bool first = true;
    struct slice key;
    int rc;

    if (want(r, SCAN_OBJECT, "a tensor"))
        return -1;
    while ((rc = scan_member(&r->s, &first, &r->rq->arena, &key, r->err)) == 1)
        if (take_tensor_member(r, key, t))
            return -1;
    if (rc)
        return -1;
    if (!(t->seen & SEEN_NAME) || !(t->seen & SEEN_SHAPE) || !(t->seen & SEEN_TYPE))
        return err_inval(r->err, "name, shape and datatype are needed, %s is missing",
                         t->seen & SEEN_NAME ? t->seen & SEEN_SHAPE ? "datatype" : "shape"
                                             : "name");
    if (t->binary_bytes >= 0)
        return take_binary(r, t);
    return t->seen & SEEN_DATA ? 0 : err_inval(r->err, "data is missing");
}

static int take_inputs(struct reader *r)
{
    struct oip_request *rq = r->rq;
    bool first = true;
    size_t cap = 0;
    int rc;

    if (want(r, SCAN_ARRAY, "inputs"))
        return -1;
    while ((rc = scan_element(&r->s, &first, r->err)) == 1) {
        struct tensor t = {.binary_bytes = -1};

        if (rq->n_inputs == OIP_MAX_INPUTS)
            return err_set(r->err, ERR_LIMIT, NEXT_REJECT, "inputs: more than %d tensors",
                           OIP_MAX_INPUTS);
        if (take_tensor(r, &t)) {
            if (t.seen & SEEN_NAME)
                return err_wrap(r->err, "inputs[%zu] '%.*s'", rq->n_inputs,
                                (int)(t.t.name.n > 80 ? 80 : t.t.name.n), t.t.name.p);
            return err_wrap(r->err, "inputs[%zu]", rq->n_inputs);
        }
        if (rq->n_inputs == cap) { /* doubled in the arena: at most as much again is wasted */
            struct oip_tensor *more =
                arena_alloc(&rq->arena, (cap = cap ? cap * 2 : 32) * sizeof(*more));

            if (rq->n_inputs)
                memcpy(more, rq->inputs, rq->n_inputs * sizeof(*more));
            rq->inputs = more;
        }
        rq->inputs[rq->n_inputs++] = t.t;
    }
    return rc;
}

/* ---- outputs ---- */

static int on_output_parameter(struct reader *r, const struct oip_parameter *p, void *ctx)
{
    struct oip_output *o = ctx;

    if (!slice_eq_str(p->name, "binary_data"))
        return 0;
    r->is_binary_given[o - r->rq->outputs] = true;
    return is_true(r, p, &o->is_binary);
}

static int take_output(struct reader *r, struct oip_output *o)
{
    bool first = true, has_name = false;
    struct slice key;
    int rc;

    if (want(r, SCAN_OBJECT, "an output"))
        return -1;
    while ((rc = scan_member(&r->s, &first, &r->rq->arena, &key, r->err)) == 1) {
        if (slice_eq_str(key, "name")) {
            has_name = true;
            if (want(r, SCAN_STRING, "name") || scan_string(&r->s, &r->rq->arena, &o->name, r->err))
                return -1;
        } else if (slice_eq_str(key, "parameters")) {
            if (each_parameter(r, "parameters", on_output_parameter, o))
                return -1;
        } else if (scan_skip(&r->s, NULL, r->err)) {
            return -1;
        }
    }
    if (rc)
        return -1;
    return has_name ? 0 : err_inval(r->err, "name is missing");
}

static int take_outputs(struct reader *r)
{
    struct oip_request *rq = r->rq;
    bool first = true;
    int rc;

    if (want(r, SCAN_ARRAY, "outputs"))
        return -1;
    rq->outputs = arena_alloc(&rq->arena, OIP_MAX_OUTPUTS * sizeof(*rq->outputs));
    while ((rc = scan_element(&r->s, &first, r->err)) == 1) {
        if (rq->n_outputs == OIP_MAX_OUTPUTS)
            return err_set(r->err, ERR_LIMIT, NEXT_REJECT, "outputs: more than %d",
                           OIP_MAX_OUTPUTS);
        if (take_output(r, &rq->outputs[rq->n_outputs]))
            return err_wrap(r->err, "outputs[%zu]", rq->n_outputs);
        rq->n_outputs++;
    }
    return rc;
}

/* ---- the request ---- */

static int take_id(struct reader *r)
{
    enum { MAX_CHARS = 256 }; /* it is kept with the prediction */
    struct oip_request *rq = r->rq;

    if (want(r, SCAN_STRING, "id") || scan_string(&r->s, &rq->arena, &rq->id, r->err))
        return -1;
    return rq->id.n <= MAX_CHARS ? 0 : err_inval(r->err, "id: more than %d bytes", MAX_CHARS);
}

static int take_member(struct reader *r, struct slice key, unsigned *seen)
{
    enum { ID = 1, PARAMETERS = 2, INPUTS = 4, OUTPUTS = 8 };

    if (slice_eq_str(key, "inputs"))
        return once(r, seen, INPUTS, "request", key) ? -1 : take_inputs(r);
    if (slice_eq_str(key, "id"))
        return once(r, seen, ID, "request", key) ? -1 : take_id(r);
    if (slice_eq_str(key, "parameters"))
        return once(r, seen, PARAMETERS, "request", key)
                   ? -1
                   : each_parameter(r, "parameters", on_request_parameter, NULL);
    if (slice_eq_str(key, "outputs"))
        return once(r, seen, OUTPUTS, "request", key) ? -1 : take_outputs(r);
    return scan_skip(&r->s, NULL, r->err);
}

static int take_request(struct reader *r)
{
    bool first = true;
    struct slice key;
    unsigned seen = 0;
    int rc;

    if (want(r, SCAN_OBJECT, "the request"))
        return -1;
    while ((rc = scan_member(&r->s, &first, &r->rq->arena, &key, r->err)) == 1)
        if (take_member(r, key, &seen))
            return -1;
    if (rc)
        return -1;
    for (size_t i = 0; i < r->rq->n_outputs; i++) /* parameters may stand behind outputs */
        if (!r->is_binary_given[i])
            r->rq->outputs[i].is_binary = r->rq->binary_output;
    if (scan_peek(&r->s) != SCAN_END)
        return err_inval(r->err, "JSON, byte %zu: something stands behind the request",
                         (size_t)(r->s.p - r->s.begin));
    if (r->binary.n)
        return err_inval(r->err, "%zu bytes behind the JSON belong to no tensor", r->binary.n);
    return r->rq->n_inputs ? 0 : err_inval(r->err, "inputs: no tensor is there");
}

int oip_parse(struct slice body, int64_t json_bytes, struct oip_request *ret, struct err *err)
{
    struct oip_request rq = {.body_bytes = body.n};
    struct slice json = body;
    struct reader r = {.rq = &rq, .err = err};

    if (json_bytes > (int64_t)body.n)
        return err_inval(err, "Inference-Header-Content-Length is %lld, but the body has %zu bytes",
                         (long long)json_bytes, body.n);
    if (json_bytes == 0)
        return err_inval(err, "a raw body without a JSON header is not taken");
    if (json_bytes > 0) {
        json.n = (size_t)json_bytes;
        r.binary = (struct slice){body.p + json_bytes, body.n - (size_t)json_bytes};
    }
    r.s = scan_on(json);
    if (take_request(&r)) {
        arena_fini(&rq.arena);
        return -1;
    }
    *ret = rq;
    return 0;
}

void oip_request_fini(struct oip_request *rq)
{
    arena_fini(&rq->arena);
    *rq = (struct oip_request){0};
}

const struct oip_tensor *oip_input(const struct oip_request *rq, const char *name)
{
    for (size_t i = 0; name && i < rq->n_inputs; i++)
        if (slice_eq_str(rq->inputs[i].name, name))
            return &rq->inputs[i];
    return NULL;
}

const struct oip_parameter *oip_parameter(const struct oip_request *rq, const char *name)
{
    for (size_t i = 0; name && i < rq->n_parameters; i++)
        if (slice_eq_str(rq->parameters[i].name, name))
            return &rq->parameters[i];
    return NULL;
}
