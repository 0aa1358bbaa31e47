/* Paths of requests from anywhere: percent-decoding gives a text that is no longer and has no NUL,
 * and a pattern's parts are never empty. */
#include <string.h>

#include "common/httpd_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const PATTERNS[] = {
    "/v1/pipelines/{}",
    "/v1/deadletters/{}/resend",
    "/v2/models/{}/versions/{}/infer",
    "/v2/models/{}/{}/versions/{}/ready",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP_FREE char *path = xstrndup((const char *)data, n);
    struct httpd_request rq = {.raw_path = path};
    char *decoded = httpd__decode(&rq.arena, (const char *)data, n);

    BUG_ON(decoded && strlen(decoded) > n);
    for (size_t i = 0; i < ARRAY_LEN(PATTERNS); i++) {
        const char *segs[4] = {0};
        size_t k = 0;

        if (!httpd_match(&rq, PATTERNS[i], segs, ARRAY_LEN(segs)))
            continue;
        for (const char *at = strstr(PATTERNS[i], "{}"); at; at = strstr(at + 2, "{}"), k++)
            BUG_ON(!segs[k] || !segs[k][0] || strlen(segs[k]) > strlen(path));
        BUG_ON(k < ARRAY_LEN(segs) && segs[k]);
    }
    arena_fini(&rq.arena);
    return 0;
}
