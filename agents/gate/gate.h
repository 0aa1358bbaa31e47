/* The gate agent. */
#ifndef GATE_GATE_H
#define GATE_GATE_H

#include "common/agent.h"

extern const struct agent_spec gate_agent;

#endif
