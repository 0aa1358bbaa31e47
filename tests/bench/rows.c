/* Data for the benchmarks: `rows ROWS SEED` writes a CSV of 28 features and a label, about 270
 * bytes a row, as quickly as a disk takes it; `rows --mb N SEED` goes on until N million bytes are
 * written.  The same seed gives the same bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"

enum {
    FEATURES = 28,
    ROW_MAX_BYTES = FEATURES * 10 + 2,
    BUFFER_BYTES = 1 << 20,
    MICRO = 1000000,
    USED = 6, /* features that the label rests on: the rest is there to be read */
};

/* Three uniform numbers added up: bell-shaped, between -3 and 3, in millionths. */
static int64_t draw(struct rng *r)
{
    uint64_t bits = rng_next(r);
    int64_t sum = (int64_t)(bits & 0x1fffff) + (int64_t)(bits >> 21 & 0x1fffff) +
                  (int64_t)(bits >> 42 & 0x1fffff);

    return sum * (6 * MICRO) / (3 << 21) - 3 * MICRO;
}

static char *write_number(char *at, int64_t micro)
{
    uint64_t v = (uint64_t)(micro < 0 ? -micro : micro);

    if (micro < 0)
        *at++ = '-';
    *at++ = (char)('0' + v / MICRO);
    *at++ = '.';
    v %= MICRO;
    for (int i = 5; i >= 0; i--, v /= 10)
        at[i] = (char)('0' + v % 10);
    return at + 6;
}

static char *write_row(char *at, struct rng *r)
{
    double score = 0;

    for (int i = 0; i < FEATURES; i++) {
        int64_t v = draw(r);

        if (i < USED)
            score += (i % 2 ? 1.0 : -0.7) * (double)v / MICRO * (i == 2 && v > 0 ? 2 : 1);
        at = write_number(at, v);
        *at++ = ',';
    }
    *at++ = score + rng_normal(r) > 0 ? '1' : '0';
    *at++ = '\n';
    return at;
}

int main(int argc, char **argv)
{
    static char buffer[BUFFER_BYTES];
    char *at = buffer;
    struct rng r;
    unsigned long long rows = ~0ull, bytes = ~0ull, written = 0;

    if (argc == 4 && strcmp(argv[1], "--mb") == 0) {
        bytes = strtoull(argv[2], NULL, 10) * MICRO;
    } else if (argc == 3) {
        rows = strtoull(argv[1], NULL, 10);
    } else {
        fputs("usage: rows ROWS SEED | rows --mb N SEED\n", stderr);
        return 2;
    }
    rng_seed(&r, strtoull(argv[argc - 1], NULL, 10));
    for (int i = 0; i < FEATURES; i++)
        at += snprintf(at, 8, "f%02d,", i);
    at += snprintf(at, 8, "label\n");
    for (unsigned long long n = 0; n < rows && written + (size_t)(at - buffer) < bytes; n++) {
        at = write_row(at, &r);
        if (at + ROW_MAX_BYTES < buffer + BUFFER_BYTES)
            continue;
        written += fwrite(buffer, 1, (size_t)(at - buffer), stdout);
        at = buffer;
    }
    fwrite(buffer, 1, (size_t)(at - buffer), stdout);
    return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
