/* The supervisor of an installation: starts the embedded bus (unless Kafka is used) and every
 * agent, starts again what dies, with growing pauses, scales, says what runs, and stops all of it.
 */
#ifndef RELEARN_SUPERVISOR_H
#define RELEARN_SUPERVISOR_H

int supervisor_main(int argc, char **argv);

#endif
