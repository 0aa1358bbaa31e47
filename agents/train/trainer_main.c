#include <stdio.h>
#include <unistd.h>

#include "agents/train/trainer.h"

int main(int argc, char **argv)
{
    int code = trainer_main(argc, argv);

    fflush(stdout);
    _exit(code); /* nothing is left to write, and libraries take milliseconds to say good-bye */
}
