#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/rng.h"
#include "tests/support/aborts.h"

/* splitmix64.c of Vigna, first outputs for the seed 1234567 (as published on Rosetta Code). */
static void seed_is_splitmix64(void **state)
{
    struct rng r;

    (void)state;
    rng_seed(&r, 1234567);
    assert_true(r.s[0] == 6457827717110365317u);
    assert_true(r.s[1] == 3203168211198807973u);
    assert_true(r.s[2] == 9817491932198370423u);
    assert_true(r.s[3] == 4593380528125082431u);
}

/* xoshiro256starstar.c of Blackman and Vigna, from the state {1, 2, 3, 4}: the vector that Rust's
 * rand_xoshiro 0.6 is tested with. */
static void next_is_xoshiro256_star_star(void **state)
{
    static const uint64_t expected[] = {
        11520u,
        0u,
        1509978240u,
        1215971899390074240u,
        1216172134540287360u,
        607988272756665600u,
        16172922978634559625u,
        8476171486693032832u,
        10595114339597558777u,
        2904607092377533576u,
    };
    struct rng r = {.s = {1, 2, 3, 4}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_true(rng_next(&r) == expected[i]);
}

static void same_seed_same_numbers(void **state)
{
    struct rng a, b, c;
    int same = 0;

    (void)state;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    rng_seed(&c, 8);
    for (int i = 0; i < 100; i++) {
        uint64_t v = rng_next(&a);

        assert_true(v == rng_next(&b));
        same += v == rng_next(&c);
    }
    assert_int_equal(same, 0);
}

static void below_is_in_range_and_even(void **state)
{
    enum { N = 7, DRAWS = 70000 };
    int counts[N] = {0};
    const double expected = (double)DRAWS / N;
    double chi_square = 0;
    struct rng r;

    (void)state;
    rng_seed(&r, 3);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t v = rng_below(&r, N);

        assert_true(v < N);
        counts[v]++;
    }
    for (int i = 0; i < N; i++)
        chi_square += pow(counts[i] - expected, 2) / expected;
    assert_true(chi_square < 22.46); /* 6 degrees of freedom, 0.1 % */
    for (int i = 0; i < 100; i++) {
        assert_true(rng_below(&r, 1) == 0);
        assert_true(rng_below(&r, ((uint64_t)1 << 63) + 1) <= (uint64_t)1 << 63);
    }
}

static void below_nothing(void *arg)
{
    struct rng r;

    (void)arg;
    rng_seed(&r, 1);
    (void)rng_below(&r, 0);
}

static void below_zero_is_a_bug(void **state)
{
    (void)state;
    assert_true(aborts(below_nothing, NULL));
}

static void doubles_are_below_one_and_even(void **state)
{
    double sum = 0, sum_squares = 0;
    struct rng r;

    (void)state;
    rng_seed(&r, 4);
    for (int i = 0; i < 100000; i++) {
        double v = rng_double(&r);

        assert_true(v >= 0 && v < 1);
        sum += v;
        sum_squares += v * v;
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.004); /* four standard errors */
    assert_true(fabs(sum_squares / 100000 - 1.0 / 3) < 0.004);
}

static void normals_have_the_moments_and_tails_of_one(void **state)
{
    enum { DRAWS = 200000 };
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    int beyond_two = 0;
    struct rng r;

    (void)state;
    rng_seed(&r, 5);
    for (int i = 0; i < DRAWS; i++) {
        double v = rng_normal(&r);

        assert_true(isfinite(v));
        m1 += v / DRAWS;
        m2 += v * v / DRAWS;
        m3 += v * v * v / DRAWS;
        m4 += v * v * v * v / DRAWS;
        beyond_two += fabs(v) > 2;
    }
    /* four standard errors each: 1, sqrt 2, sqrt 15, sqrt 96 over sqrt n */
    assert_true(fabs(m1) < 0.009);
    assert_true(fabs(m2 - 1) < 0.013);
    assert_true(fabs(m3) < 0.035);
    assert_true(fabs(m4 - 3) < 0.088);
    assert_true(fabs((double)beyond_two / DRAWS - 0.0455003) < 0.0019); /* 2 (1 - Phi(2)) */
}

static void os_seeds_differ(void **state)
{
    (void)state;
    assert_true(rng_os_seed() != rng_os_seed());
}

/* Stored snapshots hold these: a change here makes every row of every one of them look new. */
static void hash_never_changes(void **state)
{
    static const struct {
        size_t n;
        uint64_t seed_0, seed_42;
    } rows[] = {
        {0, 0xfd4e1356c747b40a, 0xae7671eb0cf4406a},
        {1, 0xf6fe9706bf3fa1d0, 0x22dab1fed34c3ffa},
        {2, 0x4cc90ff583d10390, 0x2f38e82f02307a1d},
        {3, 0x78b3f77d7fe9fc3b, 0xca50752ebfd0b283},
        {4, 0x35cb36228f773e66, 0xfb00e218ff06e79e},
        {7, 0xd51dccd22327b34e, 0xa0b2f452a2fea925},
        {8, 0xf17888acd675034f, 0xb29e0e8aced8dd3f},
        {15, 0xf6eeb7e1f913f424, 0x6160eb26a9077efe},
        {16, 0x9c1d732f0c87fa85, 0x70c4284feb0785fe},
        {17, 0x441f36541032e31d, 0xe8f3724e367010f5},
        {31, 0x3cf7aec831275a5f, 0x7a0e6189598e96b4},
        {32, 0x8217dc45f8bfe582, 0xa41aacee364cb96f},
        {33, 0x464ccc4293f0cfa5, 0x6e62c04aa11da77b},
        {48, 0x30d9da115a2144d7, 0xd71099635b997c13},
        {49, 0x988f3a00944c8593, 0xc4a7aa6547df9779},
        {64, 0x4c9b8098d86fd927, 0xdcff6f1880cc2b62},
        {65, 0xedeeb155a56eaae4, 0x7755ad20a9b6f0bf},
        {100, 0x29546eb1c6889aea, 0x1be0f900f0c4939f},
        {256, 0xec888f4ef193bde4, 0xb429786f557c1354},
    };
    unsigned char bytes[256];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 7 + 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(hash64(bytes, rows[i].n, 0) == rows[i].seed_0);
        assert_true(hash64(bytes, rows[i].n, 42) == rows[i].seed_42);
    }
    assert_true(hash64(NULL, 0, 0) == rows[0].seed_0);
}

