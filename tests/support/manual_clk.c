#include "tests/support/manual_clk.h"

static int64_t read_unix_us(void *ctx)
{
    return ((struct manual_clk *)ctx)->unix_us;
}

static int64_t read_mono_ms(void *ctx)
{
    return ((struct manual_clk *)ctx)->mono_ms;
}

void manual_clk_init(struct manual_clk *m, int64_t unix_us)
{
    *m = (struct manual_clk){
        .clk = {.unix_us = read_unix_us, .mono_ms = read_mono_ms, .ctx = m},
        .unix_us = unix_us,
    };
}

void manual_clk_advance_ms(struct manual_clk *m, int64_t ms)
{
    m->unix_us += ms * 1000;
    m->mono_ms += ms;
}
