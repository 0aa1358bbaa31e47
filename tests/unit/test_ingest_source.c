/* Where datasets come from, and every way in which that goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "agents/ingest/source.h"
#include "common/fsx.h"
#include "tests/support/ingest_world.h"

static const char CSV[] = "a,y\n1,0\n2,1\n3,0\n";
enum { CSV_BYTES = sizeof(CSV) - 1, BIG_ROWS = 500000 };

/* ---- a server that answers as it is told, one connection at a time ---- */

struct server {
    pthread_t thread;
    int fd;
    char url[64];
    const char *const
        *answers; /* one for each connection, the last one for all that follow; NULL: hang */
    const struct buf *body; /* sent behind the answer */
    int connections;
    bool stop;
    sem_t hung; /* a hanging connection has been accepted */
};

static void answer(struct server *s, int fd, const char *text)
{
    char request[4096];

    if (!text) { /* nothing is said until the client goes away */
        sem_post(&s->hung);
        while (read(fd, request, sizeof(request)) > 0)
            ;
        return;
    }
    if (read(fd, request, sizeof(request)) <= 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        return;
    for (size_t at = 0; s->body && at < s->body->len;) {
        ssize_t n = send(fd, s->body->data + at, s->body->len - at, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

static void *serve(void *ctx)
{
    struct server *s = ctx;

    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        const char *const *a = s->answers;

        if (fd < 0 || __atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        for (int i = 0; i < s->connections && a[1]; i++)
            a++;
        __atomic_add_fetch(&s->connections, 1, __ATOMIC_ACQ_REL);
        answer(s, fd, *a);
        shutdown(fd, SHUT_WR);
        close(fd);
    }
}

static int listen_here(struct sockaddr_in *at)
{
    socklen_t n = sizeof(*at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)at, sizeof(*at)) == 0 && listen(fd, 8) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)at, &n), 0);
    return fd;
}

static void server_start(struct server *s, const char *const *answers, const struct buf *body)
{
    struct sockaddr_in at;

    *s = (struct server){.answers = answers, .body = body};
    sem_init(&s->hung, 0, 0);
    setenv("no_proxy", "*", 1);
    s->fd = listen_here(&at);
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/d.csv", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    __atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    sem_destroy(&s->hung);
}

#define OK_CSV "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\na,y\n1,0\n2,1\n3,0\n"

static const char *uri_of(struct ingest_world *w, const char *name, const void *p, size_t n)
{
    return arena_printf(&w->dir.names, "file://%s", tmpdir_write(&w->dir, name, p, n));
}

/* ---- files ---- */

static void what_the_event_says_is_checked(void **state)
{
    struct ingest_world *w = *state;
    const char *uri = uri_of(w, "d.csv", CSV, CSV_BYTES);
    char digest[DIGEST_HEX_SIZE];
    const struct dataset_ingested *o;

    digest_bytes(CSV, CSV_BYTES, digest);
    w->dataset.sha256 = digest;
    w->dataset.size_bytes = CSV_BYTES;
    w->dataset.rows = 3;
    o = ingest_uri(w, uri);
    assert_accepted(o, 3);
    assert_int_equal(o->bytes, CSV_BYTES);
    w->dataset.rows = 4;
    assert_rejected(ingest_uri(w, uri), NULL, "rows", "the event says 4 rows, the dataset has 3");
    w->dataset.rows = ABSENT_I64;
    w->dataset.size_bytes = CSV_BYTES + 1;
    assert_rejected(ingest_uri(w, uri), NULL, "size", "has 16 bytes, the event says 17");
    w->dataset.size_bytes = ABSENT_I64;
    digest[0] = digest[0] == 'a' ? 'b' : 'a';
    assert_rejected(ingest_uri(w, uri), NULL, "digest", "the event says");
}

