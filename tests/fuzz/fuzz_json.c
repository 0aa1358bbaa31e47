/* JSON from anywhere: what is taken is written and read back as the same text, sorted or not; what
 * is refused is refused with its place. */
#include "common/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_round_trip(const struct json *j, int indent, bool sorted)
{
    CLEANUP(buf_fini) struct buf once = {0}, twice = {0};
    CLEANUP(json_freep) struct json *back = NULL;
    struct err err;

    json_write(j, indent, sorted, &once);
    BUG_ON(!slice_is_utf8(buf_slice(&once)));
    back = json_parse(buf_slice(&once), "back", &err);
    BUG_ON(!back);
    json_write(back, indent, sorted, &twice);
    BUG_ON(!slice_eq(buf_slice(&once), buf_slice(&twice)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err err = {0};
    CLEANUP(json_freep)
    struct json *j = json_parse((struct slice){(const char *)data, n}, "fuzz", &err);

    if (!j) {
        BUG_ON(err.code == ERR_NONE || !str_has_prefix(err.msg, "fuzz:"));
        return 0;
    }
    check_round_trip(j, 0, true);
    check_round_trip(j, 2, false);
    return 0;
}
