/* Read before each source by clang-tidy alone (scripts/lint): uthash unlinks through pointers that
 * the analyzer loses, and it then sees freed or null ones. */
#include "common/base.h"

#include <uthash.h>

void *analyzer_any(void *head, void *item);
#undef HASH_DELETE_HH
#define HASH_DELETE_HH(hh, head, item) ((head) = analyzer_any((head), (item)))
