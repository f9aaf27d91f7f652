/* loadgen: asks one server as fast as it answers, or at a fixed pace, and says how long it took.
 *
 *   loadgen -p PORT [-P line|resp|etcd] [-o set|get|ping|load] [-c CONNECTIONS] [-d IN_FLIGHT]
 *           [-t SECONDS] [-w WARM_UP_SECONDS] [-n REQUESTS] [-k KEYS] [-v VALUE_BYTES]
 *           [-R REQUESTS_PER_SECOND] [-i IDLE_CONNECTIONS] [-m PID,PID,…] [-r FILE]
 *
 * One thread, epoll, loopback only. Closed loop: each connection keeps IN_FLIGHT requests on their
 * way. -R: paced; a wait is counted from the moment at which the request was due, so a server that
 * stalls is charged for all that it kept waiting. `load` sets each of KEYS keys once. -n: so many
 * requests without warm-up, in place of a time. -i: connections beside these that say nothing.
 * -m: processes whose CPU time is told. -r: each answer as two numbers of 64 bits, when it came
 * (CLOCK_MONOTONIC) and how long it took, in nanoseconds. SIGTERM ends the time early.
 *
 * Prints one JSON object: requests, errors and percentiles of the measured time; CPU seconds of the
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

#include "spoken.h"

#define IN_FLIGHT_MAX 1024
#define PIDS_MAX 16
#define READ_BYTES 65536
#define FOREVER UINT64_MAX

struct pending { uint64_t since; uint32_t stream; size_t payload; };
struct connection {
    int fd, wants_out, count, first;        /* `count` pending ones from `first` on, a ring */
    uint32_t next_stream, owed;
    size_t looked_at;
    uint64_t due;                           /* paced: when the next request is to be sent */
    struct pending *pending;
    struct buffer in, out;
};
struct answer { uint64_t at, took; };

static const struct protocol *protocol = &LINES;
static struct request request = { SET, NULL, NULL, 16, 100, 0 };
static int loading, port, connections = 1, idle, in_flight = 1, keys = 10000, pids[PIDS_MAX], pid_count;
static double seconds = 5, warm_up = 1, pace;
static const char *record_path;
static uint64_t limit = FOREVER, asked, answered, errors, begin_ns, end_ns;
static struct answer *answers;
static size_t answer_count, answer_room;
static int poller;
static volatile sig_atomic_t told_to_end;

static void fail(const char *what) { fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno)); exit(1); }
static void refuse(const char *why) { fprintf(stderr, "loadgen: %s; the top of loadgen.c says more\n", why); exit(2); }

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
    snprintf(key, sizeof key, "k%015u", loading ? (uint32_t)asked : chance() % keys);
    request.key = key;
    request.stream = c->next_stream;
    protocol->ask(&c->out, &request);
    c->pending[(c->first + c->count++) % in_flight] = (struct pending){ since, c->next_stream, 0 };
    c->next_stream += 2;
    asked++;
}

static void send_out(struct connection *c)
{
    while (c->out.begin < c->out.end) {
        ssize_t sent = write(c->fd, c->out.bytes + c->out.begin, c->out.end - c->out.begin);
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
    while (c->count < in_flight && asked < limit && now < end_ns) {
        if (pace > 0 && c->due > now) break;
        ask(c, pace > 0 ? c->due : now);
        if (pace > 0) c->due += 1e9 * connections / pace;
    }
    if (c->out.begin < c->out.end) send_out(c);
}

static void note(struct connection *c, int place, int ok, const char *bytes, size_t count, uint64_t now)
{
    struct pending *slot = &c->pending[place];
    answered++;
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
    c->first = (c->first + 1) % in_flight;
    c->count--;
}

static int place_of(const struct connection *c, uint32_t stream)
{
    if (!stream) return c->count ? c->first : -1;
    for (int i = 0; i < c->count; i++) {
        int place = (c->first + i) % in_flight;
        if (c->pending[place].stream == stream) return place;
    }
    return -1;                              /* a frame of the connection itself */
}

static void hear(struct connection *c, uint64_t now)
{
    while (c->in.begin < c->in.end) {
        const char *bytes = c->in.bytes + c->in.begin;
        size_t count = c->in.end - c->in.begin;
        struct reply reply = protocol->hear(bytes, count, c->looked_at, &request, &c->out);
        if (!reply.used) { c->looked_at = count; return; }
        c->looked_at = 0;
        c->in.begin += reply.used;
        c->owed += reply.payload;
        if (protocol->credit && c->owed > 16384) { protocol->credit(&c->out, c->owed); c->owed = 0; }
        int place = protocol == &ETCD && !reply.stream ? -1 : place_of(c, reply.stream);
        if (place < 0) continue;
        size_t payload = c->pending[place].payload += reply.payload;
        if (!reply.ended) continue;
        if (protocol == &ETCD)
            reply.ok = payload >= (request.verb == SET ? 5 : 20 + request.key_bytes + request.value_bytes);
        note(c, place, reply.ok, bytes, reply.used, now);
    }
}

static void take_in(struct connection *c)
{
    make_room(&c->in, READ_BYTES);
    ssize_t size = read(c->fd, c->in.bytes + c->in.end, c->in.room - c->in.end);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) fail("read");
    if (size == 0) { fprintf(stderr, "loadgen: the server closed a connection\n"); exit(1); }
    c->in.end += size;
    uint64_t now = now_ns();
    hear(c, now);
    ask_on(c, now);
    if (c->out.begin < c->out.end) send_out(c);
}

