/* The answer to an inference request, as bytes.  Binary: "probability" (of class 1) and "label";
 * multiclass: "probabilities" and "label"; regression: "value".  Pure; thread: any. */
#ifndef SERVE_ANSWER_H
#define SERVE_ANSWER_H

#include "agents/serve/request.h"
#include "common/model.h"

struct answer_facts {
    const char *name; /* as the client addressed it */
    const char *line, *role;
    int64_t generation;
    const struct model *model;
    const char *prediction; /* id */
    const double *outputs;  /* rows x outputs of the model */
    size_t rows;
};
/* 0 on success; *ret_json_bytes is 0 when the body is JSON alone, else where the raw tensors begin.
 * Errors: ERR_INVAL (an output is asked for that is none). */
int answer_write(const struct oip_request *rq, const struct answer_facts *f, struct buf *out,
                 size_t *ret_json_bytes, struct err *err) WARN_UNUSED;
/* Text that reads back as the same double; quick for those that are float32 values in [0,1], as
 * probabilities are. */
void answer_number(double v, struct buf *out);

#endif
