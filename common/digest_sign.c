/* Ed25519 over OpenSSL's EVP_PKEY. */
#include "common/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/digest_internal.h"
#include "common/fsx.h"
#include "common/mem.h"

enum {
    KEY_BYTES = 32,
    SIGNATURE_BYTES = 64,
    KEY_FILE_MAX_BYTES = 4096, /* 64 digits and a line end; more is not such a file */
};

struct sign_key {
    EVP_PKEY *pkey;
    unsigned char public[KEY_BYTES];
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Exactly n bytes from 2n digits and nothing behind them. */
static int from_hex(const char *hex, unsigned char *ret, size_t n)
{
    if (strlen(hex) != 2 * n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return -1;
        ret[i] = (unsigned char)(high << 4 | low);
    }
    return 0;
}

/* Of two processes that start at once the first to link its file wins; the other loads that one. */
static int create_key_file(const char *path, struct err *err)
{
    unsigned char raw[KEY_BYTES];
    char hex[2 * KEY_BYTES + 2];
    struct err why = {0};
    int failed;

    BUG_ON(RAND_priv_bytes(raw, sizeof(raw)) != 1);
    digest__hex(raw, sizeof(raw), hex);
    hex[2 * KEY_BYTES] = '\n';
    hex[2 * KEY_BYTES + 1] = '\0';
    failed = fsx_create_file(path, 0600, hex, 2 * KEY_BYTES + 1, &why);
    OPENSSL_cleanse(raw, sizeof(raw));
    OPENSSL_cleanse(hex, sizeof(hex));
    if (failed && why.code != ERR_CONFLICT)
        return err_set(err, why.code, why.next, "%s", why.msg);
    return 0;
}

static int read_key_file(const char *path, unsigned char raw[KEY_BYTES], struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct stat st;
    int bad;

    buf_reserve(&text, KEY_FILE_MAX_BYTES); /* so that it never moves and leaves a copy behind */
    if (fsx_read_file(path, KEY_FILE_MAX_BYTES, &text, err))
        return -1;
    while (text.len > 0 && strchr("\r\n \t", text.data[text.len - 1]))
        text.data[--text.len] = '\0';
    bad = text.len != 2 * KEY_BYTES || from_hex(text.data, raw, KEY_BYTES);
    OPENSSL_cleanse(text.data, text.alloc);
    if (bad)
        return err_set(err, ERR_INVAL, NEXT_FATAL, "%s: expected a key of 64 hex digits", path);
    if (stat(path, &st) == 0 && (st.st_mode & 0007))
        return err_set(err, ERR_INVAL, NEXT_FATAL,
                       "%s: everybody on this machine can use this key; run chmod 600 on it", path);
    return 0;
}

int sign_key_load(const char *path, struct sign_key **ret, struct err *err)
{
    unsigned char raw[KEY_BYTES];
    struct sign_key *k;
    size_t n = KEY_BYTES;

    if (!fsx_exists(path) && create_key_file(path, err))
        return err_wrap(err, "create signing key");
    if (read_key_file(path, raw, err)) {
        OPENSSL_cleanse(raw, sizeof(raw));
        return err_wrap(err, "signing key");
    }
    k = xcalloc(1, sizeof(*k));
    k->pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw, sizeof(raw));
    OPENSSL_cleanse(raw, sizeof(raw));
    if (!k->pkey || EVP_PKEY_get_raw_public_key(k->pkey, k->public, &n) != 1) {
        sign_key_free(k);
        return err_set(err, ERR_INVAL, NEXT_FATAL, "signing key %s: OpenSSL has no Ed25519", path);
    }
    *ret = k;
    return 0;
}

void sign_key_free(struct sign_key *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    free(k);
}

void sign_key_public(const struct sign_key *k, char hex[65])
{
    digest__hex(k->public, KEY_BYTES, hex);
}

int sign_bytes(const struct sign_key *k, struct slice data, char hex_sig[129], struct err *err)
{
    unsigned char sig[SIGNATURE_BYTES];
    size_t n = sizeof(sig);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
                EVP_DigestSign(ctx, sig, &n, (const unsigned char *)data.p, data.n) == 1;

    EVP_MD_CTX_free(ctx);
    if (!done || n != sizeof(sig))
        return err_set(err, ERR_IO, NEXT_FATAL, "sign: OpenSSL refused");
    digest__hex(sig, sizeof(sig), hex_sig);
    return 0;
}

int sign_verify(const char *public_hex, struct slice data, const char *hex_sig, struct err *err)
{
    unsigned char public[KEY_BYTES], sig[SIGNATURE_BYTES];
    EVP_PKEY *pkey;
    EVP_MD_CTX *ctx;
    bool good;

    if (from_hex(public_hex, public, sizeof(public)))
        return err_inval(err, "signature: the public key is not 64 hex digits");
    if (from_hex(hex_sig, sig, sizeof(sig)))
        return err_inval(err, "signature: not 128 hex digits");
    pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, sizeof(public));
    ctx = EVP_MD_CTX_new();
    good = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
           EVP_DigestVerify(ctx, sig, sizeof(sig), (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    if (!good)
        return err_inval(err, "signature: does not match the bytes and the key");
    return 0;
}
