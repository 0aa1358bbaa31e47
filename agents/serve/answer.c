#include "agents/serve/answer.h"

#include <math.h>
#include <string.h>

static void answer_text(struct slice text, struct buf *out); /* a JSON string */

/* Index of the class that the outputs of a row say. */
static size_t answer_class(enum task task, const double *outputs, size_t k);

/* ---- numbers and texts ---- */

/* A float32 in [2^-14, 1) is m / 2^s exactly, with m < 2^24 and s <= 38.  m * 10^20 / 2^s, rounded,
 * are twenty decimals: closer to the value than half of what separates two doubles there, so they
 * read back as the same double.  About a tenth of printf's time. */
static bool put_quick(double v, struct buf *out)
{
    static const uint64_t TEN_10 = 10000000000u;
    enum { DECIMALS = 20, SHIFT_MAX = 38 };
    char text[DECIMALS + 2] = "0.";
    unsigned __int128 scaled;
    uint64_t high, low;
    int exponent, shift, n;

    if (!(v >= 0x1p-14 && v < 1) || (double)(float)v != v)
        return false;
    scaled = (unsigned __int128)(uint64_t)(frexp(v, &exponent) * 0x1p24);
    shift = 24 - exponent;
    scaled = scaled * TEN_10 * TEN_10;
    scaled = (scaled + ((unsigned __int128)1 << (shift - 1))) >> shift;
    high = (uint64_t)(scaled / TEN_10);
    low = (uint64_t)(scaled % TEN_10);
    if (high >= TEN_10) /* rounded up to 1 */
        return false;
    for (int i = DECIMALS / 2 - 1; i >= 0; i--, high /= 10, low /= 10) {
        text[2 + i] = (char)('0' + high % 10);
        text[2 + DECIMALS / 2 + i] = (char)('0' + low % 10);
    }
    for (n = DECIMALS; n > 1 && text[1 + n] == '0'; n--)
        ;
    buf_add(out, text, 2 + (size_t)n);
    return true;
}

void answer_number(double v, struct buf *out)
{
    char text[32];

    if (put_quick(v, out))
        return;
    if (!isfinite(v)) {
        buf_add_str(out, "null");
        return;
    }
    double_to_str(v, text);
    buf_add_str(out, text);
}

static void answer_text(struct slice text, struct buf *out)
{
    size_t from = 0;

    buf_add_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_add(out, text.p + from, i - from);
        if (c >= 0x20)
            buf_addf(out, "\\%c", c);
        else
            buf_addf(out, "\\u%04x", c);
        from = i + 1;
    }
    if (text.n > from)
        buf_add(out, text.p + from, text.n - from);
    buf_add_char(out, '"');
}

static size_t answer_class(enum task task, const double *outputs, size_t k)
{
    size_t best = 0;

    if (task == TASK_BINARY)
        return outputs[0] > 0.5;
    for (size_t c = 1; c < k; c++) /* the first of equals, as numpy.argmax */
        if (outputs[c] > outputs[best])
            best = c;
    return best;
}

/* ---- tensors ---- */

struct tensor_out {
    const char *name;
    bool is_label, is_binary;
};

static size_t outputs_per_row(const struct model *m)
{
    return m->task == TASK_MULTICLASS ? m->shape.n_classes : 1;
}

static struct slice label_of(const struct answer_facts *f, size_t row)
{
    size_t k = outputs_per_row(f->model), c = answer_class(f->model->task, f->outputs + row * k, k);

    return c < f->model->shape.n_classes ? slice_str(f->model->shape.classes[c]) : slice_str("");
}

static void put_raw(const struct answer_facts *f, const struct tensor_out *t, struct buf *out)
{
    size_t k = outputs_per_row(f->model);

    if (!t->is_label) {
        buf_add(out, f->outputs, f->rows * k * sizeof(double));
        return;
    }
    for (size_t i = 0; i < f->rows; i++) {
        struct slice s = label_of(f, i);
        uint32_t n = (uint32_t)s.n;

        buf_add(out, &n, sizeof(n));
        buf_add(out, s.p, s.n);
    }
}

static void put_data(const struct answer_facts *f, const struct tensor_out *t, struct buf *out)
{
    size_t k = outputs_per_row(f->model);

    buf_add_str(out, ",\"data\":[");
    for (size_t i = 0; i < f->rows * (t->is_label ? 1 : k); i++) {
        if (i)
            buf_add_char(out, ',');
        if (t->is_label)
            answer_text(label_of(f, i), out);
        else
            answer_number(f->outputs[i], out);
    }
    buf_add_char(out, ']');
}

/* Answers are written without printf: it would take longer than the rest of them. */
static void put_integer(struct buf *out, int64_t v)
{
    char text[24], *at = text + sizeof(text);
    uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;

    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (v < 0)
        *--at = '-';
    buf_add(out, at, (size_t)(text + sizeof(text) - at));
}

