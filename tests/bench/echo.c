/* The floor under serve: libmicrohttpd with its own epoll thread, which reads a request of any size
 * and answers bytes that it was given.  `echo ANSWER-FILE` prints its port and runs until its
 * standard input ends. */
#include <microhttpd.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fsx.h"

enum { ANSWER_MAX_BYTES = 1 << 20, ECHO_CONNECTIONS = 1024 };

static struct MHD_Response *answer;

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_n, void **state)
{
    static int seen;

    (void)ctx, (void)url, (void)method, (void)version, (void)data;
    if (!*state) { /* answered on the first call, the connection would be closed */
        *state = &seen;
        return MHD_YES;
    }
    if (*data_n) {
        *data_n = 0;
        return MHD_YES;
    }
    return MHD_queue_response(c, MHD_HTTP_OK, answer);
}

int main(int argc, char **argv)
{
    struct buf bytes = {0};
    struct err err = {0};
    struct MHD_Daemon *d;
    char c;

    if (argc != 2 || fsx_read_file(argv[1], ANSWER_MAX_BYTES, &bytes, &err)) {
        fprintf(stderr, "usage: echo ANSWER-FILE\n%s\n", err.msg);
        return 2;
    }
    answer = MHD_create_response_from_buffer(bytes.len, bytes.data, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(answer, "Content-Type", "application/json");
    d = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, NULL,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)ECHO_CONNECTIONS, MHD_OPTION_END);
    if (!d)
        return 1;
    printf("%d\n", (int)MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        continue;
    MHD_stop_daemon(d);
    MHD_destroy_response(answer);
    buf_fini(&bytes);
    return 0;
}
