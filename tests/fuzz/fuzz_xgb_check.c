/* Any bytes as a model file: the structural check takes them or says no, and reads nothing beyond
 * them. */
#include "common/xgb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};

    if (xgb_check((struct slice){(const char *)data, size}, 4, &err))
        BUG_ON(err.code == ERR_NONE || err.msg[0] == '\0');
    return 0;
}
