/* loadgen: asks one server as fast as it answers, or at a fixed pace, and says how long it took.
 *
 *   loadgen -p PORT [-P line|resp|etcd] [-o set|get|incr|ping|multi|load]
 *           [-c CONNECTIONS] [-d IN_FLIGHT] [-t SECONDS] [-w WARM_UP_SECONDS] [-n REQUESTS]
 *           [-k KEYS] [-v VALUE_BYTES]
 *           [-R REQUESTS_PER_SECOND] [-i IDLE_CONNECTIONS] [-m PID,PID,…] [-r FILE] [-b]
 *           [-T] [-l FILE]
 *
 * One thread, epoll, loopback only. Closed loop: each connection keeps IN_FLIGHT requests on their
 * way. -R: paced; a wait is counted from the moment at which the request was due, so a server that
 * stalls is charged for all that it kept waiting. `load` sets each of KEYS keys once. -n: so many
 * requests without warm-up, in place of a time. -i: connections beside these that say nothing.
 * -b: the connections begin at once, none waits for another to be made, and the first wait on each
 * is counted from its connecting. -T: with TLS. -l: a file whose first line, a login, goes out on
 * each connection before anything else, and is answered without "Sorry". -m: processes whose CPU time is told. -r: each answer as two numbers of 64 bits, when it came
 * (CLOCK_MONOTONIC) and how long it took, in nanoseconds. SIGTERM ends the time early.
 *
 * Prints one JSON object: requests, errors and percentiles of the measured time; how long connections
 * waited for their first answer, and the longest wait that has not ended; CPU seconds of the
 * servers (-m), of the generator itself and of everybody else on the machine. Exits with 1 where a
 * connection failed, 2 for wrong arguments. Limits: etcd's values at most 16,000 bytes, and 60,000
 * in flight on a connection (this client does not follow its flow control); others 1 MiB.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "cpu_time.h"
#include "options.h"
#include "spoken.h"
#include "tls.h"

#define READ_BYTES 65536

struct pending { uint64_t since; uint32_t stream; size_t payload; };
struct connection {
    void *tls;                              /* NULL: plain */
    int fd, wants_out, count, first;        /* `count` pending ones from `first` on, a ring */
    uint32_t next_stream, owed;
    size_t looked_at;
    uint64_t due;                           /* paced: when the next request is to be sent */
    uint64_t first_wait;                    /* for the first answer; 0: none has come */
    struct pending *pending;
    struct buffer in, out;
};
struct answer { uint64_t at, took; };

static struct request request;
static uint64_t asked, answered, errors, begin_ns, end_ns = FOREVER;
static struct answer *answers;
static size_t answer_count, answer_room;
static int poller;
static volatile sig_atomic_t told_to_end;

static void fail(const char *what) { fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno)); exit(1); }

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint32_t chance(void)                /* xorshift: the same keys in each run */
{
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13; state ^= state >> 7; state ^= state << 17;
    return state >> 16;
}

/* ---- one connection ---- */

static void ask(struct connection *c, uint64_t since)
{
    char key[32];
    snprintf(key, sizeof key, "k%015u", options.loading ? (uint32_t)asked : chance() % options.keys);
    request.key = key;
    request.stream = c->next_stream;
    options.protocol->ask(&c->out, &request);
    c->pending[(c->first + c->count++) % options.in_flight] = (struct pending){ since, c->next_stream, 0 };
    c->next_stream += 2;
    asked++;
}

static ssize_t put(struct connection *c, const void *bytes, size_t count)
{
    return c->tls ? tls_write(c->tls, bytes, count) : write(c->fd, bytes, count);
}

static ssize_t take(struct connection *c, void *bytes, size_t room)
{
    return c->tls ? tls_read(c->tls, bytes, room) : read(c->fd, bytes, room);
}

static void send_out(struct connection *c)
{
    while (c->out.begin < c->out.end) {
        ssize_t sent = put(c, c->out.bytes + c->out.begin, c->out.end - c->out.begin);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0) fail("write");
        c->out.begin += sent;
    }
    int wants_out = c->out.begin < c->out.end;
    if (wants_out == c->wants_out) return;
    struct epoll_event event = { EPOLLIN | (wants_out ? EPOLLOUT : 0), { .ptr = c } };
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    c->wants_out = wants_out;
}

static void ask_on(struct connection *c, uint64_t now)
{
    while (c->count < options.in_flight && asked < options.limit && now < end_ns) {
        if (options.pace > 0 && c->due > now) break;
        ask(c, options.pace > 0 ? c->due : now);
        if (options.pace > 0) c->due += 1e9 * options.connections / options.pace;
    }
    if (c->out.begin < c->out.end) send_out(c);
}

