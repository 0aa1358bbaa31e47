#include "agents/monitor/monitor.h"

int main(int argc, char **argv)
{
    return agent_main(&monitor_agent, argc, argv);
}