static void a_wrong_digest_explains_more_than_what_comes_of_it(void **state)
{
    struct ingest_world *w = *state;
    char digest[DIGEST_HEX_SIZE];
    static const char cut[] = "a,y\n1,0\n2,\"1";

    digest_bytes(CSV, CSV_BYTES, digest);
    w->dataset.sha256 = digest;
    assert_rejected(ingest_uri(w, uri_of(w, "cut.csv", cut, sizeof(cut) - 1)), NULL, "digest",
                    "sha256");
    digest_bytes(cut, sizeof(cut) - 1, digest);
    assert_rejected(ingest_uri(w, uri_of(w, "cut.csv", cut, sizeof(cut) - 1)), NULL, "csv",
                    "never closed");
}

static void files_that_cannot_be_read(void **state)
{
    struct ingest_world *w = *state;
    const char *fifo = tmpdir_join(&w->dir, "fifo");

    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_rejected(ingest_uri(w, "file:///nonexistent/x.csv"), NULL, "fetch", "No such file");
    assert_rejected(ingest_uri(w, arena_printf(&w->dir.names, "file://%s", w->dir.path)), NULL,
                    "fetch", "no regular file");
    assert_rejected(ingest_uri(w, arena_printf(&w->dir.names, "file://%s", fifo)), NULL, "fetch",
                    "no regular file");
    assert_rejected(ingest_uri(w, "file://relative.csv"), NULL, "fetch", "names no file");
    assert_rejected(ingest_uri(w, "ftp://host/x.csv"), NULL, "fetch", "cannot be fetched");
    assert_rejected(ingest_uri(w, ""), NULL, "fetch", "cannot be fetched");
}

static void files_outside_of_the_root_are_not_read(void **state)
{
    struct ingest_world *w = *state;
    const char *inside, *outside = uri_of(w, "outside.csv", CSV, CSV_BYTES);
    struct err err;

    assert_int_equal(fsx_mkdirs(tmpdir_join(&w->dir, "root"), &err), 0);
    assert_int_equal(fsx_mkdirs(tmpdir_join(&w->dir, "root2"), &err), 0);
    inside = uri_of(w, "root/in side.csv", CSV, CSV_BYTES);
    w->request.file_root = tmpdir_join(&w->dir, "root");
    assert_accepted(ingest_uri(w, inside), 3);
    assert_accepted(ingest_uri(w, arena_printf(&w->dir.names, "file://localhost%s/in%%20side.csv",
                                               tmpdir_join(&w->dir, "root"))),
                    3);
    assert_rejected(ingest_uri(w, outside), NULL, "fetch", "outside of");
    assert_rejected(ingest_uri(w, arena_printf(&w->dir.names, "file://%s/../outside.csv",
                                               tmpdir_join(&w->dir, "root"))),
                    NULL, "fetch", "outside of");
    assert_int_equal(symlink(outside + 7, tmpdir_join(&w->dir, "root/link.csv")), 0);
    assert_rejected(ingest_uri(w, arena_printf(&w->dir.names, "file://%s",
                                               tmpdir_join(&w->dir, "root/link.csv"))),
                    NULL, "fetch", "outside of");
    assert_rejected(ingest_uri(w, uri_of(w, "root2/x.csv", CSV, CSV_BYTES)), NULL, "fetch",
                    "outside of");
}

/* The sink appends to the file that is being read. */
struct changer {
    const char *path;
    bool is_done;
};

static int change_file(void *ctx, const void *p, size_t n, struct err *err)
{
    struct changer *c = ctx;

    (void)p;
    (void)n;
    (void)err;
    if (!c->is_done) {
        int fd = open(c->path, O_WRONLY | O_APPEND);

        c->is_done = true;
        assert_true(fd >= 0 && write(fd, "4,1\n", 4) == 4);
        close(fd);
    }
    return 0;
}

static void a_file_that_changes_while_it_is_read_is_refused(void **state)
{
    struct ingest_world *w = *state;
    const char *uri = uri_of(w, "growing.csv", CSV, CSV_BYTES);
    struct changer c = {.path = uri + 7};
    struct source_request rq = {
        .uri = uri, .file_root = "/", .size_bytes = ABSENT_I64, .max_bytes = 1 << 20};
    struct source_result result;
    enum broken rule;
    struct err err = {0};

    assert_int_equal(source_read(&rq, change_file, &c, &result, &rule, &err), -1);
    assert_int_equal(rule, BROKEN_FETCH);
    assert_int_equal(err.next, NEXT_REJECT);
    assert_non_null(strstr(err.msg, "changed while it was read"));
    c.is_done = false; /* and when it is said how long it is */
    rq.size_bytes = (int64_t)fsx_size(c.path);
    assert_int_equal(source_read(&rq, change_file, &c, &result, &rule, &err), -1);
    assert_int_equal(rule, BROKEN_SIZE);
}

