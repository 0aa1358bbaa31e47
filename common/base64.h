/* Base64 of RFC 4648, section 4: standard alphabet, padded, no line breaks.  Thread: any. */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include "common/buf.h"

void base64_encode(struct slice bytes, struct buf *out); /* appends */
/* Strict: no blanks, padding as it must be. 0 or -1; on failure nothing is appended. */
int base64_decode(struct slice text, struct buf *out) WARN_UNUSED;

#endif
