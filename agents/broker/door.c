#include "agents/broker/door.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agents/broker/relay.h"
#include "common/buf.h"

/* Clients come in a burst when all start, or when the bus was away. */
enum { DOOR_BACKLOG = 256 };

static _Thread_local int offered = -1;
static atomic_bool is_shut;
static struct relay *_Atomic relay;

static bool is_same(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_family == AF_INET && b->sin_family == AF_INET && a->sin_port == b->sin_port &&
           a->sin_addr.s_addr == b->sin_addr.s_addr;
}

static bool local_of(int fd, struct sockaddr_in *ret)
{
    socklen_t n = sizeof(*ret);

    *ret = (struct sockaddr_in){0};
    return getsockname(fd, (struct sockaddr *)ret, &n) == 0 && ret->sin_family == AF_INET;
}

static bool peer_of(int fd, struct sockaddr_in *ret)
{
    socklen_t n = sizeof(*ret);

    *ret = (struct sockaddr_in){0};
    return getpeername(fd, (struct sockaddr *)ret, &n) == 0 && ret->sin_family == AF_INET;
}

/* Calls fn for each descriptor of this process until it returns true; true when one did. */
static bool any_fd(bool (*fn)(int fd, void *ctx), void *ctx)
{
    DIR *dir = opendir("/proc/self/fd");
    bool found = false;
    struct dirent *e;
    int64_t fd;

    while (dir && !found && (e = readdir(dir))) {
        if (str_to_i64(e->d_name, &fd) == 0 && fd != dirfd(dir))
            found = fn((int)fd, ctx);
    }
    if (dir)
        closedir(dir);
    return found;
}

static bool has_local(int fd, void *ctx)
{
    struct sockaddr_in local;

    return local_of(fd, &local) && is_same(&local, ctx);
}

/* The other end of a connection is ours when one of our sockets has its address. */
static bool is_own(struct sockaddr_in *peer)
{
    return any_fd(has_local, peer);
}

struct cut {
    int port, n;
};

static bool cut_one(int fd, void *ctx)
{
    struct cut *cut = ctx;
    struct sockaddr_in local, peer;

    if (local_of(fd, &local) && ntohs(local.sin_port) == cut->port && peer_of(fd, &peer) &&
        !is_own(&peer) && shutdown(fd, SHUT_RDWR) == 0)
        cut->n++;
    return false;
}

int door_cut_outsiders(int port)
{
    struct cut cut = {.port = port};

    any_fd(cut_one, &cut);
    return cut.n;
}

void door_set_open(bool open)
{
    atomic_store(&is_shut, !open);
}

void door_set_relay(struct relay *r)
{
    atomic_store(&relay, r);
}

void door_offer(int fd)
{
    offered = fd;
}

int door_listen(int port, int *ret_fd, int *ret_port, struct err *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, code;

    if (fd < 0)
        return err_io(err, "socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on,
               sizeof(on)); /* the last bus's connections linger */
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, DOOR_BACKLOG) ||
        !local_of(fd, &at)) {
        code = errno;
        close(fd);
        if (code == EADDRINUSE)
            return err_set(err, ERR_CONFLICT, NEXT_FATAL,
                           "port %d of 127.0.0.1 is taken: another relearn-broker or program "
                           "listens there; stop it or give another --port (0: any)",
                           port);
        return err_set(err, ERR_IO, NEXT_FATAL, "listen on 127.0.0.1:%d: %s", port, strerror(code));
    }
    *ret_fd = fd;
    *ret_port = ntohs(at.sin_port);
    return 0;
}

/* ---- in place of the C library's ------------------------------------------------------------- */

int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t n)
{
    int offer = offered;

    if (offer < 0)
        return (int)syscall(SYS_bind, fd, address.__sockaddr__, n);
    offered = -1;
    return dup3(offer, fd, O_CLOEXEC) < 0 ? -1 : 0;
}

/* The mock asks for a queue of 5, which a burst of clients overflows: the kernel drops what it has
 * no room for, and a client that was dropped tries again after a second. */
int listen(int fd, int n)
{
    return (int)syscall(SYS_listen, fd, n < DOOR_BACKLOG ? DOOR_BACKLOG : n);
}

int accept(int fd, __SOCKADDR_ARG address, socklen_t *restrict n)
{
    int connection = (int)syscall(SYS_accept4, fd, address.__sockaddr__, n, SOCK_CLOEXEC);
    struct relay *r = atomic_load(&relay);
    struct sockaddr_in peer;

    if (connection < 0)
        return -1;
    if (atomic_load(&is_shut) && peer_of(connection, &peer) && !is_own(&peer)) {
        close(connection);
        connection = -1;
    } else if (r) {
        connection = relay_join(r, connection);
    }
    if (connection < 0)
        errno = ECONNABORTED; /* what a connection that went away at once looks like */
    return connection;
}