static void hash_does_not_depend_on_alignment(void **state)
{
    unsigned char bytes[128];

    (void)state;
    for (size_t n = 0; n < 90; n++) {
        uint64_t first = 0;

        for (size_t shift = 0; shift < 9; shift++) {
            memset(bytes, 0xEE, sizeof(bytes));
            for (size_t i = 0; i < n; i++)
                bytes[shift + i] = (unsigned char)(i * 13);
            if (shift == 0)
                first = hash64(bytes, n, 1);
            assert_true(hash64(bytes + shift, n, 1) == first);
        }
    }
}

/* Each input bit, the seed's too, turns each output bit over half of the time. */
static void one_bit_changes_half_of_the_hash(void **state)
{
    enum { TRIES = 300, MAX = 70 };
    struct rng r;

    (void)state;
    rng_seed(&r, 6);
    for (size_t n = 1; n <= MAX; n += n < 18 ? 1 : 7) {
        uint64_t flips[64] = {0}, all = 0;

        for (int try = 0; try < TRIES; try++) {
            unsigned char key[MAX];
            uint64_t before, seed = rng_next(&r);
            uint64_t changed;

            for (size_t i = 0; i < n; i++)
                key[i] = try % 3 ? (unsigned char)rng_next(&r) : 0;
            before = hash64(key, n, seed);
            for (size_t bit = 0; bit < n * 8; bit++) {
                key[bit / 8] ^= (unsigned char)(1 << bit % 8);
                changed = before ^ hash64(key, n, seed);
                key[bit / 8] ^= (unsigned char)(1 << bit % 8);
                for (int out = 0; out < 64; out++)
                    flips[out] += changed >> out & 1;
            }
            changed = before ^ hash64(key, n, seed ^ (uint64_t)1 << try % 64);
            assert_in_range(__builtin_popcountll(changed), 10, 54); /* 5.5 standard deviations */
        }
        for (int out = 0; out < 64; out++) {
            double share = (double)flips[out] / (double)(TRIES * n * 8);

            all += flips[out];
            if (fabs(share - 0.5) > 0.06)
                fail_msg("%zu bytes, output bit %d: %.3f", n, out, share);
        }
        if (fabs((double)all / (double)(TRIES * n * 8 * 64) - 0.5) > 0.005)
            fail_msg("%zu bytes: %.4f", n, (double)all / (double)(TRIES * n * 8 * 64));
    }
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* What rows look like: mostly zero bytes, small integers, one feature that differs. */
static void similar_rows_do_not_collide(void **state)
{
    enum { ROWS = 100000, COLUMNS = 9 };
    static uint64_t hashes[ROWS];

    (void)state;
    for (uint32_t i = 0; i < ROWS; i++) {
        float row[COLUMNS] = {0};

        row[i % COLUMNS] = (float)i;
        row[(i + 1) % COLUMNS] = 1;
        hashes[i] = hash64(row, sizeof(row), 0);
    }
    qsort(hashes, ROWS, sizeof(*hashes), compare_hashes);
    for (size_t i = 1; i < ROWS; i++)
        assert_true(hashes[i] != hashes[i - 1]);
}

static void length_is_part_of_the_hash(void **state)
{
    static const char zeros[600];
    uint64_t hashes[ARRAY_LEN(zeros)];

    (void)state;
    for (size_t n = 0; n < ARRAY_LEN(zeros); n++)
        hashes[n] = hash64(zeros, n, 0);
    qsort(hashes, ARRAY_LEN(hashes), sizeof(*hashes), compare_hashes);
    for (size_t i = 1; i < ARRAY_LEN(hashes); i++)
        assert_true(hashes[i] != hashes[i - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seed_is_splitmix64),
        cmocka_unit_test(next_is_xoshiro256_star_star),
        cmocka_unit_test(same_seed_same_numbers),
        cmocka_unit_test(below_is_in_range_and_even),
        cmocka_unit_test(below_zero_is_a_bug),
        cmocka_unit_test(doubles_are_below_one_and_even),
        cmocka_unit_test(normals_have_the_moments_and_tails_of_one),
        cmocka_unit_test(os_seeds_differ),
        cmocka_unit_test(hash_never_changes),
        cmocka_unit_test(hash_does_not_depend_on_alignment),
        cmocka_unit_test(one_bit_changes_half_of_the_hash),
        cmocka_unit_test(similar_rows_do_not_collide),
        cmocka_unit_test(length_is_part_of_the_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
