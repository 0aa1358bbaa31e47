/* Deterministic random numbers (xoshiro256**, Blackman & Vigna 2018), seeded by splitmix64. */
#ifndef COMMON_RNG_H
#define COMMON_RNG_H

#include "common/base.h"

struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* uniform in [0,n), unbiased; n > 0 */
double rng_double(struct rng *r);              /* uniform in [0,1) */
double rng_normal(struct rng *r);              /* standard normal */
uint64_t rng_os_seed(void);                    /* from the kernel; for jitter, never for results */
/* 64 well-mixed bits, not cryptographic, stable for ever: stored row hashes are made with it. */
uint64_t hash64(const void *p, size_t n, uint64_t seed);

#endif
