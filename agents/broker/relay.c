/* One thread, one epoll.  A connection has two sides: `client`, the TCP connection, and `mock`, one
 * end of a socket pair whose other end the mock believes to be that connection.
 *
 * Requests go to the mock in their order, and so do their answers come back: `asked` is the list of
 * those that are out.  A Fetch whose answer was empty is held: the answer waits in `held`, the
 * request in `last_fetch`.  What ends it: news (it is asked again), its time, or another request of
 * this client (whose answer must not wait behind it).  Only a Fetch that repeats the one before is
 * held, since the first empty answer at an offset is how a client learns that it has read to the
 * end.
 *
 * A frame that is not understood is passed on as it is. */
#include "agents/broker/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agents/broker/frames.h"
#include "common/clk.h"
#include "common/mem.h"

enum {
    RELAY_HOLD_MS = 200,     /* at most; a client that resumes or seeks meanwhile waits for that, */
    RELAY_HOLD_FIRST_MS = 5, /* so it begins small when the client has just changed its mind */
    RELAY_READ_BYTES = 256 << 10, /* one read */
    RELAY_FRAME_BYTES = 16 << 20, /* a larger one is passed on unread, and everybody asks again */
    RELAY_QUEUE_BYTES = 4 << 20,  /* waiting to be written: then the other side is not read */
    RELAY_KEEP_BYTES = 1 << 20,   /* an emptied buffer above this is given back */
    RELAY_EVENTS = 64,
    ASKED_KEEP = 64,           /* answered ones that are kept before the list is moved up */
    RELAY_BURST = 8,           /* news are looked at at once so many times, */
    RELAY_BURST_MS = 5,        /* and then once in so many ms: a stream is read in batches */
    RELAY_BUF_CAP = 512 << 20, /* a Produce or an answer may be as large as the mock takes */
};

struct side {
    int fd;
    struct buf in, out; /* read and not understood; to be written */
    size_t in_at, out_at;
    uint32_t events; /* asked of epoll */
    bool is_ended;   /* nothing more will be read */
};
struct asked {
    bool is_fetch, is_produce, is_understood;
    struct part_set parts; /* of a Produce */
};
struct connection {
    struct connection *next, *prev;
    struct relay *relay;
    struct side client, mock;
    size_t pass_up, pass_down; /* bytes of a large frame that are still to be passed on */
    struct asked *asked;
    size_t asked_at, n_asked, cap_asked;
    struct buf last_fetch, held;           /* frames; held.len 0: none is */
    struct fetch fetch;                    /* of last_fetch */
    bool has_fetch, is_repeated, is_again; /* again: the one out is asked on our own account */
    bool is_news;                          /* came while it was out, or too fast */
    bool is_touched; /* by another connection: to be served in this turn as well */
    bool is_dead;
    int64_t hold_ms, until_ms;
    int64_t look_ms;  /* not before */
    int burst;        /* looks that are left of it */
    int64_t burst_ms; /* when they were counted */
};
struct relay {
    pthread_t thread;
    int epoll, wake;
    atomic_bool is_stopped;
    pthread_mutex_t lock; /* of joined alone */
    struct connection *joined;
    struct connection all; /* list head */
};

static void send_fetch(struct connection *c);

/* ---- bytes ----------------------------------------------------------------------------------- */

static struct slice unread(const struct side *s)
{
    return s->in.data ? (struct slice){s->in.data + s->in_at, s->in.len - s->in_at}
                      : (struct slice){0};
}

static void settle(struct buf *b, size_t *at)
{
    if (*at < b->len)
        return;
    *at = 0;
    if (b->alloc > RELAY_KEEP_BYTES) {
        buf_fini(b);
        buf_init(b, RELAY_BUF_CAP);
    } else {
        buf_reset(b);
    }
}

