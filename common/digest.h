/* SHA-256, ids from causes, signatures.  The only module with openssl headers.  Thread: any. */
#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

#include "common/buf.h"
#include "common/err.h"

#define DIGEST_HEX_SIZE 65 /* 64 lower-case hex digits and the NUL */
#define ID_SIZE 33         /* an event id: 32 hex digits (128 bits of a SHA-256) and the NUL */

struct digest; /* running SHA-256 */
struct digest *digest_new(void);
void digest_free(struct digest *d);
void digest_add(struct digest *d, const void *p, size_t n);
void digest_end(struct digest *d, char out[DIGEST_HEX_SIZE]); /* d may be reused after */
void digest_bytes(const void *p, size_t n, char out[DIGEST_HEX_SIZE]);
int digest_file(const char *path, char out[DIGEST_HEX_SIZE], struct err *err) WARN_UNUSED;
bool digest_is_hex(const char *s); /* 64 lower-case hex digits */

/* The id of what `about` says an event of `topic` caused by `cause` is: the first 128 bits of
 * SHA-256 over the three strings, each with its length in front.  Doing a step again gives the same
 * id. */
void id_from_cause(const char *topic, const char *cause, const char *about, char out[ID_SIZE]);
void id_random(char out[ID_SIZE]); /* for first events that people make */
bool id_is_valid(const char *s);   /* 1..128 characters of [A-Za-z0-9._:/-] */
/* 16 bytes of a W3C trace id and 8 of a span id from an event id. */
void id_to_trace(const char *id, char trace[33]);
void id_to_span(const char *id, char span[17]);

/* Ed25519. Keys are files of 32 raw bytes in hex; sign_key_load creates one (0600) when missing. */
struct sign_key;
int sign_key_load(const char *path, struct sign_key **ret, struct err *err) WARN_UNUSED;
void sign_key_free(struct sign_key *k);
void sign_key_public(const struct sign_key *k, char hex[65]);
int sign_bytes(const struct sign_key *k, struct slice data, char hex_sig[129],
               struct err *err) WARN_UNUSED;
int sign_verify(const char *public_hex, struct slice data, const char *hex_sig,
                struct err *err) WARN_UNUSED;

#endif
