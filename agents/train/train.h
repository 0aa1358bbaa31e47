/* The train agent. */
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include "common/agent.h"

extern const struct agent_spec train_agent;

#endif
