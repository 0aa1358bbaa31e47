/* The deploy agent. */
#ifndef DEPLOY_DEPLOY_H
#define DEPLOY_DEPLOY_H

#include "common/agent.h"

extern const struct agent_spec deploy_agent;

#endif