static void flush(struct connection *c, struct side *s)
{
    while (s->out_at < s->out.len) {
        ssize_t n = send(s->fd, s->out.data + s->out_at, s->out.len - s->out_at, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            c->is_dead = true;
        if (n <= 0)
            return;
        s->out_at += (size_t)n;
    }
    settle(&s->out, &s->out_at);
}

static void pass(struct connection *c, struct side *to, struct slice bytes)
{
    buf_add(&to->out, bytes.p, bytes.n);
    if (to->out.overflow)
        c->is_dead = true;
}

/* Moves up to n unread bytes on; how many it were. */
static size_t move(struct connection *c, struct side *from, struct side *to, size_t n)
{
    struct slice bytes = unread(from);

    bytes.n = bytes.n < n ? bytes.n : n;
    pass(c, to, bytes);
    from->in_at += bytes.n;
    return bytes.n;
}

/* ---- news ------------------------------------------------------------------------------------ */

static bool may_look(struct connection *c, int64_t now_ms)
{
    int64_t earned = (now_ms - c->burst_ms) / RELAY_BURST_MS;

    if (earned > 0) {
        c->burst = earned > RELAY_BURST - c->burst ? RELAY_BURST : c->burst + (int)earned;
        c->burst_ms = now_ms;
    }
    if (c->burst == 0) {
        c->look_ms = c->burst_ms + RELAY_BURST_MS;
        return false;
    }
    c->burst--;
    return true;
}

static void look(struct connection *c, int64_t now_ms)
{
    c->is_news = true;
    if (c->held.len == 0 || !may_look(c, now_ms))
        return; /* it is out and will be looked at when it comes, or the burst is used up */
    buf_reset(&c->held);
    c->is_again = c->is_touched = true;
    send_fetch(c);
}

static void tell(struct relay *r, const struct part_set *written, int64_t now_ms)
{
    for (struct connection *c = r->all.next; c != &r->all; c = c->next) {
        if (c->has_fetch && !c->is_dead && (!written || part_set_meets(&c->fetch.parts, written)))
            look(c, now_ms);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct asked *ask(struct connection *c)
{
    if (c->asked_at > 0 && (c->asked_at >= ASKED_KEEP || c->asked_at == c->n_asked)) {
        c->n_asked -= c->asked_at;
        memmove(c->asked, c->asked + c->asked_at, c->n_asked * sizeof(*c->asked));
        c->asked_at = 0;
    }
    c->asked = xgrow(c->asked, &c->cap_asked, c->n_asked + 1, sizeof(*c->asked));
    c->asked[c->n_asked] = (struct asked){0};
    return &c->asked[c->n_asked++];
}

static void release(struct connection *c)
{
    if (c->held.len > 0)
        pass(c, &c->client, buf_slice(&c->held));
    buf_reset(&c->held);
}

static void send_fetch(struct connection *c)
{
    struct asked *a = ask(c);

    a->is_fetch = a->is_understood = true;
    c->is_news = false;
    pass(c, &c->mock, buf_slice(&c->last_fetch));
    flush(c, &c->mock);
}

static void take_fetch(struct connection *c, struct slice frame, int64_t now_ms)
{
    struct fetch f;

    if (!fetch_parse(frame, &f)) {
        c->has_fetch = false;
        ask(c);
        pass(c, &c->mock, frame);
        return;
    }
    fetch_set_wait((char *)(uintptr_t)frame.p, &f, 0); /* our own buffer */
    c->is_repeated = c->has_fetch && f.positions == c->fetch.positions;
    c->has_fetch = true;
    c->is_again = false;
    c->fetch = f;
    c->hold_ms = c->is_repeated ? c->hold_ms * 2 : RELAY_HOLD_FIRST_MS;
    if (c->hold_ms > RELAY_HOLD_MS)
        c->hold_ms = RELAY_HOLD_MS;
    c->until_ms = now_ms + c->hold_ms;
    buf_reset(&c->last_fetch);
    buf_add(&c->last_fetch, frame.p, frame.n);
    send_fetch(c);
}

static void take_request(struct connection *c, struct slice frame, const struct frame_head *head,
                         int64_t now_ms)
{
    struct asked *a;

    if (head->api == FRAME_FETCH) {
        take_fetch(c, frame, now_ms);
        return;
    }
    a = ask(c);
    a->is_produce = head->api == FRAME_PRODUCE;
    a->is_understood = a->is_produce && produce_parse(frame, &a->parts);
    pass(c, &c->mock, frame);
}

static void read_requests(struct connection *c, int64_t now_ms)
{
    struct frame_head head;

    while (!c->is_dead) {
        struct slice bytes = unread(&c->client);

        if (c->pass_up > 0) {
            c->pass_up -= move(c, &c->client, &c->mock, c->pass_up);
            if (c->pass_up > 0)
                return;
            continue;
        }
        if (!frame_head(bytes, &head))
            return;
        if (head.bytes < FRAME_HEAD_BYTES) {
            c->is_dead = true; /* no Kafka client */
            return;
        }
        release(c); /* somebody who asks for more gets what there is first */
        if (head.bytes > RELAY_FRAME_BYTES) {
            ask(c)->is_produce = head.api == FRAME_PRODUCE;
            c->pass_up = head.bytes;
            continue;
        }
        if (bytes.n < head.bytes)
            return;
        take_request(c, (struct slice){bytes.p, head.bytes}, &head, now_ms);
        c->client.in_at += head.bytes;
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void take_fetch_answer(struct connection *c, struct slice frame, bool is_last,
                              int64_t now_ms)
{
    bool is_empty = c->has_fetch && fetch_answer_is_empty(&c->fetch, frame);

    if (!is_empty || !is_last || !(c->is_repeated || c->is_again) || now_ms >= c->until_ms) {
        pass(c, &c->client, frame);
        return;
    }
    buf_reset(&c->held);
    buf_add(&c->held, frame.p, frame.n);
    if (c->is_news)
        look(c, now_ms);
}

static void read_answers(struct connection *c, int64_t now_ms)
{
    while (!c->is_dead) {
        struct slice bytes = unread(&c->mock);
        struct frame_head head;
        struct asked a;

        if (c->pass_down > 0) {
            c->pass_down -= move(c, &c->mock, &c->client, c->pass_down);
            if (c->pass_down > 0)
                return;
            continue;
        }
        if (bytes.n < 4 || c->asked_at == c->n_asked)
            return;
        head.bytes = ((size_t)(uint8_t)bytes.p[0] << 24 | (size_t)(uint8_t)bytes.p[1] << 16 |
                      (size_t)(uint8_t)bytes.p[2] << 8 | (size_t)(uint8_t)bytes.p[3]) +
                     4;
        a = c->asked[c->asked_at];
        if (a.is_fetch && head.bytes == c->fetch.empty_bytes && bytes.n < head.bytes)
            return; /* may be empty: it is looked at whole */
        c->asked_at++;
        if (a.is_produce)
            tell(c->relay, a.is_understood ? &a.parts : NULL, now_ms);
        if (a.is_fetch && head.bytes == c->fetch.empty_bytes) {
            take_fetch_answer(c, (struct slice){bytes.p, head.bytes}, c->asked_at == c->n_asked,
                              now_ms);
            c->mock.in_at += head.bytes;
        } else {
            c->pass_down = head.bytes;
        }
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static void side_init(struct side *s, int fd)
{
    *s = (struct side){.fd = fd};
    buf_init(&s->in, RELAY_BUF_CAP);
    buf_init(&s->out, RELAY_BUF_CAP);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void side_fini(struct side *s)
{
    close(s->fd);
    buf_fini(&s->in);
    buf_fini(&s->out);
}

static void connection_free(struct connection *c)
{
    c->prev->next = c->next;
    c->next->prev = c->prev;
    side_fini(&c->client);
    side_fini(&c->mock);
    buf_fini(&c->last_fetch);
    buf_fini(&c->held);
    free(c->asked);
    free(c);
}

/* What epoll is to wait for: reading pauses while the other side cannot be written. */
static void watch(struct connection *c, struct side *s, const struct side *other, int operation)
{
    struct epoll_event ev = {.data.ptr = c};

    if (!s->is_ended && other->out.len - other->out_at < RELAY_QUEUE_BYTES)
        ev.events |= EPOLLIN;
    if (s->out_at < s->out.len)
        ev.events |= EPOLLOUT;
    if (operation == EPOLL_CTL_MOD && ev.events == s->events)
        return;
    s->events = ev.events;
    epoll_ctl(c->relay->epoll, operation, s->fd, &ev);
}

static void fill(struct connection *c, struct side *s, const struct side *other)
{
    settle(&s->in, &s->in_at);
    if (s->is_ended || other->out.len - other->out_at >= RELAY_QUEUE_BYTES)
        return;
    if (s->in_at > 0) { /* a part of a frame: to the front */
        memmove(s->in.data, s->in.data + s->in_at, s->in.len - s->in_at);
        s->in.len -= s->in_at;
        s->in_at = 0;
    }
    for (;;) {
        ssize_t n;

        buf_reserve(&s->in, RELAY_READ_BYTES);
        if (s->in.overflow) { /* frames are passed on long before */
            c->is_dead = true;
            return;
        }
        n = recv(s->fd, s->in.data + s->in.len, RELAY_READ_BYTES, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            s->is_ended = true;
        if (n < 0 && errno != EAGAIN)
            c->is_dead = true;
        if (n > 0)
            s->in.len += (size_t)n;
        return;
    }
}

static void serve(struct connection *c, int64_t now_ms)
{
    fill(c, &c->client, &c->mock);
    fill(c, &c->mock, &c->client);
    read_requests(c, now_ms);
    read_answers(c, now_ms);
    flush(c, &c->client);
    flush(c, &c->mock);
    /* Who has gone asks for nothing; what the mock still had to say has been written, or cannot be.
     */
    if (c->client.is_ended || c->mock.is_ended)
        c->is_dead = true;
    watch(c, &c->client, &c->mock, EPOLL_CTL_MOD);
    watch(c, &c->mock, &c->client, EPOLL_CTL_MOD);
}

static void add_joined(struct relay *r)
{
    struct connection *c, *next;

    pthread_mutex_lock(&r->lock);
    c = r->joined;
    r->joined = NULL;
    pthread_mutex_unlock(&r->lock);
    for (; c; c = next) {
        next = c->next;
        c->next = &r->all;
        c->prev = r->all.prev;
        c->prev->next = c;
        r->all.prev = c;
        watch(c, &c->client, &c->mock, EPOLL_CTL_ADD);
        watch(c, &c->mock, &c->client, EPOLL_CTL_ADD);
    }
}

/* Holds that are over, looks that were put off, connections that have ended; the next time to look.
 */
static int64_t sweep(struct relay *r, int64_t now_ms)
{
    int64_t next_ms = INT64_MAX;

    for (struct connection *c = r->all.next, *after; c != &r->all; c = after) {
        after = c->next;
        if (c->held.len > 0 && now_ms >= c->until_ms) {
            release(c);
            c->is_touched = true;
        }
        if (c->held.len > 0 && c->is_news && now_ms >= c->look_ms)
            look(c, now_ms);
        if (c->is_touched && !c->is_dead)
            serve(c, now_ms);
        c->is_touched = false;
        if (c->is_dead) {
            connection_free(c);
            continue;
        }
        if (c->held.len > 0 && c->until_ms < next_ms)
            next_ms = c->until_ms;
        if (c->held.len > 0 && c->is_news && c->look_ms < next_ms)
            next_ms = c->look_ms;
    }
    return next_ms;
}

static void *run(void *arg)
{
    struct relay *r = arg;
    struct epoll_event events[RELAY_EVENTS];
    int64_t next_ms = INT64_MAX;

    while (!atomic_load(&r->is_stopped)) {
        int64_t now_ms = clk_mono_ms(&clk_system);
        int wait_ms = next_ms == INT64_MAX ? -1 : next_ms <= now_ms ? 0 : (int)(next_ms - now_ms);
        int n = epoll_wait(r->epoll, events, RELAY_EVENTS, wait_ms);
        uint64_t woken;

        now_ms = clk_mono_ms(&clk_system);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;

            if (c) {
                serve(c, now_ms);
                c->is_dead = c->is_dead || events[i].events & (EPOLLHUP | EPOLLERR);
            } else if (read(r->wake, &woken, sizeof(woken)) > 0) {
                add_joined(r);
            }
        }
        next_ms = sweep(r, now_ms);
    }
    add_joined(r);
    for (struct connection *c = r->all.next, *next; c != &r->all; c = next) {
        next = c->next;
        connection_free(c);
    }
    return NULL;
}

int relay_start(struct relay **ret, struct err *err)
{
    struct relay *r = xcalloc(1, sizeof(*r));
    struct epoll_event ev = {.events = EPOLLIN};

    r->all.next = r->all.prev = &r->all;
    pthread_mutex_init(&r->lock, NULL);
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r->epoll < 0 || r->wake < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->wake, &ev) ||
        pthread_create(&r->thread, NULL, run, r))
        return err_set(err, ERR_IO, NEXT_FATAL, "relay: %s",
                       strerror(errno)); /* the process ends */
    *ret = r;
    return 0;
}

static void wake(struct relay *r)
{
    uint64_t one = 1;

    if (write(r->wake, &one, sizeof(one)) < 0)
        return; /* it is awake already */
}

void relay_stop(struct relay *r)
{
    if (!r)
        return;
    atomic_store(&r->is_stopped, true);
    wake(r);
    pthread_join(r->thread, NULL);
    pthread_mutex_destroy(&r->lock);
    close(r->epoll);
    close(r->wake);
    free(r);
}

int relay_join(struct relay *r, int client)
{
    struct connection *c;
    int pair[2], on = 1;

    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* else answers wait 40 ms */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        close(client);
        return -1;
    }
    c = xcalloc(1, sizeof(*c));
    c->relay = r;
    side_init(&c->client, client);
    side_init(&c->mock, pair[0]);
    buf_init(&c->last_fetch, RELAY_FRAME_BYTES);
    buf_init(&c->held, RELAY_FRAME_BYTES);
    pthread_mutex_lock(&r->lock);
    c->next = r->joined;
    r->joined = c;
    pthread_mutex_unlock(&r->lock);
    wake(r);
    return pair[1];
}
