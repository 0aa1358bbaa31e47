/* The evaluate agent. */
#ifndef EVALUATE_EVALUATE_H
#define EVALUATE_EVALUATE_H

#include "common/agent.h"

extern const struct agent_spec evaluate_agent;

#endif
