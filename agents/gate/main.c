#include "agents/gate/gate.h"

int main(int argc, char **argv)
{
    return agent_main(&gate_agent, argc, argv);
}
