#include "agents/deploy/deploy.h"

int main(int argc, char **argv)
{
    return agent_main(&deploy_agent, argc, argv);
}
