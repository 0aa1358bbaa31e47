/* The console agent. */
#ifndef CONSOLE_CONSOLE_H
#define CONSOLE_CONSOLE_H

#include "common/agent.h"

extern const struct agent_spec console_agent;

#endif