static void large_datasets_are_capped(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};

    buf_add_str(&csv, "a,y\n");
    for (int i = 0; i < 1000; i++)
        buf_add_str(&csv, "1,0\n");
    w->request.max_bytes = 1000;
    assert_rejected(ingest_bytes(w, csv.data, csv.len), NULL, "size", "longer than 1000 bytes");
}

/* ---- gzip ---- */

static void gzip(const void *p, size_t n, struct buf *out)
{
    z_stream z = {0};
    size_t cap;

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    cap = deflateBound(&z, n);
    buf_reserve(out, cap);
    CLEANUP_FREE unsigned char *packed = xmalloc(cap);
    z.next_in = (unsigned char *)(uintptr_t)p;
    z.avail_in = (unsigned)n;
    z.next_out = packed;
    z.avail_out = (unsigned)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    buf_add(out, packed, cap - z.avail_out);
    deflateEnd(&z);
}

static void gzip_is_seen_by_itself(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf one = {0}, two = {0};

    gzip(CSV, CSV_BYTES, &one);
    assert_accepted(ingest_bytes(w, one.data, one.len), 3);
    gzip(CSV, 9, &two); /* two members make one text */
    gzip(CSV + 9, CSV_BYTES - 9, &two);
    buf_add(&two, "\0\0\0", 3); /* as tapes are padded */
    assert_accepted(ingest_bytes(w, two.data, two.len), 3);
    assert_rejected(ingest_bytes(w, one.data, one.len - 5), NULL, "csv", "ends early");
    buf_add(&two, "x", 1);
    assert_rejected(ingest_bytes(w, two.data, two.len), NULL, "csv", "bytes behind the gzip data");
    one.data[one.len - 6] ^= 1; /* the checksum */
    assert_rejected(ingest_bytes(w, one.data, one.len), NULL, "csv", "damaged");
}

static void a_bomb_does_not_go_off(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf packed = {0};
    CLEANUP_FREE char *zeros = xcalloc(1, 64 << 20);

    memset(zeros, '1', 64 << 20);
    memcpy(zeros, "a,y\n", 4);
    for (size_t i = 4; i + 4 < 64 << 20; i += 4)
        memcpy(zeros + i, "1,0\n", 4);
    gzip(zeros, 64 << 20, &packed);
    w->request.max_bytes = 1 << 20;
    assert_true(packed.len < 1 << 20);
    assert_rejected(ingest_bytes(w, packed.data, packed.len), NULL, "size",
                    "unpacks to more than 1048576");
}

/* ---- http ---- */

static void datasets_come_over_http(void **state)
{
    static const char *const answers[] = {OK_CSV, NULL};
    struct ingest_world *w = *state;
    struct server s;

    server_start(&s, answers, NULL);
    assert_accepted(ingest_uri(w, s.url), 3);
    w->dataset.size_bytes = CSV_BYTES;
    assert_accepted(ingest_uri(w, s.url), 3);
    w->dataset.size_bytes = 5;
    assert_rejected(ingest_uri(w, s.url), NULL, "size", "longer than the 5 bytes");
    server_stop(&s);
}

