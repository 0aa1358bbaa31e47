/* Does a call abort?  For broken promises (BUG_ON) and memory that cannot be had. */
#ifndef TESTS_SUPPORT_ABORTS_H
#define TESTS_SUPPORT_ABORTS_H

#include "common/base.h"

/* Runs fn(arg) in a forked child whose stderr goes nowhere; true when SIGABRT ended it. */
bool aborts(void (*fn)(void *arg), void *arg);

#endif
