#include "agents/evaluate/evaluate.h"

int main(int argc, char **argv)
{
    return agent_main(&evaluate_agent, argc, argv);
}
