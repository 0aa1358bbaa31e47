/* Fault points: where a test kills, stops or deceives a process, before and after each effect that
 * it has on the world.  In the product the macros are the call that they stand around, and nothing
 * else; in test builds (-DRELEARN_TEST: `make VARIANT=fault`, sanitizers) a program prints its
 * points with --fault-points, and RELEARN_FAULTS=folder names where each process keeps its control
 * file (fault.c), by which one point at a time is armed.
 *
 * A point's kinds: kill (SIGKILL), stop (SIGSTOP), fail (the effect is not done, and the call says
 * that it failed), lost (the effect is done, and the call says that it failed). Any thread. */
#ifndef COMMON_FAULT_H
#define COMMON_FAULT_H

#include <errno.h>

#include "common/base.h"

#ifndef RELEARN_TEST
/* The value of `call`, an effect of this class.  `failed` is what it answers when it fails: see
 * FAULT_ERRNO. Two points, name.before (kill, stop, fail) and name.after (kill, stop, lost). */
#define EFFECT(class, name, failed, call) (call)
/* One whose success cannot be mistaken: name.after has no lost. */
#define EFFECT_SURE(class, name, failed, call) (call)
/* A moment: kill, stop. */
#define FAULT_AT(class, name) ((void)0)
/* True: the good answer that has come counts as a bad one (kill, stop, lost). */
#define FAULT_LOST(class, name) (false)
#else

enum { FAULT_KILL = 1, FAULT_STOP = 2, FAULT_FAIL = 4, FAULT_LOSE = 8 };
struct fault_point {
    const char *name, *effect; /* unique; the class */
    unsigned kinds;
};
bool fault_hit(const struct fault_point *const *slot);

#define FAULT_HIT_(class_, name_, kinds_)                                                          \
    ({                                                                                             \
        static const struct fault_point fault_ = {name_, #class_, kinds_};                         \
        static const struct fault_point *const fault_slot_                                         \
            __attribute__((section("fault_points"), used)) = &fault_;                              \
        fault_hit(&fault_slot_);                                                                   \
    })
#define FAULT_WRAP_(class, name, failed, call, after)                                              \
    ({                                                                                             \
        __typeof__(call) fault_answer_;                                                            \
        if (FAULT_HIT_(class, name ".before", FAULT_KILL | FAULT_STOP | FAULT_FAIL))               \
            fault_answer_ = (failed);                                                              \
        else if (fault_answer_ = (call), FAULT_HIT_(class, name ".after", after))                  \
            fault_answer_ = (failed);                                                              \
        fault_answer_;                                                                             \
    })
#define EFFECT(class, name, failed, call)                                                          \
    FAULT_WRAP_(class, name, failed, call, FAULT_KILL | FAULT_STOP | FAULT_LOSE)
#define EFFECT_SURE(class, name, failed, call)                                                     \
    FAULT_WRAP_(class, name, failed, call, FAULT_KILL | FAULT_STOP)
#define FAULT_AT(class, name) ((void)FAULT_HIT_(class, name, FAULT_KILL | FAULT_STOP))
#define FAULT_LOST(class, name) FAULT_HIT_(class, name, FAULT_KILL | FAULT_STOP | FAULT_LOSE)
#endif

/* For calls that answer -1 and set errno. */
#define FAULT_ERRNO (errno = EIO, -1)
/* For those that answer -1 and set *err. */
#define FAULT_ERR(err) err_io(err, "%s: a test has it fail", __func__)

#endif
