/* One line per fact, logfmt on stderr: `ts level agent event key=value...`.  Control characters in
 * values are escaped; repeats of one event within 10 s are folded into a count.  Only agents/ and
 * common/agent* log above debug; everything else returns errors.  Thread: any. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/base.h"

enum log_level { LOG_DEBUG = 0, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_COUNT };

void log_init(const char *agent, enum log_level min_level);
int log_level_parse(const char *s, enum log_level *ret);
/* Context of the event being handled, in front of every line until cleared (NULLs clear it). */
void log_context(const char *line, const char *event_id);
/* log_info("model.trained", "run=%s rows=%zu", run, rows): event is a dotted fixed word. */
void log_write(enum log_level level, const char *event, const char *fmt, ...) PRINTF(3, 4);
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