static void put_tensor(const struct answer_facts *f, const struct tensor_out *t, struct buf *json,
                       struct buf *raw)
{
    size_t before = raw->len;

    buf_add_str(json, "{\"name\":\"");
    buf_add_str(json, t->name);
    buf_add_str(json, "\",\"shape\":[");
    put_integer(json, (int64_t)f->rows);
    buf_add_char(json, ',');
    put_integer(json, t->is_label ? 1 : (int64_t)outputs_per_row(f->model));
    buf_add_str(json, t->is_label ? "],\"datatype\":\"BYTES\"" : "],\"datatype\":\"FP64\"");
    if (t->is_binary) {
        put_raw(f, t, raw);
        buf_add_str(json, ",\"parameters\":{\"binary_data_size\":");
        put_integer(json, (int64_t)(raw->len - before));
        buf_add_char(json, '}');
    } else {
        put_data(f, t, json);
    }
    buf_add_char(json, '}');
}

/* All that the model has, or those that are asked for, in that order. */
static int choose(const struct oip_request *rq, const struct model *m,
                  struct tensor_out ret[OIP_MAX_OUTPUTS], size_t *ret_n, struct err *err)
{
    static const char *const numbers[] = {[TASK_BINARY] = "probability",
                                          [TASK_MULTICLASS] = "probabilities",
                                          [TASK_REGRESSION] = "value"};
    const struct tensor_out all[] = {{numbers[m->task], false, rq->binary_output},
                                     {"label", true, rq->binary_output}};
    size_t n_all = m->task == TASK_REGRESSION ? 1 : 2;

    for (size_t i = 0; i < n_all; i++)
        ret[i] = all[i];
    *ret_n = n_all;
    for (size_t i = 0; i < rq->n_outputs; i++) {
        const struct oip_output *o = &rq->outputs[i];
        size_t k = 0;

        while (k < n_all && !slice_eq_str(o->name, all[k].name))
            k++;
        if (k == n_all)
            return err_inval(err, "outputs[%zu]: there is no output '%.*s', but '%s'%s", i,
                             (int)(o->name.n > 80 ? 80 : o->name.n), o->name.p, all[0].name,
                             n_all > 1 ? " and 'label'" : "");
        ret[i] = all[k];
        ret[i].is_binary = o->is_binary;
        *ret_n = i + 1;
    }
    return 0;
}

/* ---- the whole ---- */

enum { FEW_ROWS = 1000 };

static void put_head(const struct oip_request *rq, const struct answer_facts *f, struct buf *out)
{
    buf_add_str(out, "{\"model_name\":");
    answer_text(slice_str(f->name), out);
    buf_add_str(out, ",\"model_version\":\"");
    put_integer(out, f->generation);
    buf_add_str(out, "\",\"id\":");
    answer_text(rq->id.p ? rq->id : slice_str(f->prediction), out);
    buf_add_str(out, ",\"parameters\":{\"prediction\":\"");
    buf_add_str(out, f->prediction);
    buf_add_str(out, "\",\"line\":");
    answer_text(slice_str(f->line), out);
    buf_add_str(out, ",\"generation\":");
    put_integer(out, f->generation);
    buf_add_str(out, ",\"model\":\"");
    buf_add(out, f->model->digest, DIGEST_HEX_SIZE - 1);
    buf_add_str(out, "\",\"role\":\"");
    buf_add_str(out, f->role);
    buf_add_str(out, "\",\"classes\":[");
    for (size_t i = 0; i < f->model->shape.n_classes; i++) {
        if (i)
            buf_add_char(out, ',');
        answer_text(slice_str(f->model->shape.classes[i]), out);
    }
    buf_add_str(out, "]},\"outputs\":[");
}

int answer_write(const struct oip_request *rq, const struct answer_facts *f, struct buf *out,
                 size_t *ret_json_bytes, struct err *err)
{
    CLEANUP(buf_fini) struct buf raw = {0};
    struct tensor_out tensors[OIP_MAX_OUTPUTS];
    size_t n = 0;

    if (choose(rq, f->model, tensors, &n, err))
        return -1;
    buf_reserve(out,
                f->rows < FEW_ROWS ? 1024 + 40 * f->rows : 0); /* one allocation for nearly all */
    put_head(rq, f, out);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(out, ',');
        put_tensor(f, &tensors[i], out, &raw);
    }
    buf_add_str(out, "]}");
    *ret_json_bytes = raw.len ? out->len : 0;
    if (raw.len)
        buf_add(out, raw.data, raw.len);
    if (out->overflow || raw.overflow)
        return err_set(err, ERR_LIMIT, NEXT_REJECT,
                       "the answer to %zu rows would be too large: send fewer at a time", f->rows);
    return 0;
}
