/* The partition of a key, as Java clients choose it.  Hashes: Apache Kafka 3.9.0,
 * UtilsTest.testMurmur2; partition = (hash & 0x7fffffff) % partitions,
 * BuiltInPartitioner.partitionForKey. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/bus.h"

static const struct {
    const char *key;
    int32_t murmur2;
} JAVA[] = {
    {"21", -973932308},
    {"foobar", -790332482},
    {"a-little-bit-long-string", -985981536},
    {"a-little-bit-longer-string", -1486304829},
    {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    {"abc", 479470107},
};

static void partition_is_the_one_of_java_clients(void **state)
{
    static const int counts[] = {1, 2, 3, 12, 24, 1000, INT32_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(JAVA); i++) {
        struct slice key = slice_str(JAVA[i].key);

        for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
            int should = (JAVA[i].murmur2 & 0x7fffffff) % counts[k];

            if (bus_partition_of(key.p, key.n, counts[k]) != should)
                fail_msg("%s of %d: %d, not %d", key.p, counts[k],
                         bus_partition_of(key.p, key.n, counts[k]), should);
        }
    }
}

static void partition_of_an_empty_key_is_defined(void **state)
{
    (void)state;
    assert_int_equal(bus_partition_of("", 0, 12), bus_partition_of("", 0, 12));
    assert_in_range(bus_partition_of("", 0, 12), 0, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partition_is_the_one_of_java_clients),
        cmocka_unit_test(partition_of_an_empty_key_is_defined),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
