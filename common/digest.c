#include "common/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/digest_internal.h"
#include "common/mem.h"

enum {
    SHA256_BYTES = 32,
    ID_BYTES = 16,
    ID_MAX_CHARS = 128,
    CHUNK_BYTES = 256 << 10,
};

/* Asked for once: OpenSSL 3 looks an algorithm up at every use otherwise, which costs more than
 * hashing an id.  What can fail here is memory and a broken installation; neither is input. */
static const EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    BUG_ON(!sha256);
}

static const EVP_MD *get_sha256(void)
{
    pthread_once(&sha256_once, fetch_sha256);
    return sha256;
}

struct digest {
    EVP_MD_CTX *ctx;
};

void digest__hex(const unsigned char *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

static bool is_hex(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'a' && s[i] <= 'f'))
            return false;
    return s[n] == '\0';
}

struct digest *digest_new(void)
{
    struct digest *d = xcalloc(1, sizeof(*d));

    d->ctx = EVP_MD_CTX_new();
    BUG_ON(!d->ctx || EVP_DigestInit_ex(d->ctx, get_sha256(), NULL) != 1);
    return d;
}

void digest_free(struct digest *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->ctx);
    free(d);
}

void digest_add(struct digest *d, const void *p, size_t n)
{
    BUG_ON(EVP_DigestUpdate(d->ctx, p, n) != 1);
}

static void digest_end_raw(struct digest *d, unsigned char raw[SHA256_BYTES])
{
    BUG_ON(EVP_DigestFinal_ex(d->ctx, raw, NULL) != 1);
    BUG_ON(EVP_DigestInit_ex(d->ctx, NULL, NULL) != 1);
}

void digest_end(struct digest *d, char out[DIGEST_HEX_SIZE])
{
    unsigned char raw[SHA256_BYTES];

    digest_end_raw(d, raw);
    digest__hex(raw, sizeof(raw), out);
}

static void free_digest(struct digest **d)
{
    digest_free(*d);
}

void digest_bytes(const void *p, size_t n, char out[DIGEST_HEX_SIZE])
{
    unsigned char raw[SHA256_BYTES];

    BUG_ON(EVP_Digest(p, n, raw, NULL, get_sha256(), NULL) != 1);
    digest__hex(raw, sizeof(raw), out);
}

int digest_file(const char *path, char out[DIGEST_HEX_SIZE], struct err *err)
{
    CLEANUP(free_digest) struct digest *d = digest_new();
    CLEANUP_FREE char *chunk = xmalloc(CHUNK_BYTES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    int code;

    if (fd < 0)
        return err_set(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
                       errno == ENOENT ? NEXT_REJECT : NEXT_RETRY, "open %s: %s", path,
                       strerror(errno));
    do {
        n = read(fd, chunk, CHUNK_BYTES);
        if (n > 0)
            digest_add(d, chunk, (size_t)n);
    } while (n > 0 || (n < 0 && errno == EINTR));
    code = errno;
    close(fd);
    if (n < 0)
        return err_io(err, "read %s: %s", path, strerror(code));
    digest_end(d, out);
    return 0;
}

bool digest_is_hex(const char *s)
{
    return s && is_hex(s, DIGEST_HEX_SIZE - 1);
}

/* --- ids ----------------------------------------------------------------------------------------
 */

static void add_with_length(struct digest *d, const char *s)
{
    size_t n = s ? strlen(s) : 0;
    unsigned char length[8];

    for (size_t i = 0; i < sizeof(length); i++)
        length[i] = (unsigned char)((uint64_t)n >> (8 * i));
    digest_add(d, length, sizeof(length));
    if (n)
        digest_add(d, s, n);
}

void id_from_cause(const char *topic, const char *cause, const char *about, char out[ID_SIZE])
{
    CLEANUP(free_digest) struct digest *d = digest_new();
    unsigned char raw[SHA256_BYTES];

    add_with_length(d, topic);
    add_with_length(d, cause);
    add_with_length(d, about);
    digest_end_raw(d, raw);
    digest__hex(raw, ID_BYTES, out);
}

void id_random(char out[ID_SIZE])
{
    /* A call of libcrypto's generator costs more than the whole of an event's headers. */
    static _Thread_local unsigned char pool[64 * ID_BYTES];
    static _Thread_local size_t left;

    if (left == 0) {
        BUG_ON(RAND_bytes(pool, sizeof(pool)) != 1);
        left = sizeof(pool);
    }
    left -= ID_BYTES;
    digest__hex(pool + left, ID_BYTES, out);
}

bool id_is_valid(const char *s)
{
    size_t n = 0;

    for (; s && s[n] && n <= ID_MAX_CHARS; n++) {
        char c = s[n];

        if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '.' && c <= ':') &&
            c != '_' && c != '-')
            return false; /* from '.' to ':' there are '/' and the digits */
    }
    return n > 0 && n <= ID_MAX_CHARS;
}

/* Our own ids are used as they are, so that a trace is found by its event; those of others, and
 * the all-zero ones that W3C forbids, by their digest. */
static void id_to_hex(const char *id, size_t chars, char *out)
{
    char hex[DIGEST_HEX_SIZE];

    if (is_hex(id, ID_SIZE - 1) && strspn(id, "0") < chars)
        memcpy(out, id, chars);
    else {
        digest_bytes(id, strlen(id), hex);
        memcpy(out, hex, chars);
    }
    out[chars] = '\0';
}

void id_to_trace(const char *id, char trace[33])
{
    id_to_hex(id, 32, trace);
}

void id_to_span(const char *id, char span[17])
{
    id_to_hex(id, 16, span);
}
