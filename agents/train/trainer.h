/* relearn-trainer: the child of the train agent. */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

enum { TRAINER_EXIT_RETRY = 75 }; /* it may go better another time (EX_TEMPFAIL) */

int trainer_main(int argc, char **argv);

#endif
