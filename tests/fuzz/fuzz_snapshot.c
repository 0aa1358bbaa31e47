/* Manifests of snapshots from anywhere: one that keeps its promises and is written again as the
 * same, or an error. */
#include "common/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_promises(const struct snapshot *s)
{
    size_t of_splits =
        s->split_rows[ROW_TRAIN] + s->split_rows[ROW_VALID] + s->split_rows[ROW_TEST];
    size_t cells;

    BUG_ON(!s->line || !s->dataset || !s->version || !s->pipeline_sha256 || !s->label_name);
    BUG_ON(s->n_columns < 1 || s->n_columns > SNAPSHOT_MAX_COLUMNS || of_splits != s->rows);
    BUG_ON(__builtin_mul_overflow(s->rows, s->n_columns, &cells));
    BUG_ON(s->task == TASK_BINARY && s->n_classes != 2);
    for (size_t i = 0; i < s->n_columns; i++)
        BUG_ON(!s->columns[i].name || s->columns[i].type >= COLUMN_IGNORE);
    BUG_ON(!digest_is_hex(s->features) || !digest_is_hex(s->label) || !digest_is_hex(s->split) ||
           !digest_is_hex(s->row_hash) || !digest_is_hex(s->profile));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(buf_fini) struct buf once = {0}, twice = {0};
    CLEANUP(json_freep) struct json *j = NULL, *written = NULL, *again = NULL;
    struct snapshot *s = NULL, *back = NULL;
    struct err err = {0};

    j = json_parse((struct slice){(const char *)data, n}, "fuzz", &err);
    if (!j)
        return 0;
    if (snapshot_from_json(j, &s, &err)) {
        BUG_ON(s || err.code != ERR_CODEC || err.next != NEXT_REJECT);
        return 0;
    }
    check_promises(s);
    written = snapshot_to_json(s);
    json_write(written, 1, false, &once);
    BUG_ON(snapshot_from_json(written, &back, &err));
    again = snapshot_to_json(back);
    json_write(again, 1, false, &twice);
    BUG_ON(!slice_eq(buf_slice(&once), buf_slice(&twice)));
    snapshot_free(back);
    snapshot_free(s);
    return 0;
}
