#include "agents/broker/kick.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/mem.h"

enum { KICK_EVERY_US = 500 };

struct kick {
    pthread_t thread;
    struct sockaddr_in to;
    atomic_bool is_stopped;
};

static void knock(const struct sockaddr_in *to)
{
    const struct linger at_once = {.l_onoff = 1}; /* leaves no TIME_WAIT behind */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0)
        usleep(KICK_EVERY_US);
    close(fd);
}

static void *run(void *arg)
{
    struct kick *k = arg;

    while (!atomic_load(&k->is_stopped)) {
        knock(&k->to);
        usleep(KICK_EVERY_US);
    }
    return NULL;
}

struct kick *kick_start(const char *address)
{
    struct kick *k = xcalloc(1, sizeof(*k));
    const char *colon = strrchr(address, ':');
    int64_t port = 0;

    BUG_ON(!colon || str_to_i64(colon + 1, &port));
    k->to = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    BUG_ON(pthread_create(&k->thread, NULL, run, k) != 0);
    return k;
}

void kick_stop(struct kick *k)
{
    if (!k)
        return;
    atomic_store(&k->is_stopped, true);
    pthread_join(k->thread, NULL);
    free(k);
}
