/* A Kafka for a test: the one that RELEARN_TEST_BROKERS names, else librdkafka's mock cluster in
 * this process.  Topic names are made unique, so that tests share a real cluster.  Main thread. */
#ifndef TESTS_SUPPORT_TEST_CLUSTER_H
#define TESTS_SUPPORT_TEST_CLUSTER_H

#include "common/base.h"

struct test_cluster;

struct test_cluster *test_cluster_new(void);    /* aborts the test program on failure */
void test_cluster_free(struct test_cluster *c); /* NULL is fine */
bool test_cluster_is_real(const struct test_cluster *c);
const char *test_cluster_brokers(const struct test_cluster *c);
/* Creates a topic; the full name lives as long as the cluster. */
const char *test_cluster_topic(struct test_cluster *c, const char *name, int partitions);
/* A name that no other run uses: groups. */
const char *test_cluster_name(struct test_cluster *c, const char *name);

/* The mock only. */
void test_cluster_down(struct test_cluster *c); /* connections are cut and refused */
void test_cluster_up(struct test_cluster *c);
/* The next n requests of this Kafka API key fail with this protocol error. */
void test_cluster_fail(struct test_cluster *c, int api_key, int n, int error);

#endif
