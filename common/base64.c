#include "common/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice bytes, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)bytes.p;

    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;
        char text[4];

        if (n > 1)
            v |= (uint32_t)p[i + 1] << 8;
        if (n > 2)
            v |= p[i + 2];
        for (size_t k = 0; k < 4; k++)
            text[k] = k <= n ? digits[v >> (18 - 6 * k) & 63] : '=';
        buf_add(out, text, 4);
    }
}

static int undo(struct buf *out, size_t begin)
{
    out->len = begin;
    if (out->data)
        out->data[begin] = '\0';
    return -1;
}

int base64_decode(struct slice text, struct buf *out)
{
    size_t begin = out->len, n = text.n;

    if (n % 4 != 0)
        return -1;
    for (size_t pad = 0; pad < 2 && n > 0 && text.p[n - 1] == '='; pad++)
        n--;
    for (size_t i = 0; i < n; i += 4) {
        size_t have = n - i < 4 ? n - i : 4;
        uint32_t v = 0;
        uint8_t bytes[3];

        for (size_t k = 0; k < 4; k++) {
            const char *digit = k < have ? memchr(digits, text.p[i + k], 64) : digits;

            if (!digit)
                return undo(out, begin);
            v = v << 6 | (uint32_t)(digit - digits);
        }
        bytes[0] = (uint8_t)(v >> 16);
        bytes[1] = (uint8_t)(v >> 8);
        bytes[2] = (uint8_t)v;
        if (have < 2 || (have == 2 && (v & 0xffff)) || (have == 3 && (v & 0xff)))
            return undo(out, begin); /* bits left over */
        buf_add(out, bytes, have - 1);
    }
    return 0;
}
