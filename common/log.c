/* One lock around everything but the formatting of the caller's text.  A line is written with one
 * write(2), so that the lines of processes that share a pipe do not mix.
 *
 * Folding: of lines with the same key within LOG_FOLD_MS the first is written at once, of the
 * others the last, with count=N, when the window ends, which is seen at the next line of any kind
 * or by log_flush(). The key of warnings and errors is level, event and line (a broker that is down
 * says it once); the key of information includes the text, because two facts with one name are two
 * facts; debug lines are never folded. */
#include "common/log.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clk.h"
#include "common/rng.h"

enum {
    LOG_FOLD_MS = 10000,
    LOG_FOLD_SLOTS = 64,    /* different repeating lines at once; the oldest makes room */
    LOG_TEXT_BYTES = 4096,  /* of one caller's text, the rest is cut: PIPE_BUF, whole in a pipe */
    LOG_LINE_BYTES = 16384, /* of a whole line; escapes make four bytes out of one */
    LOG_WORD_BYTES = 192,   /* agent names, event names, lines and ids fit */
};

struct fold {
    uint64_t key; /* 0: free */
    int64_t start_ms;
    enum log_level level;
    size_t held; /* lines not written since the window began */
    char event[LOG_WORD_BYTES];
    char text[LOG_TEXT_BYTES]; /* of the last one, with its context */
};

static struct {
    pthread_mutex_t lock;
    char agent[LOG_WORD_BYTES];
    enum log_level min_level;
    const struct clk *clk;
    log_sink_fn sink;
    void *sink_ctx;
    bool registered;
    struct fold folds[LOG_FOLD_SLOTS];
} state = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .agent = "-", .min_level = LOG_INFO, .clk = &clk_system};

/* Of this thread: the loop's thread handles one event at a time, other threads have none. */
static _Thread_local struct {
    char line[LOG_WORD_BYTES], event_id[LOG_WORD_BYTES];
} context;

static const char *const level_names[LOG_COUNT] = {"debug", "info", "warn", "error"};

int log_level_parse(const char *s, enum log_level *ret)
{
    for (int level = 0; level < LOG_COUNT; level++) {
        if (strcmp(s, level_names[level]) == 0) {
            *ret = (enum log_level)level;
            return 0;
        }
    }
    return -1;
}

const char *log_level_str(enum log_level level)
{
    return (unsigned)level < LOG_COUNT ? level_names[level] : "unknown";
}

void log_init(const char *agent, enum log_level min_level)
{
    bool first;

    pthread_mutex_lock(&state.lock);
    (void)str_copy(state.agent, sizeof(state.agent), agent);
    __atomic_store_n(&state.min_level, min_level, __ATOMIC_RELAXED);
    first = !state.registered;
    state.registered = true;
    pthread_mutex_unlock(&state.lock);
    if (first)
        (void)atexit(log_flush);
}

void log_redirect(log_sink_fn sink, void *ctx, const struct clk *clk)
{
    log_flush();
    pthread_mutex_lock(&state.lock);
    state.sink = sink;
    state.sink_ctx = ctx;
    state.clk = clk ? clk : &clk_system;
    memset(state.folds, 0, sizeof(state.folds));
    pthread_mutex_unlock(&state.lock);
}

void log_context(const char *line, const char *event_id)
{
    (void)str_copy(context.line, sizeof(context.line), line ? line : "");
    (void)str_copy(context.event_id, sizeof(context.event_id), event_id ? event_id : "");
}

/* --- one line -----------------------------------------------------------------------------------
 */

static void add_escaped(struct buf *out, const char *p, size_t n, bool quoted)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c == '\n')
            buf_add_str(out, "\\n");
        else if (c == '\t')
            buf_add_str(out, "\\t");
        else if (c < 0x20 || c == 0x7F)
            buf_addf(out, "\\x%02x", c);
        else if (quoted && (c == '"' || c == '\\'))
            buf_addf(out, "\\%c", c);
        else
            buf_add_char(out, (char)c);
    }
}

/* Length of a "key=" at p, 0 when there is none. */
static size_t key_length(const char *p)
{
    size_t n = 0;

    if (!islower((unsigned char)p[0]))
        return 0;
    while (islower((unsigned char)p[n]) || isdigit((unsigned char)p[n]) || p[n] == '_' ||
           p[n] == '.')
        n++;
    return p[n] == '=' ? n + 1 : 0;
}

/* Where the value at p ends: before the next " key=", or at the end of the text. */
static size_t value_length(const char *p)
{
    size_t n = 0;

    while (p[n] && !(p[n] == ' ' && key_length(p + n + 1)))
        n++;
    return n;
}

/* A value with blanks, quotes or control characters is quoted, so that a parser of logfmt finds
 * the pairs again; quotes that the caller wrote around it are not doubled. */
static void add_value(struct buf *out, const char *p, size_t n)
{
    bool plain = n > 0;

    if (n >= 2 && p[0] == '"' && p[n - 1] == '"') {
        p++;
        n -= 2;
        plain = false;
    }
    for (size_t i = 0; i < n && plain; i++)
        plain = (unsigned char)p[i] > 0x20 && p[i] != '"' && p[i] != '=' && p[i] != 0x7F;
    if (!plain)
        buf_add_char(out, '"');
    add_escaped(out, p, n, !plain);
    if (!plain)
        buf_add_char(out, '"');
}

