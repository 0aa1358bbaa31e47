/* One line per fact, logfmt on stderr: `ts level agent event key=value...`.  Control characters in
 * values are escaped, values with blanks quoted; repeats within 10 s are folded into a count: the
 * first is written at once, the last of the rest with count=N when the window ends.  Warnings and
 * errors repeat when event and line are the same, information when the text is too; debug is never
 * folded.  Only agents/ and common/agent* log above debug; everything else returns errors.
 * Thread: any. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/base.h"

enum log_level { LOG_DEBUG = 0, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_COUNT };

void log_init(const char *agent, enum log_level min_level);
/* Writes what is folded.  The runtime calls it now and then, so that a count is not late; it runs
 * at exit by itself. */
void log_flush(void);
const char *log_level_str(enum log_level level);
int log_level_parse(const char *s, enum log_level *ret);
/* Context of the event being handled, in front of every line of this thread until cleared (NULLs
 * clear it). */
void log_context(const char *line, const char *event_id);
/* log_info("model.trained", "run=%s rows=%zu", run, rows): event is a dotted fixed word. */
void log_write(enum log_level level, const char *event, const char *fmt, ...) PRINTF(3, 4);
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

/* Whole lines, with their line end, go to `sink` in place of stderr (NULL: stderr again), with time
 * from clk (NULL: the system's).  The sink runs under the log's lock: it must not log. */
struct clk;
typedef void (*log_sink_fn)(void *ctx, const char *line, size_t n);
void log_redirect(log_sink_fn sink, void *ctx, const struct clk *clk);

#endif
