/* Shared by artifact.c and artifact_clear.c. */
#ifndef COMMON_ARTIFACT_INTERNAL_H
#define COMMON_ARTIFACT_INTERNAL_H

#include "common/artifact.h"

enum { ARTIFACT_FOLDERS = 256 }; /* of sha256/, by the first two digits */

char *artifact__path(const struct artifacts *a, const char *digest);
/* LOCK_SH while bytes are put, LOCK_EX while they are removed; a descriptor to be closed, or -1. */
int artifact__lock(const struct artifacts *a, int how);

#endif
