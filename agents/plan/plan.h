/* The plan agent: decides when each line is retrained, and on what. The decisions are policy.h's.
 */
#ifndef AGENTS_PLAN_PLAN_H
#define AGENTS_PLAN_PLAN_H

#include "common/agent.h"

extern const struct agent_spec plan_agent;

#endif
