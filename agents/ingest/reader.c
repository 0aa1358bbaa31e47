#include "agents/ingest/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agents/ingest/arrays.h"
#include "agents/ingest/csv.h"

#include "common/fault.h"

enum {
    SNIFF_BYTES = 8, /* the longest magic number has six */
    PIECE_BYTES = 256 << 10,
};
static const size_t FIRST_BYTES = (size_t)4
                                  << 20; /* types are found from; some ten thousand rows */

enum format { FORMAT_UNKNOWN = 0, FORMAT_CSV, FORMAT_NPY, FORMAT_NPZ };

struct reader {
    const struct reader_request *rq;
    struct sheet *s;
    const struct strset *forced; /* columns that are categories, from the pass before */
    enum format format;
    struct buf head; /* the first bytes, until the format is known */
    struct gz *gz;
    struct csv *csv;
    struct buf first;    /* the first text, until there is enough of it */
    bool is_header_done; /* the sheet is open */
    uint64_t text_bytes;
    int copy_fd; /* -1: none; of arrays, or of text that may be read again */
    char *copy_path;
    bool is_disk_error; /* of the store, not of the dataset */
};

static int write_copy(struct reader *r, const void *p, size_t n, struct err *err)
{
    const char *from = p;

    if (r->copy_fd < 0) {
        r->copy_path = artifacts_tmp(r->rq->artifacts, "dataset", err);
        r->copy_fd =
            r->copy_path ? open(r->copy_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
        if (r->copy_fd < 0)
            return err_io(err, "copy of the dataset: %s", strerror(errno));
    }
    for (ssize_t k; n > 0; from += k, n -= (size_t)k) {
        k = EFFECT(store, "ingest.copy.write", FAULT_ERRNO, write(r->copy_fd, from, n));
        if (k < 0 && errno != EINTR)
            return err_io(err, "copy of the dataset: %s", strerror(errno));
        k = k < 0 ? 0 : k;
    }
    return 0;
}

/* ---- rows ---- */

/* Something about the dataset stops the reading; the report says what. */
static int stop(struct err *err)
{
    return err_inval(err, "the dataset is refused");
}

static int open_sheet(struct reader *r, const struct slice *names, size_t n)
{
    sheet_open(r->s, r->rq->pipeline, r->rq->artifacts, names, n, r->forced);
    for (size_t i = 0; i < r->rq->n_known_segments; i++)
        strset_add(&r->s->known, slice_str(r->rq->known_segments[i]));
    r->is_header_done = true;
    return r->s->report.is_rejected ? -1 : 0;
}

static int on_survey_row(void *ctx, const struct csv_row *row, struct err *err)
{
    struct reader *r = ctx;

    if (row->row == 0)
        return open_sheet(r, row->fields, row->n) || !sheet_needs_survey(r->s) ? stop(err) : 0;
    sheet_survey(r->s, row->fields, row->n);
    return 0;
}

static int on_row(void *ctx, const struct csv_row *row, struct err *err)
{
    struct reader *r = ctx;

    if (row->row == 0)
        return 0; /* the survey has opened the sheet with it */
    if (sheet_add_text(r->s, row->fields, row->n, row->row, row->line, row->text, err) == 0)
        return 0;
    r->is_disk_error = true;
    return -1;
}

/* ---- text ---- */

/* Broken rules of CSV are told by the second reading, which comes to the same place. */
static void survey(struct reader *r, bool is_whole)
{
    struct csv *c = csv_new(on_survey_row, r);
    struct err ignored = {0};

    if (csv_feed(c, r->first.data, r->first.len, &ignored) == 0 && is_whole)
        (void)!csv_end(c, &ignored);
    csv_free(c);
    if (r->is_header_done)
        sheet_settle(r->s);
}

static int begin_text(struct reader *r, bool is_whole, struct err *err)
{
    bool may_repeat;

    r->csv = csv_new(on_row, r);
    survey(r, is_whole);
    if (r->s->report.is_rejected)
        return stop(err);
    /* A download is kept when a type that was found may turn out to be another. */
    may_repeat = !is_whole && r->is_header_done && !r->forced->n &&
                 strncmp(r->rq->source.uri, "file://", 7) != 0;
    for (size_t i = 0; may_repeat && i < r->s->n_columns; i++)
        if (r->s->columns[i].role == ROLE_FEATURE && !r->s->columns[i].rule) {
            if (write_copy(r, r->first.data, r->first.len, err)) {
                r->is_disk_error = true;
                return -1;
            }
            break;
        }
    if (r->first.len && csv_feed(r->csv, r->first.data, r->first.len, err))
        return -1;
    buf_fini(&r->first);
    return 0;
}

static int on_text(void *ctx, const void *p, size_t n, struct err *err)
{
    struct reader *r = ctx;

    r->text_bytes += n;
    if (r->text_bytes > r->rq->source.max_bytes)
        return err_set(err, ERR_LIMIT, NEXT_REJECT,
                       "the text unpacks to more than %llu bytes, the most that is read",
                       (unsigned long long)r->rq->source.max_bytes);
    if (!r->csv) {
        buf_add(&r->first, p, n);
        return r->first.len < FIRST_BYTES ? 0 : begin_text(r, false, err);
    }
    if (r->copy_fd >= 0 && write_copy(r, p, n, err)) {
        r->is_disk_error = true;
        return -1;
    }
    return csv_feed(r->csv, p, n, err);
}

static int end_text(struct reader *r, struct err *err)
{
    if (r->gz && gz_end(r->gz, err))
        return -1;
    if (!r->csv && begin_text(r, true, err))
        return -1;
    if (csv_end(r->csv, err))
        return -1;
    if (!r->is_header_done)
        return err_inval(err,
                         "the file is empty; a header with the names of the columns is wanted");
    return 0;
}

/* ---- arrays ---- */

static int end_arrays(struct reader *r, struct err *err)
{
    struct arrays x;
    struct slice names[CSV_MAX_FIELDS];
    int rc;

    if (arrays_open(r->rq->artifacts, r->copy_fd, r->format == FORMAT_NPZ, r->rq->pipeline,
                    r->rq->source.max_bytes, &x, err))
        return -1;
    if (x.names.n > CSV_MAX_FIELDS) {
        arrays_close(&x);
        return err_inval(err, "there are more than %d columns", CSV_MAX_FIELDS);
    }
    for (size_t i = 0; i < x.names.n; i++)
        names[i] = (struct slice){x.names.items[i], x.names.lens[i]};
    rc = open_sheet(r, names, x.names.n) ? stop(err)
                                         : arrays_rows(&x, r->s, r->rq->source.cancel, err);
    arrays_close(&x);
    return rc;
}

/* ---- bytes ---- */

static enum format named_format(const char *name)
{
    if (strcmp(name, "csv") == 0)
        return FORMAT_CSV;
    if (strcmp(name, "npy") == 0)
        return FORMAT_NPY;
    return strcmp(name, "npz") == 0 ? FORMAT_NPZ : FORMAT_UNKNOWN;
}

static enum format seen_format(struct slice head)
{
    if (head.n >= 6 && memcmp(head.p, "\x93NUMPY", 6) == 0)
        return FORMAT_NPY;
    if (head.n >= 4 &&
        (memcmp(head.p, "PK\x03\x04", 4) == 0 || memcmp(head.p, "PK\x05\x06", 4) == 0))
        return FORMAT_NPZ;
    return FORMAT_CSV;
}

static int on_known_bytes(struct reader *r, const void *p, size_t n, struct err *err)
{
    if (r->format == FORMAT_CSV)
        return r->gz ? gz_feed(r->gz, p, n, err) : on_text(r, p, n, err);
    if (write_copy(r, p, n, err)) {
        r->is_disk_error = true;
        return -1;
    }
    return 0;
}

static int know_format(struct reader *r, struct err *err)
{
    struct slice head = buf_slice(&r->head);

    r->format = r->rq->format ? named_format(r->rq->format) : seen_format(head);
    if (r->format == FORMAT_UNKNOWN)
        return err_inval(err, "the format '%.40s' is not known; csv, npy and npz are",
                         r->rq->format);
    if (r->format == FORMAT_CSV && head.n >= 2 && memcmp(head.p, "\x1f\x8b", 2) == 0)
        r->gz = gz_new(GZ_GZIP, on_text, r);
    return head.n ? on_known_bytes(r, head.p, head.n, err) : 0;
}

static int on_bytes(void *ctx, const void *p, size_t n, struct err *err)
{
    struct reader *r = ctx;
    size_t k;

    if (r->format != FORMAT_UNKNOWN)
        return on_known_bytes(r, p, n, err);
    k = SNIFF_BYTES - r->head.len < n ? SNIFF_BYTES - r->head.len : n;
    buf_add(&r->head, p, k);
    if (r->head.len < SNIFF_BYTES)
        return 0;
    if (know_format(r, err))
        return -1;
    return n > k ? on_known_bytes(r, (const char *)p + k, n - k, err) : 0;
}

static int end_bytes(struct reader *r, struct err *err)
{
    if (r->format == FORMAT_UNKNOWN && know_format(r, err))
        return -1;
    if (r->format == FORMAT_CSV)
        return end_text(r, err);
    if (r->copy_fd < 0)
        return err_inval(err, "the file is empty");
    return end_arrays(r, err);
}

/* ---- passes ---- */

static void reader_fini(struct reader *r)
{
    if (r->copy_fd >= 0)
        close(r->copy_fd);
    if (r->copy_path)
        unlink(r->copy_path);
    free(r->copy_path);
    gz_free(r->gz);
    csv_free(r->csv);
    buf_fini(&r->head);
    buf_fini(&r->first);
}

static void refuse(struct sheet *s, enum broken rule, const struct err *why)
{
    report_whole(&s->report, REPORT_NO_COLUMN, rule, VIOLATION_REJECT, 1, "%s.", why->msg);
}

/* Sorts a failure: into the report, or back to the caller.  0: it is in the report. */
static int judge(struct reader *r, enum broken rule, enum broken *ret_rule, const struct err *why)
{
    *ret_rule = rule;
    if (r->is_disk_error || why->next == NEXT_RETRY)
        return -1;
    if (rule == BROKEN_COUNT && r->s->report.is_rejected)
        return 0; /* the sheet has said it better */
    if (rule == BROKEN_COUNT)
        rule = why->code == ERR_LIMIT ? BROKEN_SIZE : BROKEN_CSV;
    refuse(r->s, rule, why);
    return 0;
}

static int read_source(struct reader *r, struct source_result *ret, enum broken *ret_rule,
                       struct err *err)
{
    enum broken rule = BROKEN_COUNT;

    if (source_read(&r->rq->source, on_bytes, r, ret, &rule, err))
        return judge(r, rule, ret_rule, err);
    if (end_bytes(r, err))
        return judge(r, BROKEN_COUNT, ret_rule, err);
    sheet_end(r->s, r->rq->rows);
    return 0;
}

/* The text again, from the copy that the first pass kept. */
static int read_copy(struct reader *r, int fd, enum broken *ret_rule, struct err *err)
{
    CLEANUP_FREE char *piece = xmalloc(PIECE_BYTES);
    ssize_t n;
    off_t at = 0;

    r->format = FORMAT_CSV;
    while ((n = pread(fd, piece, PIECE_BYTES, at)) > 0) {
        at += n;
        if (r->rq->source.cancel && *r->rq->source.cancel)
            return err_set(err, ERR_CANCELED, NEXT_RETRY, "canceled");
        if (on_text(r, piece, (size_t)n, err))
            return judge(r, BROKEN_COUNT, ret_rule, err);
    }
    if (n < 0)
        return err_io(err, "copy of the dataset: %s", strerror(errno));
    if (end_text(r, err))
        return judge(r, BROKEN_COUNT, ret_rule, err);
    sheet_end(r->s, r->rq->rows);
    return 0;
}

static void take_mixed(const struct sheet *s, struct strset *forced)
{
    for (size_t i = 0; i < s->n_columns; i++)
        if (s->columns[i].is_mixed)
            strset_add(forced, slice_str(s->columns[i].name));
}

static int read_again(struct reader *first, const struct source_result *seen,
                      const struct strset *forced, enum broken *ret_rule, struct err *err)
{
    struct reader r = {.rq = first->rq, .s = first->s, .forced = forced, .copy_fd = -1};
    struct source_result now = {0};
    int rc;

    sheet_close(r.s);
    if (first->copy_fd >= 0)
        rc = read_copy(&r, first->copy_fd, ret_rule, err);
    else
        rc = read_source(&r, &now, ret_rule, err);
    /* The same bytes cannot be mixed again: every such column was found the first time. */
    if (rc == 0 && !r.s->report.is_rejected &&
        (r.s->is_mixed ||
         (first->copy_fd < 0 && (now.bytes != seen->bytes || now.mtime_ns != seen->mtime_ns)))) {
        (void)err_inval(err, "%s changed while it was read; publish it when it is complete",
                        r.rq->source.uri);
        refuse(r.s, BROKEN_FETCH, err);
    }
    reader_fini(&r);
    return rc;
}

int reader_read(const struct reader_request *rq, struct sheet *s, uint64_t *ret_bytes,
                enum broken *ret_rule, struct err *err)
{
    struct strset forced = {0};
    struct reader r = {.rq = rq, .s = s, .forced = &forced, .copy_fd = -1};
    struct source_result seen = {0};
    int rc = read_source(&r, &seen, ret_rule, err);

    if (rc == 0 && s->is_mixed && !s->report.is_rejected) {
        take_mixed(s, &forced);
        rc = read_again(&r, &seen, &forced, ret_rule, err);
    }
    *ret_bytes = seen.bytes;
    reader_fini(&r);
    strset_fini(&forced);
    return rc;
}
