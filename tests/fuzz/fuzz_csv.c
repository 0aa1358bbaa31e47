/* Text from anywhere as CSV: the same rows however it is cut into pieces, or the same error; what
 * is read, written with quotes and read again, is the same; and every cell is something. */
#include <math.h>

#include "agents/ingest/csv.h"
#include "agents/ingest/number_fast.h"
#include "agents/ingest/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct seen {
    struct buf rows;   /* lengths and bytes of all fields */
    struct buf quoted; /* written again */
};

static void check_cell(struct slice f)
{
    float slow = 0, fast = 0;
    double seconds;

    (void)value_kind(f.p, f.n);
    (void)date_parse(f.p, f.n, &seconds);
    if (number_fast(f.p, f.n, &fast)) {
        BUG_ON(number_parse(f.p, f.n, &slow) != NUMBER_OK);
        BUG_ON(memcmp(&slow, &fast, sizeof(slow)) != 0);
    }
    if (number_parse(f.p, f.n, &slow) == NUMBER_OK)
        BUG_ON(!isfinite(slow));
}

static int on_row(void *ctx, const struct csv_row *row, struct err *err)
{
    struct seen *s = ctx;

    (void)err;
    buf_addf(&s->rows, "%lld/%zu:", (long long)row->row, row->n);
    for (size_t i = 0; i < row->n; i++) {
        struct slice f = row->fields[i];

        check_cell(f);
        buf_addf(&s->rows, "%zu=", f.n);
        buf_add(&s->rows, f.p, f.n);
        buf_add_str(&s->quoted, i ? ",\"" : "\"");
        for (size_t k = 0; k < f.n; k++) {
            if (f.p[k] == '"')
                buf_add_char(&s->quoted, '"');
            buf_add_char(&s->quoted, f.p[k]);
        }
        buf_add_char(&s->quoted, '"');
    }
    buf_add_char(&s->quoted, '\n');
    return 0;
}

static int read_csv(const char *p, size_t n, size_t piece, struct seen *s, struct err *err)
{
    struct csv *c = csv_new(on_row, s);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < n; at += piece)
        rc = csv_feed(c, p + at, n - at < piece ? n - at : piece, err);
    if (rc == 0)
        rc = csv_end(c, err);
    csv_free(c);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct seen whole = {0}, pieces = {0}, again = {0};
    struct err a = {0}, b = {0};
    int rc = read_csv((const char *)data, n, n + 1, &whole, &a);

    BUG_ON(read_csv((const char *)data, n, 1 + n % 71, &pieces, &b) != rc);
    BUG_ON(rc && (a.code != ERR_INVAL || strcmp(a.msg, b.msg) != 0));
    BUG_ON(!slice_eq(buf_slice(&whole.rows), buf_slice(&pieces.rows)));
    if (rc == 0 && whole.quoted.len > 0) {
        BUG_ON(read_csv(whole.quoted.data, whole.quoted.len, 64, &again, &a) != 0);
        BUG_ON(!slice_eq(buf_slice(&whole.rows), buf_slice(&again.rows)));
    }
    buf_fini(&whole.rows);
    buf_fini(&whole.quoted);
    buf_fini(&pieces.rows);
    buf_fini(&pieces.quoted);
    buf_fini(&again.rows);
    buf_fini(&again.quoted);
    return 0;
}