static void a_download_is_read_again_from_its_copy(void **state)
{
    static const char *const answers[] = {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", NULL};
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    struct snapshot_data d;
    struct snapshot *snapshot;
    struct server s;

    buf_add_str(&csv, "a,b,y\n");
    for (int i = 0; i < BIG_ROWS; i++)
        buf_addf(&csv, "%d,%d,%d\n", i % 7, i, i % 2);
    buf_add_str(&csv, "word,1,1\n");
    server_start(&s, answers, &csv);
    snapshot = open_outcome(w, ingest_uri(w, s.url), &d);
    assert_int_equal(snapshot->rows, BIG_ROWS + 1);
    assert_int_equal(snapshot->columns[0].type, COLUMN_CATEGORY);
    assert_string_equal(snapshot->columns[0].categories[7], "word");
    assert_int_equal(s.connections, 1);
    snapshot_unmap(&d);
    snapshot_free(snapshot);
    server_stop(&s);
}

static void what_is_not_there_is_refused_at_once(void **state)
{
    static const char *const answers[] = {"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
                                          NULL};
    struct ingest_world *w = *state;
    struct server s;

    server_start(&s, answers, NULL);
    assert_rejected(ingest_uri(w, s.url), NULL, "fetch", "answers with HTTP status 404");
    assert_int_equal(s.connections, 1);
    server_stop(&s);
}

static void what_may_get_better_is_tried_again(void **state)
{
    static const char *const answers[] = {"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n", OK_CSV,
                                          NULL};
    static const char *const never[] = {"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", NULL};
    static const char *const cut[] = {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\na,y\n1,0\n",
                                      OK_CSV, NULL};
    struct ingest_world *w = *state;
    struct server s;

    server_start(&s, answers, NULL);
    assert_accepted(ingest_uri(w, s.url), 3);
    assert_int_equal(s.connections, 2);
    server_stop(&s);
    server_start(&s, never, NULL);
    assert_rejected(ingest_uri(w, s.url), NULL, "fetch", "HTTP status 500; tried 2 times");
    assert_int_equal(s.connections, 2);
    server_stop(&s);
    server_start(&s, cut, NULL); /* a body that ends early is no dataset */
    assert_accepted(ingest_uri(w, s.url), 3);
    server_stop(&s);
    assert_rejected(ingest_uri(w, s.url), NULL, "fetch", "tried 2 times"); /* nobody listens now */
}

static void a_server_that_hangs_has_failed(void **state)
{
    static const char *const hang[] = {NULL, NULL};
    struct ingest_world *w = *state;
    struct server s;

    server_start(&s, hang, NULL);
    w->request.attempts = 1;
    w->request.timeout_ms = 300;
    assert_rejected(ingest_uri(w, s.url), NULL, "fetch", "tried once");
    server_stop(&s);
}

struct canceler {
    struct server *s;
    volatile bool cancel;
};

static void *cancel_when_hung(void *ctx)
{
    struct canceler *c = ctx;

    while (sem_wait(&c->s->hung) && errno == EINTR)
        ;
    __atomic_store_n(&c->cancel, true, __ATOMIC_RELAXED);
    return NULL;
}

static void work_can_be_canceled(void **state)
{
    static const char *const hang[] = {NULL, NULL};
    struct ingest_world *w = *state;
    struct ingest_result result = {0};
    struct server s;
    struct canceler c = {.s = &s};
    pthread_t thread;
    struct err err = {0};

    server_start(&s, hang, NULL);
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_hung, &c), 0);
    w->dataset.uri = s.url;
    w->request.cancel = &c.cancel;
    assert_int_equal(ingest_run(&w->request, &result, &err), -1);
    assert_int_equal(err.next, NEXT_RETRY);
    pthread_join(thread, NULL);
    server_stop(&s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, ingest_world_setup, ingest_world_teardown)
    const struct CMUnitTest tests[] = {
        T(what_the_event_says_is_checked),
        T(a_wrong_digest_explains_more_than_what_comes_of_it),
        T(files_that_cannot_be_read),
        T(files_outside_of_the_root_are_not_read),
        T(a_file_that_changes_while_it_is_read_is_refused),
        T(large_datasets_are_capped),
        T(gzip_is_seen_by_itself),
        T(a_bomb_does_not_go_off),
        T(datasets_come_over_http),
        T(a_download_is_read_again_from_its_copy),
        T(what_is_not_there_is_refused_at_once),
        T(what_may_get_better_is_tried_again),
        T(a_server_that_hangs_has_failed),
        T(work_can_be_canceled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
