/* A model card: what the log knows of a model, and what it does not.  Facts only; pure. */
#ifndef RELEARN_CARD_H
#define RELEARN_CARD_H

#include "common/json.h"

/* facts: of GET /v1/runs/ID. The document: model, run, line, data, splits, parameters, metrics,
 * slices, decision, served, cost, unknown. */
struct json *card_document(const struct json *facts);
void card_markdown(const struct json *card, struct buf *out);

#endif
