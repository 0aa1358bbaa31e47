#include "agents/ingest/ingest.h"

int main(int argc, char **argv)
{
    return agent_main(&ingest_agent, argc, argv);
}