/* The caller's "key=value key=value"; words before the first key stand as they are. */
static void add_text(struct buf *out, const char *p)
{
    while (*p) {
        size_t key = key_length(p), n;

        buf_add(out, p, key);
        p += key;
        n = value_length(p);
        if (key)
            add_value(out, p, n);
        else
            add_escaped(out, p, n, false);
        p += n;
        if (*p == ' ') {
            buf_add_char(out, ' ');
            p++;
        }
    }
}

static void write_stderr(const char *p, size_t n)
{
    ssize_t written;

    for (; n > 0; p += written, n -= (size_t)written) {
        written = write(STDERR_FILENO, p, n);
        if (written < 0 && errno != EINTR)
            return; /* nobody reads: there is no other place to say so */
        if (written < 0)
            written = 0;
    }
}

/* `text` has the context in front.  Called with the lock held. */
static void emit(enum log_level level, const char *event, const char *text, size_t count)
{
    CLEANUP(buf_fini) struct buf line = {.cap = LOG_LINE_BYTES};
    char ts[CLK_RFC3339_SIZE];

    clk_format(clk_unix_us(state.clk), ts);
    buf_addf(&line, "%s %s %s %s", ts, level_names[level], state.agent, event);
    if (count > 1)
        buf_addf(&line, " count=%zu", count);
    if (*text) {
        buf_add_char(&line, ' ');
        add_text(&line, text);
    }
    while (line.len > 0 && line.data[line.len - 1] == ' ')
        line.len--;
    line.overflow = false; /* a line that was cut ends here */
    line.cap = LOG_LINE_BYTES + 1;
    buf_add_char(&line, '\n');
    if (state.sink)
        state.sink(state.sink_ctx, line.data, line.len);
    else
        write_stderr(line.data, line.len);
}

/* --- folding ------------------------------------------------------------------------------------
 */

/* What went on repeating stays folded, with a line a window; what has stopped is forgotten. */
static void fold_end(struct fold *f, int64_t now_ms)
{
    if (f->held)
        emit(f->level, f->event, f->text, f->held);
    else
        f->key = 0;
    f->held = 0;
    f->start_ms = now_ms;
}

static void end_windows(int64_t now_ms, bool all)
{
    for (size_t i = 0; i < LOG_FOLD_SLOTS; i++) {
        struct fold *f = &state.folds[i];

        if (f->key && (all || now_ms - f->start_ms >= LOG_FOLD_MS))
            fold_end(f, now_ms);
    }
}

static uint64_t fold_key(enum log_level level, const char *event, const char *text)
{
    uint64_t key = hash64(event, strlen(event), (uint64_t)level);

    key = hash64(context.line, strlen(context.line), key);
    if (level < LOG_WARN)
        key = hash64(text, strlen(text), key);
    return key ? key : 1;
}

/* True when the line is held back. */
static bool fold_line(enum log_level level, const char *event, const char *own, const char *text)
{
    int64_t now_ms = clk_mono_ms(state.clk);
    uint64_t key = fold_key(level, event, own);
    struct fold *free_slot = &state.folds[0];

    end_windows(now_ms, false);
    for (size_t i = 0; i < LOG_FOLD_SLOTS; i++) {
        struct fold *f = &state.folds[i];

        if (f->key == key) {
            (void)str_copy(f->text, sizeof(f->text), text);
            f->held++;
            return true;
        }
        if (free_slot->key && (!f->key || f->start_ms < free_slot->start_ms))
            free_slot = f;
    }
    if (free_slot->key)
        fold_end(free_slot, now_ms);
    free_slot->key = key;
    free_slot->start_ms = now_ms;
    free_slot->level = level;
    (void)str_copy(free_slot->event, sizeof(free_slot->event), event);
    return false;
}

void log_flush(void)
{
    pthread_mutex_lock(&state.lock);
    end_windows(clk_mono_ms(state.clk), true);
    pthread_mutex_unlock(&state.lock);
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    CLEANUP(buf_fini) struct buf text = {.cap = LOG_TEXT_BYTES - 1};
    char own[LOG_TEXT_BYTES];
    va_list ap;

    if (level < __atomic_load_n(&state.min_level, __ATOMIC_RELAXED))
        return;
    va_start(ap, fmt);
    if (vsnprintf(own, sizeof(own), fmt, ap) < 0)
        own[0] = '\0';
    va_end(ap);
    if (context.line[0])
        buf_addf(&text, "line=%s ", context.line);
    if (context.event_id[0])
        buf_addf(&text, "event_id=%s ", context.event_id);
    buf_add(&text, own, strnlen(own, LOG_TEXT_BYTES - 1 - text.len));
    pthread_mutex_lock(&state.lock);
    if (level == LOG_DEBUG || !fold_line(level, event, own, text.data ? text.data : ""))
        emit(level, event, text.data ? text.data : "", 1);
    pthread_mutex_unlock(&state.lock);
}
