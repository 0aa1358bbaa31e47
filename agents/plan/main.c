#include "agents/plan/plan.h"

int main(int argc, char **argv)
{
    return agent_main(&plan_agent, argc, argv);
}
