#include "tests/support/broker_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fsx.h"

extern char **environ;

enum { ARGS_MAX = 24, LOOK_US = 2000, LOOKS_MAX = 30000, TEXT_CAP_BYTES = 1 << 20 };

void broker_process_init(struct broker_process *p)
{
    *p = (struct broker_process){0};
    tmpdir_init(&p->dir);
    p->address_file = tmpdir_join(&p->dir, "address");
    p->endpoint_file = tmpdir_join(&p->dir, "endpoint");
    p->journal = tmpdir_join(&p->dir, "journal");
    p->output = tmpdir_join(&p->dir, "output");
    str_copy(p->port, sizeof(p->port), "0");
}

int broker_process_end(struct broker_process *p, int signal)
{
    int status = 0;

    kill(p->pid, signal);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    return status;
}

void broker_process_fini(struct broker_process *p)
{
    if (p->pid)
        broker_process_end(p, SIGKILL);
    tmpdir_fini(&p->dir);
}

static char *read_text(const char *path)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err;

    if (fsx_read_file(path, TEXT_CAP_BYTES, &b, &err))
        return xstrdup("");
    return buf_take(&b);
}

static void spawn(struct broker_process *p, const char *const *more)
{
    const char *args[ARGS_MAX] = {"relearn-broker",  "--address-file", p->address_file,
                                  "--endpoint-file", p->endpoint_file, "--journal",
                                  p->journal,        "--port",         p->port};
    const char *bin = getenv("RELEARN_BIN");
    CLEANUP_FREE char *program = xasprintf("%s/relearn-broker", bin ? bin : "build/bin");
    posix_spawn_file_actions_t actions;
    size_t n = 9;

    unlink(p->address_file); /* of one that was killed */
    for (; more && *more; more++)
        args[n++] = *more;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, p->output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (posix_spawn(&p->pid, program, &actions, NULL, (char **)(uintptr_t)args, environ))
        fail_msg("%s does not start: `make all` builds it", program);
    posix_spawn_file_actions_destroy(&actions);
}

static void wait_ready(struct broker_process *p)
{
    CLEANUP_FREE char *address = NULL;
    char *colon;

    for (int i = 0; !fsx_exists(p->address_file); i++) {
        CLEANUP_FREE char *said = read_text(p->output);

        if (waitpid(p->pid, NULL, WNOHANG) != 0) {
            p->pid = 0;
            fail_msg("ended: %s", said);
        }
        if (i == LOOKS_MAX)
            fail_msg("not ready: %s", said);
        usleep(LOOK_US);
    }
    address = read_text(p->address_file);
    colon = strchr(address, ':');
    assert_non_null(colon);
    str_copy(p->port, sizeof(p->port), colon + 1);
}

void broker_process_start(struct broker_process *p, const char *const *more)
{
    spawn(p, more);
    wait_ready(p);
}

void broker_process_refuses(struct broker_process *p, const char *const *more, const char *says)
{
    CLEANUP_FREE char *said = NULL;
    int status = 0;

    spawn(p, more);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    said = read_text(p->output);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    if (!strstr(said, says))
        fail_msg("said: %s", said);
    assert_false(fsx_exists(p->address_file));
}

char *broker_process_get(struct broker_process *p, const char *path)
{
    CLEANUP_FREE char *url = read_text(p->endpoint_file);
    CLEANUP(buf_fini) struct buf answer = {0};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int64_t port = 0;
    char part[4096], request[256];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n;

    assert_return_code(str_to_i64(strrchr(url, ':') + 1, &port), 0);
    to.sin_port = htons((uint16_t)port);
    assert_return_code(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             path);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    while ((n = read(fd, part, sizeof(part))) > 0)
        buf_add(&answer, part, (size_t)n);
    close(fd);
    return buf_take(&answer);
}

long long broker_process_metric(struct broker_process *p, const char *name)
{
    CLEANUP_FREE char *text = broker_process_get(p, "/metrics");
    CLEANUP_FREE char *line = xasprintf("\nrelearn_broker_%s ", name);
    const char *at = strstr(text, line);

    if (!at)
        fail_msg("no %s in %s", name, text);
    return strtoll(at + strlen(line), NULL, 10);
}

void broker_process_wait_journalled(struct broker_process *p, long long records)
{
    for (int i = 0; broker_process_metric(p, "journal_records_total") < records; i++) {
        if (i == LOOKS_MAX)
            fail_msg("%lld of %lld journalled", broker_process_metric(p, "journal_records_total"),
                     records);
        usleep(LOOK_US);
    }
    assert_int_equal(broker_process_metric(p, "journal_lag_records"), 0);
}

char *broker_process_brokers(const struct broker_process *p)
{
    return xasprintf("127.0.0.1:%s", p->port);
}

char *broker_process_said(const struct broker_process *p)
{
    return read_text(p->output);
}
