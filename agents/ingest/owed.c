#include "agents/ingest/owed.h"

static bool is_older(const struct owed_input *in, size_t i)
{
    return in->datasets[i]->time_unix_us / 1000 < in->first_declared_unix_ms;
}

static bool is_owed(const struct owed_input *in, size_t i)
{
    if (!is_older(in, i))
        return true;
    for (size_t k = i + 1; k < in->n; k++)
        if (is_older(in, k))
            return false; /* there is a newer one among the older ones */
    return true;
}

/* Everything before this index is done. */
static size_t first_open(const struct owed_input *in)
{
    for (size_t i = in->n; i-- > 0;) {
        bool is_whole = false;

        if (in->complete && strcmp(in->datasets[i]->id, in->complete) == 0)
            return i + 1;
        if (in->has_answer(in->ctx, in->datasets[i], &is_whole))
            return is_whole || !in->is_segmented ? i + 1
                                                 : i; /* some segments may still lack theirs */
    }
    return 0;
}

size_t owed_next(const struct owed_input *in)
{
    for (size_t i = first_open(in); i < in->n; i++)
        if (is_owed(in, i))
            return i;
    return OWED_NONE;
}

bool owed_is_done(const struct owed_input *in, const char *event_id)
{
    size_t open = first_open(in);

    for (size_t i = 0; i < in->n; i++)
        if (strcmp(in->datasets[i]->id, event_id) == 0)
            return i < open || !is_owed(in, i);
    return true;
}
