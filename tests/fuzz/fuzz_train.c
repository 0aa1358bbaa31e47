/* What goes between the train agent, its child and the store, from anywhere.  The first byte picks
 * it: an order, a line of the child's output, ingest's result of a segmented dataset. */
#include <math.h>

#include "agents/ingest/run.h"
#include "agents/train/order.h"
#include "agents/train/progress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void order(struct slice text)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf once = {0}, twice = {0};
    CLEANUP(json_freep)
    struct json *j = json_parse(text, "fuzz", NULL), *written = NULL, *again = NULL;
    struct err err = {0};
    struct order o = {0}, back = {0};

    if (!j)
        return;
    if (order_from_json(j, &arena, &o, &err)) {
        BUG_ON(err.code != ERR_INVAL);
        return;
    }
    BUG_ON(!o.line[0] || !o.run[0] || !o.folder[0] || !o.trainer[0] || o.snapshots.n < 1);
    for (size_t i = 0; i < o.command.n; i++)
        BUG_ON(!o.command.items[i]);
    written = order_to_json(&o);
    json_write(written, 0, false, &once);
    BUG_ON(order_from_json(written, &arena, &back, &err));
    again = order_to_json(&back);
    json_write(again, 0, false, &twice);
    BUG_ON(!slice_eq(buf_slice(&once), buf_slice(&twice)));
}

static void line(struct slice text)
{
    CLEANUP_FREE char *s = xstrndup(text.p, text.n);
    struct progress p = {.value = NAN};

    if (progress_parse(s, &p))
        BUG_ON(strlen(p.phase) >= PROGRESS_WORD_SIZE || strlen(p.metric) >= PROGRESS_WORD_SIZE);
    if (progress_scrape(s, &p))
        BUG_ON(strlen(p.metric) >= PROGRESS_WORD_SIZE || (p.metric[0] && !isfinite(p.value)));
}

static void result(struct slice text)
{
    CLEANUP(buf_fini) struct buf once = {0}, twice = {0};
    struct ingest_result r = {0}, back = {0};
    struct err err = {0};

    if (ingest_result_from_json(text, &r, &err)) {
        BUG_ON(err.code == ERR_NONE);
        return;
    }
    ingest_result_to_json(&r, &once);
    BUG_ON(ingest_result_from_json(buf_slice(&once), &back, &err));
    ingest_result_to_json(&back, &twice);
    BUG_ON(!slice_eq(buf_slice(&once), buf_slice(&twice)));
    ingest_result_fini(&back);
    ingest_result_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = {(const char *)data + 1, n - 1};

    if (n == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        order(rest);
        break;
    case 1:
        line(rest);
        break;
    default:
        result(rest);
        break;
    }
    return 0;
}
