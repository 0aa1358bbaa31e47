/* What digest.c and digest_sign.c share. */
#ifndef COMMON_DIGEST_INTERNAL_H
#define COMMON_DIGEST_INTERNAL_H

#include "common/base.h"

/* 2n lower-case digits and the NUL. */
void digest__hex(const unsigned char *p, size_t n, char *out);

#endif
