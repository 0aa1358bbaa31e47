#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include "common/agent.h"

extern const struct agent_spec ingest_agent;

#endif
