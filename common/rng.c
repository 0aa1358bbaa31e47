#include "common/rng.h"

#include <endian.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

/* Four outputs of splitmix64 in a row are never all zero, the one state that must not be. */
void rng_seed(struct rng *r, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_LEN(r->s); i++)
        r->s[i] = splitmix64(&seed);
}

uint64_t rng_next(struct rng *r)
{
    uint64_t result = rotl(r->s[1] * 5, 7) * 9, shifted = r->s[1] << 17;

    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= shifted;
    r->s[3] = rotl(r->s[3], 45);
    return result;
}

/* The high half of a 128-bit product; low halves under 2^64 mod n would count some values once
 * more than others and are drawn again (Lemire, 2019). */
uint64_t rng_below(struct rng *r, uint64_t n)
{
    unsigned __int128 product;
    uint64_t uneven;

    BUG_ON(n == 0);
    uneven = (0 - n) % n;
    do {
        product = (unsigned __int128)rng_next(r) * n;
    } while ((uint64_t)product < uneven);
    return (uint64_t)(product >> 64);
}

double rng_double(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* Box and Muller, one of the pair: nothing is kept between calls, so that the state is s alone. */
double rng_normal(struct rng *r)
{
    double radius = sqrt(-2.0 * log(1.0 - rng_double(r))); /* 1 - u is in (0,1] */

    return radius * cos(2.0 * M_PI * rng_double(r));
}

uint64_t rng_os_seed(void)
{
    uint64_t seed = 0;

    BUG_ON(getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed));
    return seed;
}

/* --- hash64: products of 64-bit words folded to 64 bits.  Stable for ever: row hashes of stored
 * snapshots are compared with new ones, so the pinned values in its test must never change. ------
 */

/* Fractional parts of the square roots of 2, 3 and 5. */
static const uint64_t K0 = 0x6A09E667F3BCC909, K1 = 0xBB67AE8584CAA73B, K2 = 0x3C6EF372FE94F82B;

/* The operands are folded in again, so that one that happens to be zero does not erase the other.
 */
static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ a ^ b;
}

static uint64_t read64(const unsigned char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static uint64_t read32(const unsigned char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

uint64_t hash64(const void *bytes, size_t n, uint64_t seed)
{
    const unsigned char *p = bytes;
    uint64_t h = fold(seed ^ K0, K1), other = h ^ K2, a = 0, b = 0;
    size_t left = n;

    for (; left > 32; p += 32, left -= 32) { /* two chains side by side hide each other's latency */
        h = fold(read64(p) ^ K0, read64(p + 8) ^ h);
        other = fold(read64(p + 16) ^ K1, read64(p + 24) ^ other);
    }
    h ^= rotl(other, 29);
    if (left > 16) {
        h = fold(read64(p) ^ K2, read64(p + 8) ^ h);
        p += 16;
        left -= 16;
    }
    if (left >= 8) {
        a = read64(p);
        b = read64(p + left - 8);
    } else if (left >= 4) {
        a = read32(p);
        b = read32(p + left - 4);
    } else if (left > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[left / 2] << 8 | p[left - 1];
    }
    return fold(fold(a ^ K1, b ^ h), K2 ^ (uint64_t)n);
}
