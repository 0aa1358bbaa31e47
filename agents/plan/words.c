/* Numbers for people, in the reasons of plans. */
#include "agents/plan/rules.h"
#include "common/clk.h"

bool plan__is(const char *s, const char *word)
{
    return s && strcmp(s, word) == 0;
}

const char *plan__time(struct arena *arena, int64_t unix_ms)
{
    char text[CLK_RFC3339_SIZE];

    clk_format(clk_us_of_ms(unix_ms), text);
    return arena_printf(arena, "%.19sZ", text);
}

const char *plan__duration(struct arena *arena, int64_t ms)
{
    int64_t s = ms / 1000;

    if (ms < 0)
        ms = s = 0;
    if (s < 60)
        return ms % 1000 ? arena_printf(arena, "%.1fs", (double)ms / 1000)
                         : arena_printf(arena, "%llds", (long long)s);
    if (s < 3600)
        return s % 60 ? arena_printf(arena, "%lldm%llds", (long long)(s / 60), (long long)(s % 60))
                      : arena_printf(arena, "%lldm", (long long)(s / 60));
    s /= 60;
    return s % 60 ? arena_printf(arena, "%lldh%lldm", (long long)(s / 60), (long long)(s % 60))
                  : arena_printf(arena, "%lldh", (long long)(s / 60));
}

const char *plan__short(struct arena *arena, const char *id)
{
    return arena_printf(arena, "%.8s", id ? id : "-");
}

const char *plan__counts(struct arena *arena, const struct trigger_list *l)
{
    static const char *const one[] = {"dataset", "drift alert", "command"};
    size_t counts[TRIGGER_COUNT] = {0}, kinds = 0;
    const char *list = "";

    for (size_t i = 0; i < l->n; i++)
        counts[l->items[i].kind]++;
    for (int k = 0; k < TRIGGER_COUNT; k++) {
        if (!counts[k])
            continue;
        kinds++;
        list = arena_printf(arena, "%s%s%zu %s%s", list, *list ? ", " : "", counts[k], one[k],
                            counts[k] > 1 ? "s" : "");
    }
    return kinds == 1 ? list : arena_printf(arena, "%zu triggers (%s)", l->n, list);
}
