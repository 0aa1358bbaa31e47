/* What the relay reads of Kafka's protocol, on any bytes: nothing outside the frame is read, and a
 * Fetch that is understood keeps its meaning when its wait is set. */
#include <stdlib.h>
#include <string.h>

#include "agents/broker/frames.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = xmemdup(data, size ? size : 1); /* of its own size, so that reading on is seen */
    struct slice frame = {copy, size};
    struct fetch f, again;
    struct part_set parts;

    produce_parse(frame, &parts);
    if (fetch_parse(frame, &f)) {
        fetch_set_wait(copy, &f, 0);
        if (!fetch_parse(frame, &again) || again.positions != f.positions ||
            again.empty_bytes != f.empty_bytes || memcmp(&again.parts, &f.parts, sizeof(f.parts)))
            abort();
        fetch_answer_is_empty(&f, frame);
        f.empty_bytes = size; /* as if this were an answer to it */
        fetch_answer_is_empty(&f, frame);
    }
    free(copy);
    return 0;
}
