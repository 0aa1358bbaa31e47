#include "common/base.h"

#include <stdio.h>
#include <stdlib.h>

void bug_abort(const char *cond, const char *file, int line)
{
    fprintf(stderr, "BUG: %s at %s:%d\n", cond, file, line);
    abort();
}
