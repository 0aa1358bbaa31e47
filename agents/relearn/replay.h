/* `relearn replay` and `relearn demo`. */
#ifndef RELEARN_REPLAY_H
#define RELEARN_REPLAY_H

/* argv[0] is the command's word; returns the exit code. */
int replay_main(int argc, char **argv);
int demo_main(int argc, char **argv);

#endif