static int dial(void)
{
    struct sockaddr_in address = { AF_INET, htons(port), { htonl(INADDR_LOOPBACK) }, { 0 } };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0) fail("socket");
    if (connect(fd, (void *)&address, sizeof address)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void open_connection(struct connection *c)
{
    *c = (struct connection){ .fd = dial(), .next_stream = 1 };
    c->pending = calloc(in_flight, sizeof *c->pending);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    protocol->greet(&c->out);
    struct epoll_event event = { EPOLLIN, { .ptr = c } };
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

/* ---- CPU time, of processes and of the machine ---- */

static double process_cpu(int pid)
{
    char path[64], text[1024];
    unsigned long user = 0, kernel = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    char *behind_name = strrchr(text, ')');
    if (behind_name)
        sscanf(behind_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    return (double)(user + kernel) / sysconf(_SC_CLK_TCK);
}

static double servers_cpu(void)
{
    double sum = 0;
    for (int i = 0; i < pid_count; i++) sum += process_cpu(pids[i]);
    return sum;
}

static double machine_cpu(void)             /* all but idle, waiting for the disk, and stolen */
{
    unsigned long user, nice, kernel, idle_time, waiting, interrupts, soft;
    FILE *file = fopen("/proc/stat", "r");
    if (!file) return 0;
    int found = fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &kernel, &idle_time,
                       &waiting, &interrupts, &soft);
    fclose(file);
    return found < 7 ? 0 : (double)(user + nice + kernel + interrupts + soft) / sysconf(_SC_CLK_TCK);
}

static double own_cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
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
    FILE *file = fopen(record_path, "wb");
    if (!file) fail(record_path);
    if (fwrite(answers, sizeof *answers, answer_count, file) < answer_count || fclose(file)) fail(record_path);
}

static void report(double wall, double own, double servers, double machine)
{
    uint64_t longest_gap = 0;
    for (size_t i = 1; i < answer_count; i++)
        if (answers[i].at - answers[i - 1].at > longest_gap) longest_gap = answers[i].at - answers[i - 1].at;
    if (record_path) write_record();
    qsort(answers, answer_count, sizeof *answers, by_time);
    printf("{\"ops_s\": %.1f, \"ops\": %zu, \"errors\": %lu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"p999_ms\": %.3f, \"max_ms\": %.3f, \"longest_gap_ms\": %.3f, \"seconds\": %.3f, "
           "\"servers_cpu_s\": %.3f, \"generator_cpu_s\": %.3f, \"others_cpu_s\": %.3f}\n",
           wall > 0 ? answer_count / wall : 0, answer_count, errors, percentile_ms(.5), percentile_ms(.99),
           percentile_ms(.999), percentile_ms(1), longest_gap / 1e6, wall, servers, own,
           machine - own - servers);
}

static void sleep_until_due(int timer, struct connection *all)
{
    uint64_t next = FOREVER;
    for (int i = 0; i < connections; i++)
        if (all[i].count < in_flight && all[i].due < next) next = all[i].due;
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
    begin_ns = limit == FOREVER ? start + warm_up * 1e9 : start;
    end_ns = limit == FOREVER ? begin_ns + seconds * 1e9 : FOREVER;
    for (int i = 0; i < connections; i++) {
        all[i].due = start + (pace > 0 ? i * 1e9 / pace : 0);
        ask_on(&all[i], start);
    }
    while ((now = now_ns()) < end_ns && answered < limit && !told_to_end) {
        if (!measuring && now >= begin_ns) {
            measuring = 1; own = own_cpu(); servers = servers_cpu(); machine = machine_cpu();
        }
        if (pace > 0) sleep_until_due(timer, all);
        int count = epoll_wait(poller, events, 256, 20);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            uint64_t rings;
            if (!c) { if (read(timer, &rings, sizeof rings) < 0 && errno != EAGAIN) fail("timer"); continue; }
            if (events[i].events & EPOLLOUT) send_out(c);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take_in(c);
        }
        if (pace > 0) for (int i = 0; i < connections; i++) if (all[i].due <= (now = now_ns())) ask_on(&all[i], now);
    }
    if (!measuring) { fprintf(stderr, "loadgen: this machine gave it no time to measure\n"); exit(1); }
    report((now_ns() - begin_ns) / 1e9, own_cpu() - own, servers_cpu() - servers, machine_cpu() - machine);
}

