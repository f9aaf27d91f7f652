/* delay: a relay on loopback that hands bytes on some milliseconds after they came, both ways.
 *
 *   delay MILLISECONDS FROM:TO [FROM:TO …]
 *
 * Listens on each port FROM and connects what comes there to port TO. Bytes keep their order and
 * are not joined; no bandwidth is taken away. A side that ends ends the other one. It stands in for a slow
 * network where the kernel has no netem; put it between the nodes, not before their clients.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 262144
#define HELD_MAX (64 << 20)                 /* bytes on their way; beyond, the sender waits */

struct piece { struct piece *next; uint64_t due; size_t begin, end; char bytes[]; };
struct side {                               /* one socket; `first` is what is to be written to it */
    int fd, ended, gone;
    size_t held;
    struct side *other, *later;             /* the other end; the next in the list of all */
    struct piece *first, *last;
};
struct door { int fd, to; };

static struct side *all;
static int poller;
static uint64_t wait_ns;

static void fail(const char *what) { fprintf(stderr, "delay: %s: %s\n", what, strerror(errno)); exit(1); }

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){ AF_INET, htons(port), { htonl(INADDR_LOOPBACK) }, { 0 } };
}

static struct side *join(int fd)
{
    struct side *side = calloc(1, sizeof *side);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    side->fd = fd;
    side->later = all;
    return all = side;
}

static void listen_to(struct side *side)
{
    struct epoll_event event = { EPOLLIN | EPOLLET, { .ptr = side } };
    epoll_ctl(poller, EPOLL_CTL_ADD, side->fd, &event);
}

static void welcome(const struct door *door)
{
    struct sockaddr_in address = loopback(door->to);
    int fd = accept(door->fd, NULL, NULL), out = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) { close(out); return; }
    if (out < 0 || connect(out, (void *)&address, sizeof address)) {
        close(fd);                          /* nobody there: refused, a little late */
        if (out >= 0) close(out);
        return;
    }
    struct side *a = join(fd), *b = join(out);
    a->other = b; b->other = a;
    listen_to(a); listen_to(b);
}

static void take_in(struct side *side)      /* edge-triggered: all that is there, within bounds */
{
    struct side *to = side->other;
    while (!side->ended && to->held < HELD_MAX) {
        struct piece *piece = malloc(sizeof *piece + READ_BYTES);
        ssize_t size = read(side->fd, piece->bytes, READ_BYTES);
        if (size < 0) {
            free(piece);
            if (errno != EAGAIN) side->ended = 1;
            return;
        }
        *piece = (struct piece){ NULL, now_ns() + wait_ns, 0, size };
        piece = realloc(piece, sizeof *piece + size);   /* an empty piece: the end */
        side->ended = size == 0;
        to->held += size;
        if (to->last) to->last->next = piece; else to->first = piece;
        to->last = piece;
    }
}

static void hand_on(struct side *side, uint64_t now)
{
    size_t before = side->held;
    while (side->first && side->first->due <= now && !side->gone) {
        struct piece *piece = side->first;
        ssize_t sent = 0;
        if (piece->end) sent = write(side->fd, piece->bytes + piece->begin, piece->end - piece->begin);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0 || !piece->end) { side->gone = 1; break; }
        piece->begin += sent; side->held -= sent;
        if (piece->begin < piece->end) break;
        if (!(side->first = piece->next)) side->last = NULL;
        free(piece);
    }
    if (before >= HELD_MAX && side->held < HELD_MAX) take_in(side->other);
}

static void end(struct side *side)          /* closes it; what was on its way to it is lost */
{
    close(side->fd);
    for (struct piece *piece; (piece = side->first); free(piece)) side->first = piece->next;
}

static void sweep(void)                     /* ends each pair of which one side is gone */
{
    for (struct side **at = &all; *at;) {
        struct side *side = *at;
        int over = side->gone || side->other->gone || (side->ended && !side->other->first);
        if (over) side->gone = side->other->gone = 1;
        at = &side->later;
    }
    for (struct side **at = &all; *at;) {
        struct side *side = *at;
        if (!side->gone) { at = &side->later; continue; }
        *at = side->later;
        end(side);
        free(side);
    }
}

static uint64_t serve_all(uint64_t now)     /* returns when the next piece is due */
{
    uint64_t next = UINT64_MAX;
    int gone = 0;
    for (struct side *side = all; side; side = side->later) {
        hand_on(side, now);
        gone |= side->gone || (side->ended && !side->other->first);
        if (!side->first) continue;         /* one whose buffer is full is tried again in a moment */
        uint64_t due = side->first->due > now ? side->first->due : now + 200000;
        if (due < next) next = due;
    }
    if (gone) sweep();
    return next;
}

int main(int argc, char **argv)
{
    struct door doors[64];
    int count = argc - 2, one = 1, from, to;
    if (argc < 3 || count > 64) { fprintf(stderr, "delay: MILLISECONDS FROM:TO [FROM:TO …]\n"); return 2; }
    wait_ns = atof(argv[1]) * 1e6;
    poller = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        if (sscanf(argv[i + 2], "%d:%d", &from, &to) != 2) { fprintf(stderr, "delay: %s is no FROM:TO\n", argv[i + 2]); return 2; }
        struct sockaddr_in address = loopback(from);
        doors[i] = (struct door){ socket(AF_INET, SOCK_STREAM, 0), to };
        setsockopt(doors[i].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(doors[i].fd, (void *)&address, sizeof address) || listen(doors[i].fd, 64)) fail("listen");
        struct epoll_event event = { EPOLLIN, { .ptr = &doors[i] } };
        epoll_ctl(poller, EPOLL_CTL_ADD, doors[i].fd, &event);
    }
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event timer_event = { EPOLLIN, { .ptr = NULL } }, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &timer_event);
    prctl(PR_SET_TIMERSLACK, 1);
    for (;;) {
        uint64_t next = serve_all(now_ns()), rings;
        struct itimerspec when = { { 0, 0 }, { next / 1000000000, next % 1000000000 } };
        if (next == UINT64_MAX) when.it_value = (struct timespec){ 0, 0 };
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
        int found = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < found; i++) {
            void *what = events[i].data.ptr;
            if (!what) { if (read(timer, &rings, sizeof rings) < 0 && errno != EAGAIN) fail("timer"); }
            else if ((struct door *)what >= doors && (struct door *)what < doors + count) welcome(what);
            else take_in(what);
        }
    }
}
