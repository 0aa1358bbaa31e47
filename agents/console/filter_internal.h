/* Shared by filter.c (the grammar) and filter_words.c (words, fields, values). */
#ifndef CONSOLE_FILTER_INTERNAL_H
#define CONSOLE_FILTER_INTERNAL_H

#include "agents/console/filter.h"
#include "common/buf.h"

enum word_kind { WORD_END = 0, WORD_PLAIN, WORD_QUOTED, WORD_SIGN, WORD_BAD };
struct word {
    enum word_kind kind;
    size_t at;        /* byte in the text */
    const char *text; /* of a quoted one without its quotes; of a sign the sign */
    size_t end;       /* byte behind it */
};
struct filter_reader {
    const char *text;
    struct word word; /* that is looked at */
    struct arena *arena;
    int64_t now_us;
    int tests, depth;
    struct err *err;
};

void filter__next(struct filter_reader *r); /* the next word */
/* A plain word, in any case; a sign as it is. */
bool filter__is(const struct filter_reader *r, const char *word);
/* "column 12: expected WHAT, found 'x'; for example: EXAMPLE"; returns -1. */
int filter__fail(struct filter_reader *r, const struct word *at, const char *what,
                 const char *example);
/* The field that the word at hand names, and on to the next word. */
int filter__field(struct filter_reader *r, struct filter_field *ret) WARN_UNUSED;
int filter__value(struct filter_reader *r, const struct filter_field *f,
                  struct filter_value *ret) WARN_UNUSED;

#endif
