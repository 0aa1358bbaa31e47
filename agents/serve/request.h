/* An inference request of the Open Inference Protocol v2, read from its bytes: JSON, or JSON
 * followed by raw tensors (the binary tensor data extension).  Strict: what is not understood is an
 * error that names the tensor and the place.  Values stay where they are until encode.h reads them
 * for a model. Pure; thread: any. */
#ifndef SERVE_REQUEST_H
#define SERVE_REQUEST_H

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

enum {
    OIP_MAX_INPUTS =
        4160, /* a tensor for each of 4,096 columns, and what names segment and share */
    OIP_MAX_PARAMETERS = 64, /* nobody's request has more; each is compared with the wanted name */
    OIP_MAX_OUTPUTS = 16,    /* a model has at most two */
};

enum oip_type {
    OIP_NONE = 0,
    OIP_BOOL,
    OIP_UINT8,
    OIP_UINT16,
    OIP_UINT32,
    OIP_UINT64,
    OIP_INT8,
    OIP_INT16,
    OIP_INT32,
    OIP_INT64,
    OIP_FP16,
    OIP_FP32,
    OIP_FP64,
    OIP_BYTES,
    OIP_TYPE_COUNT
};

struct oip_tensor {
    struct slice name;
    enum oip_type type;
    int64_t shape[2]; /* rows, columns; columns 1 for a shape of one dimension */
    bool is_flat;     /* the shape has one dimension */
    bool is_binary;   /* data are raw bytes, else the text of a JSON array */
    struct slice data;
};
struct oip_parameter {
    struct slice name;
    struct slice text; /* string: its characters; else the JSON text */
    bool is_string;
};
struct oip_output {
    struct slice name;
    bool is_binary;
};
struct oip_request { /* borrows the body */
    struct slice id; /* p NULL: none */
    struct oip_tensor *inputs;
    size_t n_inputs;
    struct oip_parameter *parameters;
    size_t n_parameters;
    struct oip_output *outputs; /* none: all */
    size_t n_outputs;
    bool binary_output; /* of outputs that say nothing themselves */
    size_t body_bytes;
    struct arena arena;
};

/* json_bytes: the value of the header Inference-Header-Content-Length, -1 when there is none.
 * Errors: ERR_INVAL, ERR_LIMIT; both are the client's (400). */
int oip_parse(struct slice body, int64_t json_bytes, struct oip_request *ret,
              struct err *err) WARN_UNUSED;
void oip_request_fini(struct oip_request *rq);

const char *oip_type_str(enum oip_type t);
size_t oip_type_bytes(enum oip_type t); /* of one element; 0 for BYTES */
const struct oip_tensor *oip_input(const struct oip_request *rq, const char *name); /* or NULL */
const struct oip_parameter *oip_parameter(const struct oip_request *rq, const char *name);

#endif