static long whole(const char *text, long least, long most, const char *what)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (!*text || *end || number < least || number > most) refuse(what);
    return number;
}

static void choose(const char *operation)
{
    loading = !strcmp(operation, "load");
    if (loading || !strcmp(operation, "set")) request.verb = SET;
    else if (!strcmp(operation, "get")) request.verb = GET;
    else if (!strcmp(operation, "ping")) request.verb = PING;
    else refuse("-o takes set, get, ping or load");
}

static void speak(const char *name)
{
    const struct protocol *known[] = { &LINES, &RESP, &ETCD };
    for (int i = 0; i < 3; i++) if (!strcmp(name, known[i]->name)) { protocol = known[i]; return; }
    refuse("-P takes line, resp or etcd");
}

static void read_arguments(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "p:P:o:c:d:t:w:n:k:v:R:i:m:r:")) != -1) switch (option) {
        case 'p': port = whole(optarg, 1, 65535, "-p takes a port"); break;
        case 'P': speak(optarg); break;
        case 'o': choose(optarg); break;
        case 'c': connections = whole(optarg, 1, 4000, "-c takes 1 to 4000 connections"); break;
        case 'd': in_flight = whole(optarg, 1, IN_FLIGHT_MAX, "-d takes 1 to 1024 in flight"); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warm_up = atof(optarg); break;
        case 'n': limit = whole(optarg, 1, 2000000000, "-n takes a number of requests"); break;
        case 'k': keys = whole(optarg, 1, 2000000000, "-k takes a number of keys"); break;
        case 'v': request.value_bytes = whole(optarg, 1, 1 << 20, "-v takes 1 to 1048576 bytes"); break;
        case 'R': pace = atof(optarg); break;
        case 'i': idle = whole(optarg, 0, 8000, "-i takes 0 to 8000 connections"); break;
        case 'r': record_path = optarg; break;
        case 'm': for (char *p = strtok(optarg, ","); p && pid_count < PIDS_MAX; p = strtok(NULL, ","))
                      pids[pid_count++] = whole(p, 1, 1 << 30, "-m takes numbers of processes");
                  break;
        default: refuse("no such option");
    }
    if (!port) refuse("-p PORT is missing");
    if (optind < argc) refuse("an argument too many");
    if (protocol == &ETCD && request.verb == PING) refuse("etcd has no ping");
    if (request.value_bytes > protocol->value_max) refuse("-v is too long for this protocol");
    if (protocol->in_flight_max && in_flight * request.value_bytes > protocol->in_flight_max)
        refuse("-v times -d is too much for this protocol");
    if (loading) limit = keys;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    read_arguments(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    char *value = malloc(request.value_bytes);
    memset(value, 'v', request.value_bytes);
    request.value = value;
    poller = epoll_create1(0);
    signal(SIGTERM, end_early);
    for (int i = 0; i < idle; i++) dial();
    struct connection *all = calloc(connections, sizeof *all);
    for (int i = 0; i < connections; i++) open_connection(&all[i]);
    run(all);
    return 0;
}
