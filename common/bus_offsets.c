/* What there is to be read, asked of the broker: for those who read up to an end and then stop. */
#include "common/bus_internal.h"

int bus_offsets(struct bus *b, const char *topic, int partition, int64_t timeout_ms,
                int64_t *ret_low, int64_t *ret_high, struct err *err)
{
    int64_t low = 0, high = 0;
    int wait_ms = timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
    rd_kafka_resp_err_t e =
        rd_kafka_query_watermark_offsets(b->producer, topic, partition, &low, &high, wait_ms);

    if (e)
        return bus__err(err, e, topic, NULL);
    *ret_low = low;
    *ret_high = high;
    return 0;
}
