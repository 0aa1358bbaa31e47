#include "agents/console/console.h"

int main(int argc, char **argv)
{
    return agent_main(&console_agent, argc, argv);
}
