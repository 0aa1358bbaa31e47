#include "agents/train/train.h"

int main(int argc, char **argv)
{
    return agent_main(&train_agent, argc, argv);
}
