/* What the files of module npy share. */
#ifndef COMMON_NPY_INTERNAL_H
#define COMMON_NPY_INTERNAL_H

#include "common/npy.h"

const char *npy__descr(enum npy_type t);

#endif
