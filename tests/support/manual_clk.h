/* A clock that stands still until the test moves it. */
#ifndef TESTS_SUPPORT_MANUAL_CLK_H
#define TESTS_SUPPORT_MANUAL_CLK_H

#include "common/clk.h"

struct manual_clk {
    struct clk clk; /* what is passed in */
    int64_t unix_us, mono_ms;
};

void manual_clk_init(struct manual_clk *m, int64_t unix_us); /* monotonic time begins at 0 */
void manual_clk_advance_ms(struct manual_clk *m, int64_t ms);

#endif
