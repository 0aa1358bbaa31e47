#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef err_set /* what the analyzer sees in their place */
#undef err_wrap

/* Cuts s to at most `size` - 1 bytes and never inside a UTF-8 character: messages travel in
 * records and JSON, where half a character is an error of its own. */
static void copy_message(char *dst, size_t size, const char *src)
{
    size_t n = strnlen(src, size);

    if (n == size) {
        n = size - 1;
        while (n > 0 && ((unsigned char)src[n] & 0xC0) == 0x80)
            n--;
    }
    memcpy(dst, src, n);
    dst[n] = '\0';
}

/* The text is formatted beside *err first, so that the arguments may point into it. */
int err_set(struct err *err, enum err_code code, enum err_next next, const char *fmt, ...)
{
    char text[sizeof(err->msg) * 2];
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    copy_message(err->msg, sizeof(err->msg), text);
    err->code = code;
    err->next = next;
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    char context[sizeof(err->msg)], text[sizeof(err->msg) * 2 + sizeof(": ")];
    va_list ap;
    int n;

    if (!err)
        return -1;
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        return -1;
    copy_message(context, sizeof(context), text);
    snprintf(text, sizeof(text), "%s: %s", context, err->msg);
    copy_message(err->msg, sizeof(err->msg), text);
    return -1;
}

const char *err_code_str(enum err_code code)
{
    static const char *const names[ERR_COUNT] = {
        [ERR_NONE] = "none",         [ERR_INVAL] = "inval", [ERR_NOTFOUND] = "notfound",
        [ERR_CONFLICT] = "conflict", [ERR_LIMIT] = "limit", [ERR_TIMEOUT] = "timeout",
        [ERR_CODEC] = "codec",       [ERR_BUS] = "bus",     [ERR_STORE] = "store",
        [ERR_HTTP] = "http",         [ERR_CHILD] = "child", [ERR_IO] = "io",
        [ERR_CANCELED] = "canceled",
    };

    return (unsigned)code < ERR_COUNT ? names[code] : "unknown";
}

const char *err_next_str(enum err_next next)
{
    static const char *const names[NEXT_COUNT] = {
        [NEXT_REJECT] = "reject",
        [NEXT_RETRY] = "retry",
        [NEXT_FATAL] = "fatal",
    };

    return (unsigned)next < NEXT_COUNT ? names[next] : "unknown";
}
