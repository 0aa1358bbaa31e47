/* Requests of the Open Inference Protocol v2, as a client may send them: the first byte says how
 * many of the following are JSON (in 16ths; 0: all).  What is taken must be JSON in the eyes of
 * common/json.h too, and its rows must be read again when they are written as one matrix. */
#include <math.h>

#include "agents/serve/answer.h"
#include "agents/serve/encode.h"
#include "agents/serve/scan.h"
#include "common/json.h"

static struct model *model(void)
{
    static char *categories[] = {(char *)(uintptr_t) "x", (char *)(uintptr_t) "y",
                                 (char *)(uintptr_t) "1"};
    static char *classes[] = {(char *)(uintptr_t) "no", (char *)(uintptr_t) "yes"};
    static struct snapshot_column columns[] = {
        {.name = (char *)(uintptr_t) "a", .type = COLUMN_FLOAT},
        {.name = (char *)(uintptr_t) "b",
         .type = COLUMN_CATEGORY,
         .categories = categories,
         .n_categories = 3},
        {.name = (char *)(uintptr_t) "c", .type = COLUMN_DATE},
    };
    static struct model m = {
        .digest = "0000000000000000000000000000000000000000000000000000000000000000",
        .task = TASK_BINARY,
        .shape = {.columns = columns, .n_columns = 3, .classes = classes, .n_classes = 2}};
    return &m;
}

static void check_json(struct slice text)
{
    struct err err = {0};
    struct json *j = json_parse(text, "request", &err);

    /* it is stricter about keys that stand there twice and about integers beyond 64 bits */
    if (!j && !strstr(err.msg, "duplicate") && !strstr(err.msg, "too big"))
        __builtin_trap();
    json_free(j);
}

static void check_answer(const struct oip_request *rq, size_t rows)
{
    CLEANUP_FREE double *p = xcalloc(rows, sizeof(*p));
    CLEANUP(buf_fini) struct buf out = {0};
    struct err err = {0};
    struct answer_facts f = {.name = "p",
                             .line = "p",
                             .role = "champion",
                             .generation = 1,
                             .model = model(),
                             .prediction = "id",
                             .outputs = p,
                             .rows = rows};
    size_t json_bytes = 0;
    struct json *j;

    for (size_t i = 0; i < rows; i++)
        p[i] = (double)(float)(1.0 / (double)(i + 2));
    if (answer_write(rq, &f, &out, &json_bytes, &err))
        return;
    j = json_parse((struct slice){out.data, json_bytes ? json_bytes : out.len}, "answer", &err);
    if (!j)
        __builtin_trap();
    json_free(j);
}

static void check_again(const struct columns *c, const float *x, size_t rows)
{
    CLEANUP(buf_fini) struct buf body = {0};
    CLEANUP_FREE float *y = NULL;
    struct oip_request rq = {0};
    struct err err = {0};
    size_t n = 0, width = columns_count(c), json_bytes;

    buf_addf(&body,
             "{\"inputs\":[{\"name\":\"m\",\"shape\":[%zu,%zu],\"datatype\":\"FP32\","
             "\"parameters\":{\"binary_data_size\":%zu}}]}",
             rows, width, rows * width * sizeof(float));
    json_bytes = body.len;
    buf_add(&body, x, rows * width * sizeof(float));
    if (oip_parse(buf_slice(&body), (int64_t)json_bytes, &rq, &err) ||
        encode_rows(&rq, c, NULL, &y, &n, &err) || n != rows)
        __builtin_trap();
    for (size_t i = 0; i < rows * width; i++)
        if (i % width != 1 &&
            !(isnan(x[i]) ? isnan(y[i]) : x[i] == y[i])) /* a category's code is no category */
            __builtin_trap();
    oip_request_fini(&rq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const known[] = {"segment", NULL};
    struct slice body = {(const char *)data + 1, n - 1};
    CLEANUP_FREE float *x = NULL;
    struct oip_request rq = {0};
    struct err err = {0};
    struct columns *c;
    int64_t json_bytes;
    size_t rows = 0;

    if (n < 2)
        return 0;
    json_bytes = data[0] % 16 ? (int64_t)(body.n * (data[0] % 16) / 16) : -1;
    if (oip_parse(body, json_bytes, &rq, &err))
        return 0;
    check_json((struct slice){body.p, json_bytes < 0 ? body.n : (size_t)json_bytes});
    c = columns_new(model());
    if (encode_rows(&rq, c, known, &x, &rows, &err) == 0) {
        check_answer(&rq, rows);
        check_again(c, x, rows);
    }
    columns_free_all(c);
    oip_request_fini(&rq);
    return 0;
}
