/* A schema registry's answers, as any server may give them: the first two bytes are the HTTP
 * status, the rest is the body.  What is taken for a schema is given to the codec, as an agent
 * does. */
#include "common/schemareg.c" /* what it does with an answer, without a server */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void use(const struct entry *e)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    static const char framed[] = "\0\0\0\0\1\2a\0\0\0\0\0\0\0\0\0";
    static struct codec *codec; /* dear to make */
    struct err err = {0};
    const void *rec;
    uint64_t fingerprint;

    BUG_ON(!e->text);
    if (codec_text_fingerprint(slice_str(e->text), &fingerprint, &err))
        BUG_ON(err.code == ERR_NONE);
    if (!codec)
        BUG_ON(codec_new(&codec, &err));
    if (codec_add_schema(codec, slice_str(e->text), &err) == 0)
        (void)!codec_decode(codec, RECORD_LABEL_OBSERVED, (struct slice){framed, sizeof(framed)},
                            &arena, &rec, &err);
    else if (err.code == ERR_LIMIT) /* it knows as many as it keeps */
        codec_free(TAKE(codec));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct schemareg r = {.base = (char *)(uintptr_t) "http://registry"};
    struct entry e = {.id = 1};
    struct fetch f = {.r = &r, .e = &e};

    if (n < 2)
        return 0;
    f.rs.status = (data[0] << 8 | data[1]) % 600;
    f.rs.status = f.rs.status < 100 ? 200 : f.rs.status;
    buf_add(&f.rs.body, data + 2, n - 2);
    take_answer(&f, &e);
    BUG_ON((e.state == STATE_FOUND) != (e.text != NULL));
    BUG_ON(e.state != STATE_FOUND && e.err.code == ERR_NONE);
    BUG_ON(e.state == STATE_FAILED && e.err.next != NEXT_RETRY);
    if (e.text)
        use(&e);
    free(e.text);
    http_response_fini(&f.rs);
    return 0;
}
