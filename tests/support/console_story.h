/* A story in the log, for tests of what the console says about it: line p has two models in service
 * one after the other, one that was rejected, and is rolled back; line q/north is in its first run
 * and has a trigger that waits.  Ids are plain words:
 *
 *   set1 -> snap1 -> run1 -> model1 -> eval1 -> gate1 -> dep1 (generation 1)     predictions x1, x2
 *   set2 -> snap2 -> run2 -> model2 -> eval2 -> gate2 (reject) -> closed2
 *   drift3 --------> run3 -> model3 -> eval3 -> gate3 -> dep3 (generation 2)     predictions y1
 *   undo ------------------------------------------------> dep4 (generation 3)   predictions z1
 *   q/north: qset -> qsnap -> qrun; qdrift -> qwait1 (deferred) -> qwait2 (deferred) */
#ifndef TESTS_SUPPORT_CONSOLE_STORY_H
#define TESTS_SUPPORT_CONSOLE_STORY_H

#include "tests/support/console_bench.h"

#define STORY_MODEL(digit) "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" digit

void console_story(struct console_bench *b); /* appends all of it and waits until it is read */

#endif
