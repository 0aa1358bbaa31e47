/* The serve agent. */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include "common/agent.h"

extern const struct agent_spec serve_agent;

#endif
