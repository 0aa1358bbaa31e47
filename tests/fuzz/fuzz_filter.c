/* Filters and orders of runs from anywhere: understood or refused with a place and an example, and
 * what is understood is SQL with as many values as it names. */
#include <string.h>

#include "agents/console/runs_view.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct store *view(void)
{
    static const char *const migrations[] = {RUNS_SCHEMA};
    static struct store *st;
    struct err err = {0};
    bool was_reset;

    if (!st)
        BUG_ON(store_open(":memory:", migrations, 1, &st, &was_reset, &err) ||
               runs_make_indexes(st, &err));
    return st;
}

static void found(void *ctx, const struct runs_found *run)
{
    (void)ctx, (void)run;
    BUG_ON(true); /* there are none */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP_FREE char *text = xstrndup((const char *)data, n);
    char *sort = strchr(text, '\n'), *cursor = sort ? strchr(sort + 1, '\n') : NULL;
    struct err err = {0};

    if (sort)
        *sort++ = '\0';
    if (cursor)
        *cursor++ = '\0';
    struct runs_query q = {.filter = text, .sort = sort, .cursor = cursor, .limit = 10};
    if (runs_find(view(), &q, found, NULL, &err)) {
        BUG_ON(err.code != ERR_INVAL || err.next != NEXT_REJECT || !err.msg[0]);
        BUG_ON(!str_has_prefix(err.msg, "filter: ") && !str_has_prefix(err.msg, "sort: ") &&
               !str_has_prefix(err.msg, "cursor: "));
    }
    return 0;
}
