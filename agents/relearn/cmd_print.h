/* What the commands print for people; with --json the answers are printed as they are. */
#ifndef RELEARN_CMD_PRINT_H
#define RELEARN_CMD_PRINT_H

#include "common/json.h"

void print_sent(const struct json *sent, bool is_json);
/* The event that answers; returns false when it is a refusal. */
bool print_answer(const struct json *event, bool is_json);
void print_prediction(const struct json *answer, bool is_json);
void print_pipelines(const struct json *list);
void print_lines(const struct json *list);
void print_runs(const struct json *list);
void print_models(const struct json *list);
void print_history(const struct json *list);
void print_explanation(const struct json *j);
void print_dead_letter(const struct json *letter); /* all of one */
void print_dead_letters(const struct json *list);
/* One event of the stream, as JSON text. */
void print_event_text(const char *text, bool is_json);

#endif
