/* The events of one pipeline, "p", as honest agents would have written them, and what `relearn
 * verify` finds in them: for tests that damage one thing at a time.  Main thread.
 *
 * The story: dataset set1 is accepted (snap1), run run1 is trained (model1), evaluated (eval1),
 * promoted (gate1) and deployed as generation 1 (dep1).  set2 leads to run2, which is rejected
 * (gate2).  The alert drift1 waits (defer1) for that run, then leads to run3, which waits for a
 * person (gate3), is approved by command approve1 (gate4), refused by deploy since it is given as
 * compared with another champion (dep2), asked for again (gate5), evaluated again (eval4), promoted
 * (gate6) and rolled out as generation 2 by a canary (dep3, dep4). The command rollback1 makes
 * generation 3 (dep5). */
#ifndef TESTS_SUPPORT_VERIFY_STORY_H
#define TESTS_SUPPORT_VERIFY_STORY_H

#include "agents/relearn/verify.h"

enum { STORY_NOW_MS = 2000000000, STORY_PATIENCE_MS = 600000 };

struct story;
struct story *story_new(void);
void story_free(struct story *s);
/* The record of an event, to be changed. */
void *story_rec(struct story *s, const char *id);
struct event *story_event(struct story *s, const char *id);
void story_drop(struct story *s, const char *id);
/* Only what was appended before this event is there. */
void story_end_before(struct story *s, const char *id);
void story_young(struct story *s); /* everything has just been appended */
/* One more event after all others; cause NULL: a first event.  rec is copied. */
void story_add(struct story *s, enum record r, const void *rec, const char *id, const char *cause);
/* The same event once more, with this id. */
void story_again(struct story *s, const char *id, const char *as);
struct verify_report *story_report(struct story *s); /* what serve-1 says: generation 3 */
struct verify_answer *story_answer(struct story *s); /* predictions of generation 3 */
void story_not_judged(struct story *s, const char *id);
/* Which lines the results of ingest speak of; borrowed. */
void story_lines(struct story *s, char **lines, size_t n);
void story_cut(struct story *s); /* the beginning of the topics is gone */
/* Everything through the checks of lines and outcomes; *f is the caller's. */
void story_check(struct story *s, struct findings *f);

#endif
