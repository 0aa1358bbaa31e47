/* JSON from anywhere as a record: the first byte picks the record, the rest is the text.  What is
 * taken is written as Avro and as JSON and read back as the same; what is refused names a member.
 */
#include "common/codec.h"
#include "common/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct codec *codec;

static void end(void)
{
    codec_free(codec);
}

static void begin(void)
{
    struct err err;

    BUG_ON(codec_new(&codec, &err));
    atexit(end);
}

/* Texts that were no UTF-8 cannot come out of JSON, so both ways give the same bytes. */
static void check_round_trip(enum record r, const void *rec)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf once = {0}, twice = {0}, thrice = {0};
    CLEANUP(json_freep) struct json *j = codec_to_json(r, rec);
    struct err err = {0};
    const void *back = NULL;

    if (codec_encode(codec, r, rec, &once, &err)) {
        BUG_ON(err.code != ERR_LIMIT);
        return;
    }
    BUG_ON(codec_decode(codec, r, buf_slice(&once), &arena, &back, &err));
    BUG_ON(codec_encode(codec, r, back, &twice, &err));
    BUG_ON(!slice_eq(buf_slice(&once), buf_slice(&twice)));
    BUG_ON(codec_from_json(r, j, &arena, &back, &err));
    BUG_ON(codec_encode(codec, r, back, &thrice, &err));
    BUG_ON(!slice_eq(buf_slice(&once), buf_slice(&thrice)));
    (void)record_own_key(r, back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    struct err err = {0};
    const void *rec = NULL;
    enum record r;

    if (n == 0)
        return 0;
    if (!codec)
        begin();
    r = (enum record)(1 + data[0] % (RECORD_COUNT - 1));
    j = json_parse((struct slice){(const char *)data + 1, n - 1}, "fuzz", &err);
    if (!j)
        return 0;
    if (codec_from_json(r, j, &arena, &rec, &err))
        BUG_ON(err.code == ERR_NONE || err.msg[0] == '\0');
    else
        check_round_trip(r, rec);
    return 0;
}
