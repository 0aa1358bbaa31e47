/* What a child says, and what is said of it. */
#include "common/job_internal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"

/* --- lines of stdout ------------------------------------------------------------------------- */

static void line_out(struct job_lines *l)
{
    l->line[l->n] = '\0';
    l->n = 0;
    if (l->on_line)
        l->on_line(l->ctx, l->line);
}

void job__lines_add(struct job_lines *l, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n')
            line_out(l);
        else if (l->n < JOB_LINE_BYTES)
            l->line[l->n++] = p[i] ? p[i] : '?';
    }
}

void job__lines_end(struct job_lines *l)
{
    if (l->n)
        line_out(l);
}

/* --- the end of stderr ----------------------------------------------------------------------- */

void job__tail_add(struct job_tail *t, const char *p, size_t n)
{
    if (n > JOB_TAIL_BYTES) {
        p += n - JOB_TAIL_BYTES;
        n = JOB_TAIL_BYTES;
        t->n = 0;
        t->is_cut = true;
    }
    if (t->n + n > sizeof(t->bytes)) { /* the older half goes */
        memmove(t->bytes, t->bytes + t->n - JOB_TAIL_BYTES, JOB_TAIL_BYTES);
        t->n = JOB_TAIL_BYTES;
        t->is_cut = true;
    }
    memcpy(t->bytes + t->n, p, n);
    t->n += n;
}

static char printable(char c, bool is_utf8)
{
    unsigned char u = (unsigned char)c;

    if (c == '\r') /* progress bars */
        return '\n';
    if (c == '\n' || c == '\t')
        return c;
    return u < 0x20 || u == 0x7f || (u >= 0x80 && !is_utf8) ? '?' : c;
}

void job__tail_text(const struct job_tail *t, char out[JOB_TAIL_BYTES])
{
    size_t n = t->n, start = 0;
    bool is_utf8;

    while (n && (t->bytes[n - 1] == '\n' || t->bytes[n - 1] == '\r'))
        n--;
    if (n > JOB_TAIL_BYTES - 1)
        start = n - (JOB_TAIL_BYTES - 1);
    if (start || t->is_cut) {
        const char *lf = memchr(t->bytes + start, '\n', n - start);

        if (lf)
            start = (size_t)(lf - t->bytes) + 1; /* a line that is there whole */
        else
            while (start < n && ((unsigned char)t->bytes[start] & 0xc0) == 0x80)
                start++;
    }
    is_utf8 = slice_is_utf8((struct slice){t->bytes + start, n - start});
    for (size_t i = start; i < n; i++)
        out[i - start] = printable(t->bytes[i], is_utf8);
    out[n - start] = '\0';
}

/* --- one sentence ---------------------------------------------------------------------------- */

static void add_size(struct buf *b, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;

    while (u + 1 < ARRAY_LEN(units) && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        u++;
    }
    buf_addf(b, "%" PRId64 " %s", bytes, units[u]);
}

static void add_reason(struct buf *b, const struct job_result *r, const struct job_spec *spec)
{
    if (r->out_of_memory) {
        buf_add_str(b, " (memory limit ");
        add_size(b, spec->memory_bytes);
    } else if (r->timed_out) {
        buf_addf(b, " (wall time limit %.1f s", (double)spec->wall_ms / 1000);
    } else if (r->canceled) {
        buf_add_str(b, " (canceled");
    } else if (spec->cpu_ms &&
               (r->signal == SIGXCPU || (r->signal == SIGKILL && r->cpu_ms >= spec->cpu_ms))) {
        buf_addf(b, " (CPU limit %.1f s", (double)spec->cpu_ms / 1000);
    } else if (r->signal == SIGXFSZ && spec->file_bytes) {
        buf_add_str(b, " (file size limit ");
        add_size(b, spec->file_bytes);
    } else if (r->signal == SIGKILL) {
        buf_add_str(b, " (not by us: the kernel, when memory ran out, or somebody");
    } else if (r->signal) {
        buf_addf(b, " (%s", sigdescr_np(r->signal) ? sigdescr_np(r->signal) : "unknown");
    } else {
        return;
    }
    buf_add_char(b, ')');
}

void job_result_str(const struct job_result *r, const struct job_spec *spec, char *out,
                    size_t out_size)
{
    CLEANUP(buf_fini) struct buf b = {0};

    if (r->signal)
        buf_addf(&b, "killed by signal %d", r->signal);
    else
        buf_addf(&b, "exited with code %d", r->exit_code);
    buf_addf(&b, " after %.1f s", (double)r->wall_ms / 1000);
    add_reason(&b, r, spec);
    str_copy(out, out_size, b.data);
}
