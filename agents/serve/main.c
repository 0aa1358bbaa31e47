#include "agents/serve/serve.h"

int main(int argc, char **argv)
{
    return agent_main(&serve_agent, argc, argv);
}