static void note(struct connection *c, int place, int ok, const char *bytes, size_t count, uint64_t now)
{
    struct pending *slot = &c->pending[place];
    answered++;
    if (!c->first_wait) c->first_wait = now - slot->since;
    if (!ok && !errors++)
        fprintf(stderr, "loadgen: the first error: %.*s\n", (int)(count > 200 ? 200 : count), bytes);
    if (ok && now >= begin_ns && now < end_ns) {
        if (answer_count == answer_room) {
            answer_room = answer_room ? 2 * answer_room : 1 << 20;
            answers = realloc(answers, answer_room * sizeof *answers);
            if (!answers) fail("memory for the answers");
        }
        answers[answer_count++] = (struct answer){ now, now - slot->since };
    }
    *slot = c->pending[c->first];           /* etcd answers in any order: the oldest moves up */
    c->first = (c->first + 1) % options.in_flight;
    c->count--;
}

static int place_of(const struct connection *c, uint32_t stream)
{
    if (!stream) return c->count ? c->first : -1;
    for (int i = 0; i < c->count; i++) {
        int place = (c->first + i) % options.in_flight;
        if (c->pending[place].stream == stream) return place;
    }
    return -1;                              /* a frame of the connection itself */
}

static void hear(struct connection *c, uint64_t now)
{
    while (c->in.begin < c->in.end) {
        const char *bytes = c->in.bytes + c->in.begin;
        size_t count = c->in.end - c->in.begin;
        struct reply reply = options.protocol->hear(bytes, count, c->looked_at, &request, &c->out);
        if (!reply.used) { c->looked_at = count; return; }
        c->looked_at = 0;
        c->in.begin += reply.used;
        c->owed += reply.payload;
        if (options.protocol->credit && c->owed > 16384) { options.protocol->credit(&c->out, c->owed); c->owed = 0; }
        int place = options.protocol == &ETCD && !reply.stream ? -1 : place_of(c, reply.stream);
        if (place < 0) continue;
        size_t payload = c->pending[place].payload += reply.payload;
        if (!reply.ended) continue;
        if (options.protocol == &ETCD)
            reply.ok = payload >= (request.verb == SET ? 5 : 20 + request.key_bytes + request.value_bytes);
        note(c, place, reply.ok, bytes, reply.used, now);
    }
}

static void take_in(struct connection *c)
{
    do {
        make_room(&c->in, READ_BYTES);
        ssize_t size = take(c, c->in.bytes + c->in.end, c->in.room - c->in.end);
        if (size < 0 && errno == EAGAIN) return;
        if (size < 0) fail("read");
        if (size == 0) { fprintf(stderr, "loadgen: the server closed a connection\n"); exit(1); }
        c->in.end += size;
        uint64_t now = now_ns();
        hear(c, now);
        ask_on(c, now);
        if (c->out.begin < c->out.end) send_out(c);
    } while (c->tls && tls_has_more(c->tls));
}

static int dial(int flags)
{
    struct sockaddr_in address = { AF_INET, htons(options.port), { htonl(INADDR_LOOPBACK) }, { 0 } };
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0), one = 1;
    if (fd < 0) fail("socket");
    if (connect(fd, (void *)&address, sizeof address) && errno != EINPROGRESS) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Waits for the answer, which may hold the login's words: so it is not shown. */
static void log_in(struct connection *c)
{
    char answer[400];
    size_t count = 0;
    if (put(c, options.login, strlen(options.login)) < 0) fail("login");
    while (!count || answer[count - 1] != '\n') {
        ssize_t size = take(c, answer + count, sizeof answer - 1 - count);
        if (size <= 0) fail("login");
        count += size;
    }
    answer[count] = 0;
    if (strstr(answer, "Sorry")) { fprintf(stderr, "loadgen: the login was refused\n"); exit(1); }
}

static void open_connection(struct connection *c)
{
    uint64_t begun = now_ns();
    *c = (struct connection){ .fd = dial(options.burst ? SOCK_NONBLOCK : 0), .next_stream = 1 };
    c->pending = calloc(options.in_flight, sizeof *c->pending);
    if (options.tls) c->tls = tls_begin(c->fd, options.protocol == &ETCD);
    if (options.login) log_in(c);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    options.protocol->greet(&c->out);
    struct epoll_event event = { EPOLLIN, { .ptr = c } };
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
    if (options.burst) ask_on(c, begun);
}

/* ---- the run ---- */

static void end_early(int signal_number) { (void)signal_number; told_to_end = 1; }

static int by_time(const void *a, const void *b)
{
    uint64_t x = ((const struct answer *)a)->took, y = ((const struct answer *)b)->took;
    return (x > y) - (x < y);
}

static double percentile_ms(double share)
{
    return answer_count ? answers[(size_t)(share * (answer_count - 1))].took / 1e6 : 0;
}

static void write_record(void)
{
    FILE *file = fopen(options.record_path, "wb");
    if (!file) fail(options.record_path);
    if (fwrite(answers, sizeof *answers, answer_count, file) < answer_count || fclose(file)) fail(options.record_path);
}

