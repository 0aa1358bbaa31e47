/* Trainers that the operator allows: names and the commands behind them.  Only this agent's own
 * configuration adds one; a pipeline can but name it. */
#ifndef TRAIN_COMMANDS_H
#define TRAIN_COMMANDS_H

#include "common/buf.h"
#include "common/err.h"
#include "common/events.h"

struct commands {
    struct named_command {
        const char *name;
        struct string_list words;
    } * items;
    size_t n;
    struct arena arena;
};
/* "name=/path/to/command arg ...", words between blanks, no shell. */
int commands_add(struct commands *c, const char *text, struct err *err) WARN_UNUSED;
/* A file of such lines; # begins a comment. */
int commands_add_file(struct commands *c, const char *path, struct err *err) WARN_UNUSED;
const struct string_list *commands_find(const struct commands *c,
                                        const char *name);      /* NULL: not allowed */
void commands_names(const struct commands *c, struct buf *out); /* "xgboost, mine, other" */
void commands_fini(struct commands *c);

#endif
