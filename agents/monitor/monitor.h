/* The monitor agent. */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "common/agent.h"

extern const struct agent_spec monitor_agent;

#endif