static int by_length(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Of the first waits of all connections, and of those that no answer has ended; these count for as
 * long as they have lasted. */
static void report_waits(const struct connection *all, uint64_t now)
{
    uint64_t waits[options.connections], longest = 0;
    for (int i = 0; i < options.connections; i++) {
        uint64_t waiting = all[i].count ? now - all[i].pending[all[i].first].since : 0;
        waits[i] = all[i].first_wait ? all[i].first_wait : waiting;
        if (waiting > longest) longest = waiting;
    }
    qsort(waits, options.connections, sizeof *waits, by_length);
    int last = options.connections - 1;
    printf("\"first_p50_ms\": %.3f, \"first_p99_ms\": %.3f, \"first_max_ms\": %.3f, \"unanswered_ms\": %.3f, ",
           waits[last / 2] / 1e6, waits[(int)(.99 * last)] / 1e6, waits[last] / 1e6, longest / 1e6);
}

static void report(const struct connection *all, double wall, double own, double servers, double machine)
{
    uint64_t longest_gap = 0;
    for (size_t i = 1; i < answer_count; i++)
        if (answers[i].at - answers[i - 1].at > longest_gap) longest_gap = answers[i].at - answers[i - 1].at;
    if (options.record_path) write_record();
    qsort(answers, answer_count, sizeof *answers, by_time);
    printf("{");
    report_waits(all, now_ns());
    printf("\"ops_s\": %.1f, \"ops\": %zu, \"errors\": %lu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"p999_ms\": %.3f, \"max_ms\": %.3f, \"longest_gap_ms\": %.3f, \"seconds\": %.3f, "
           "\"servers_cpu_s\": %.3f, \"generator_cpu_s\": %.3f, \"others_cpu_s\": %.3f}\n",
           wall > 0 ? answer_count / wall : 0, answer_count, errors, percentile_ms(.5), percentile_ms(.99),
           percentile_ms(.999), percentile_ms(1), longest_gap / 1e6, wall, servers, own,
           machine - own - servers);
}

static void sleep_until_due(int timer, struct connection *all)
{
    uint64_t next = FOREVER;
    for (int i = 0; i < options.connections; i++)
        if (all[i].count < options.in_flight && all[i].due < next) next = all[i].due;
    struct itimerspec when = { { 0, 0 }, { next / 1000000000, next % 1000000000 } };
    if (next != FOREVER) timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void run(struct connection *all)
{
    double own = 0, servers = 0, machine = 0;
    int measuring = 0, timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event timer_event = { EPOLLIN, { .ptr = NULL } }, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &timer_event);
    prctl(PR_SET_TIMERSLACK, 1);
    uint64_t start = now_ns(), now = start;
    begin_ns = options.limit == FOREVER ? start + options.warm_up * 1e9 : start;
    end_ns = options.limit == FOREVER ? begin_ns + options.seconds * 1e9 : FOREVER;
    for (int i = 0; i < options.connections; i++) {
        all[i].due = start + (options.pace > 0 ? i * 1e9 / options.pace : 0);
        ask_on(&all[i], start);
    }
    while ((now = now_ns()) < end_ns && answered < options.limit && !told_to_end) {
        if (!measuring && now >= begin_ns) {
            measuring = 1; own = own_cpu(); servers = processes_cpu(options.pids, options.pid_count); machine = machine_cpu();
        }
        if (options.pace > 0) sleep_until_due(timer, all);
        int count = epoll_wait(poller, events, 256, 20);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            uint64_t rings;
            if (!c) { if (read(timer, &rings, sizeof rings) < 0 && errno != EAGAIN) fail("timer"); continue; }
            if (events[i].events & EPOLLOUT) send_out(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take_in(c);
        }
        if (options.pace > 0) for (int i = 0; i < options.connections; i++) if (all[i].due <= (now = now_ns())) ask_on(&all[i], now);
    }
    if (!measuring) { fprintf(stderr, "loadgen: this machine gave it no time to measure\n"); exit(1); }
    report(all, (now_ns() - begin_ns) / 1e9, own_cpu() - own, processes_cpu(options.pids, options.pid_count) - servers, machine_cpu() - machine);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    read_arguments(argc, argv);
    request = (struct request){ options.verb, NULL, NULL, 16, options.value_bytes, 0 };
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    char *value = malloc(request.value_bytes);
    memset(value, 'v', request.value_bytes);
    request.value = value;
    poller = epoll_create1(0);
    signal(SIGTERM, end_early);
    for (int i = 0; i < options.idle; i++) dial(0);
    struct connection *all = calloc(options.connections, sizeof *all);
    for (int i = 0; i < options.connections; i++) open_connection(&all[i]);
    run(all);
    return 0;
}
