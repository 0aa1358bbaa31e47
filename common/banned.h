/* Functions that have no safe use here.  The system's headers come first, so that their own
 * declarations stand; after this a mention of one does not compile. */
#ifndef COMMON_BANNED_H
#define COMMON_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef sprintf /* macros where the compiler's fortification is on */
#undef vsprintf
#undef strcpy
#undef strcat
#undef gets
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi atol gmtime localtime

#endif
