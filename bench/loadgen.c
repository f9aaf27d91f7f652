/* loadgen - one-thread epoll load generator for key-value servers.
 *
 *   cc -O2 -o loadgen loadgen.c
 *   loadgen -P line|resp|etcd -p PORT -o set|get|ping|load -c CONNS [-d DEPTH]
 *           [-t SECS] [-w WARMUP] [-k KEYS] [-v VALUE_BYTES] [-R OPS_PER_S] [-m PID,PID,..]
 *
 * line: raftline's "set k v\n" / "get k\n" / "help\n", one reply line each, in order; "…@Sorry" and
 *       an absent key count as errors
 * resp: Redis protocol            etcd: gRPC over clear HTTP/2, KV/Put and KV/Range
 * Closed loop: every connection keeps DEPTH requests outstanding.  -R paces the
 * whole run to a fixed rate and counts latency from the scheduled send time.
 * "-o load" writes each of the KEYS keys once and stops.
 * Prints one JSON object.  -m adds the CPU seconds those processes used in the
 * measured window, beside the generator's own (client_cpu) and everybody else's (other_cpu:
 * kernel threads, and any stranger that spoils the run).
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
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { LINE, RESP, ETCD };
enum { SET, GET, PING, LOAD };
#define MAXD 256
#define BUF 262144

typedef struct { uint64_t t0; uint32_t id; int data; } Slot;   /* one outstanding request */
typedef struct {
    int fd, want_out, nslot; uint32_t next_id, unacked, head;
    size_t inlen, outlen, outoff; uint64_t next_send;
    Slot slot[MAXD]; char *in, *out;
} Conn;

static int proto = LINE, op = SET, depth = 1, nconn = 1, port, keys = 10000, vsize = 100;
static double secs = 5, warm = 1, rate;
static int ep, loaded, load_done; static char *value; static Conn *conns;
static uint32_t *lat; static size_t nlat, caplat; static uint64_t errors, t_begin, t_end;
static uint64_t max_gap, last_done;

static void die(const char *m) { perror(m); exit(1); }
static uint64_t now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static uint64_t rng_s = 88172645463325252ull;
static uint32_t rnd(void) { rng_s ^= rng_s << 13; rng_s ^= rng_s >> 7; rng_s ^= rng_s << 17; return rng_s >> 16; }

/* ---- encoding ---- */
static size_t hdr(char *p, uint32_t len, int type, int flags, uint32_t id) {   /* HTTP/2 frame header */
    p[0] = len >> 16; p[1] = len >> 8; p[2] = len; p[3] = type; p[4] = flags;
    uint32_t n = htonl(id); memcpy(p + 5, &n, 4); return 9;
}
static size_t varint(char *p, uint32_t v) { size_t n = 0; while (v > 127) { p[n++] = v | 128; v >>= 7; } p[n++] = v; return n; }

static void enqueue(Conn *c, uint64_t t) {                     /* append one request to c->out */
    char key[32]; int klen, o = op == LOAD ? SET : op;
    uint32_t k = op == LOAD ? (uint32_t)loaded++ : rnd() % keys;
    klen = snprintf(key, sizeof key, "k%015u", k);
    if (c->outoff == c->outlen) c->outoff = c->outlen = 0;
    if (c->outlen + vsize + 512 > BUF) { fprintf(stderr, "output buffer full\n"); exit(1); }
    char *p = c->out + c->outlen, *q = p;
    if (proto == LINE) {
        if (o == PING) q += sprintf(q, "help\n");
        else if (o == GET) q += sprintf(q, "get %s\n", key);
        else q += sprintf(q, "set %s %s\n", key, value);
    } else if (proto == RESP) {
        if (o == PING) q += sprintf(q, "*1\r\n$4\r\nPING\r\n");
        else if (o == GET) q += sprintf(q, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", klen, key);
        else q += sprintf(q, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", klen, key, vsize, value);
    } else {
        static const char *path[] = { "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range" };
        char h[256], b[65536]; size_t n = 0, m = 0;
        h[n++] = 0x83; h[n++] = 0x86;                          /* :method POST, :scheme http */
        const char *s = path[o == GET];
        h[n++] = 0x04; h[n++] = strlen(s); memcpy(h + n, s, strlen(s)); n += strlen(s);
        h[n++] = 0x01; h[n++] = 1; h[n++] = 'x';               /* :authority */
        h[n++] = 0x0f; h[n++] = 0x10; h[n++] = 16; memcpy(h + n, "application/grpc", 16); n += 16;
        h[n++] = 0x00; h[n++] = 2; memcpy(h + n, "te", 2); n += 2; h[n++] = 8; memcpy(h + n, "trailers", 8); n += 8;
        b[m++] = 0x0a; m += varint(b + m, klen); memcpy(b + m, key, klen); m += klen;
        if (o == SET) { b[m++] = 0x12; m += varint(b + m, vsize); memcpy(b + m, value, vsize); m += vsize; }
        q += hdr(q, n, 1, 4, c->next_id); memcpy(q, h, n); q += n;
        q += hdr(q, m + 5, 0, 1, c->next_id);
        *q++ = 0; uint32_t be = htonl(m); memcpy(q, &be, 4); q += 4; memcpy(q, b, m); q += m;
    }
    c->outlen += q - p;
    Slot *sl = proto == ETCD ? &c->slot[c->nslot] : &c->slot[(c->head + c->nslot) % MAXD];
    *sl = (Slot){ t, c->next_id, 0 }; c->nslot++; c->next_id += 2;
}

static void flush_out(Conn *c) {
    while (c->outoff < c->outlen) {
        ssize_t n = write(c->fd, c->out + c->outoff, c->outlen - c->outoff);
        if (n < 0) { if (errno == EAGAIN) break; die("write"); }
        c->outoff += n;
    }
    int want = c->outoff < c->outlen;
    if (want != c->want_out) {
        struct epoll_event e = { EPOLLIN | (want ? EPOLLOUT : 0), { .ptr = c } };
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e); c->want_out = want;
    }
}

static void done(Conn *c, uint64_t t0, int ok, uint64_t t) {
    load_done++;
    if (t >= t_begin && t < t_end) {
        if (!ok) errors++;
        if (last_done && t - last_done > max_gap) max_gap = t - last_done;
        last_done = t;
        if (nlat == caplat) lat = realloc(lat, (caplat = caplat ? caplat * 2 : 1 << 20) * 4);
        uint64_t d = t - t0; lat[nlat++] = d > 0xffffffffu ? 0xffffffffu : d;
    }
    c->nslot--;
}

/* ---- decoding: returns bytes consumed, 0 when the reply is incomplete ---- */
static size_t take(Conn *c, char *p, size_t n, uint64_t t) {
    if (proto == ETCD) {
        if (n < 9) return 0;
        uint32_t len = (uint8_t)p[0] << 16 | (uint8_t)p[1] << 8 | (uint8_t)p[2], id; int type = p[3], flags = p[4];
        if (n < 9 + len) return 0;
        memcpy(&id, p + 5, 4); id = ntohl(id);
        if ((type == 4 || type == 6) && !(flags & 1)) {        /* SETTINGS, PING: acknowledge */
            char *q = c->out + c->outlen; q += hdr(q, type == 6 ? 8 : 0, type, 1, 0);
            if (type == 6) { memcpy(q, p + 9, 8); q += 8; }
            c->outlen = q - c->out;
        } else if (type == 7) { fprintf(stderr, "GOAWAY\n"); exit(1); }
        else if (type <= 3) {
            int i = 0; while (i < c->nslot && c->slot[i].id != id) i++;
            if (i == c->nslot) return 9 + len;
            if (type == 0) {
                c->slot[i].data += len; c->unacked += len;
                if (c->unacked > 16384) {                      /* give the connection window back */
                    uint32_t w = htonl(c->unacked); char *q = c->out + c->outlen;
                    q += hdr(q, 4, 8, 0, 0); memcpy(q, &w, 4); c->outlen += 13; c->unacked = 0;
                }
            }
            if (flags & 1 || type == 3) {                      /* END_STREAM; a failed call carries no DATA */
                int want = op == GET ? vsize : 5;
                uint64_t t0 = c->slot[i].t0; int ok = c->slot[i].data >= want;
                c->slot[i] = c->slot[c->nslot - 1]; done(c, t0, ok, t);
            }
        }
        return 9 + len;
    }
    char *e = memchr(p, '\n', n); if (!e) return 0;
    size_t used = e - p + 1;                                   /* a line ends "NAME@Sorry, …" when it failed */
    int ok = proto == LINE ? !memmem(p, used > 80 ? 80 : used, "@Sorry", 6) && !memmem(p, used > 80 ? 80 : used, "no such key", 11) : p[0] != '-';
    if (proto == RESP && p[0] == '$') {
        int m = atoi(p + 1); if (m < 0) ok = 0; else { if (n < used + m + 2) return 0; used += m + 2; }
    }
    Slot s = c->slot[c->head]; c->head = (c->head + 1) % MAXD; done(c, s.t0, ok, t);
    return used;
}

static void refill(Conn *c, uint64_t t) {
    if (rate > 0) {
        uint64_t step = 1e9 * nconn / rate;
        while (c->next_send <= t && c->nslot < depth && t < t_end) { enqueue(c, c->next_send); c->next_send += step; }
    } else while (c->nslot < depth && t < t_end && !(op == LOAD && loaded >= keys)) enqueue(c, t);
    if (c->outoff < c->outlen) flush_out(c);
}

static double proc_cpu(int pid) {
    char f[64], b[1024]; snprintf(f, sizeof f, "/proc/%d/stat", pid);
    FILE *h = fopen(f, "r"); if (!h) return 0;
    size_t n = fread(b, 1, sizeof b - 1, h); fclose(h); b[n] = 0;
    char *s = strrchr(b, ')'); unsigned long u = 0, k = 0;
    sscanf(s + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &k);
    return (double)(u + k) / sysconf(_SC_CLK_TCK);
}
static double busy_cpu(void) {                                  /* CPU seconds the whole machine has spent */
    FILE *h = fopen("/proc/stat", "r"); unsigned long v[8] = { 0 }; if (!h) return 0;
    if (fscanf(h, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) < 8) v[0] = 0;
    fclose(h); return (double)(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / sysconf(_SC_CLK_TCK);
}
static double self_cpu(void) {
    struct rusage r; getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}
static int cmp(const void *a, const void *b) { uint32_t x = *(uint32_t *)a, y = *(uint32_t *)b; return x < y ? -1 : x > y; }
static double pct(double q) { return nlat ? lat[(size_t)(q * (nlat - 1))] / 1e6 : 0; }

int main(int argc, char **argv) {
    int o, pids[16], npid = 0; double cpu0[16], me0 = 0, all0 = 0;
    while ((o = getopt(argc, argv, "P:p:o:c:d:t:w:k:v:R:m:")) != -1) switch (o) {
        case 'P': proto = !strcmp(optarg, "resp") ? RESP : !strcmp(optarg, "etcd") ? ETCD : LINE; break;
        case 'o': op = !strcmp(optarg, "get") ? GET : !strcmp(optarg, "ping") ? PING : !strcmp(optarg, "load") ? LOAD : SET; break;
        case 'p': port = atoi(optarg); break;   case 'c': nconn = atoi(optarg); break;
        case 'd': depth = atoi(optarg); break;  case 't': secs = atof(optarg); break;
        case 'w': warm = atof(optarg); break;   case 'k': keys = atoi(optarg); break;
        case 'v': vsize = atoi(optarg); break;  case 'R': rate = atof(optarg); break;
        case 'm': for (char *s = strtok(optarg, ","); s && npid < 16; s = strtok(0, ",")) pids[npid++] = atoi(s); break;
        default: return 2;
    }
    if (!port || depth > MAXD || vsize > 60000) { fprintf(stderr, "bad arguments, see the top of loadgen.c\n"); return 2; }
    value = malloc(vsize + 1); memset(value, 'v', vsize); value[vsize] = 0;
    conns = calloc(nconn, sizeof *conns); ep = epoll_create1(0);
    for (int i = 0; i < nconn; i++) {
        Conn *c = &conns[i]; c->in = malloc(BUF); c->out = malloc(BUF); c->next_id = 1;
        struct sockaddr_in a = { AF_INET, htons(port), { htonl(INADDR_LOOPBACK) }, { 0 } }; int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->fd, (void *)&a, sizeof a)) die("connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        if (proto == ETCD) {                                   /* preface + SETTINGS(INITIAL_WINDOW_SIZE=1 MiB) */
            memcpy(c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24); c->outlen = 24;
            c->outlen += hdr(c->out + 24, 6, 4, 0, 0);
            memcpy(c->out + c->outlen, "\0\4\0\x10\0\0", 6); c->outlen += 6;
        }
        struct epoll_event e = { EPOLLIN, { .ptr = c } }; epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    }
    uint64_t start = now(); t_begin = start + warm * 1e9; t_end = op == LOAD ? UINT64_MAX : t_begin + secs * 1e9;
    if (op == LOAD) t_begin = start;
    int measuring = 0, timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event te = { EPOLLIN, { .ptr = NULL } }; epoll_ctl(ep, EPOLL_CTL_ADD, timer, &te);
    prctl(PR_SET_TIMERSLACK, 1);
    for (int i = 0; i < nconn; i++) { conns[i].next_send = start + (rate > 0 ? i * 1e9 / rate : 0); refill(&conns[i], now()); }
    for (;;) {
        uint64_t t = now();
        if (!measuring && t >= t_begin) { measuring = 1; me0 = self_cpu(); all0 = busy_cpu(); for (int i = 0; i < npid; i++) cpu0[i] = proc_cpu(pids[i]); }
        if (t >= t_end || (op == LOAD && load_done >= keys)) break;
        if (rate > 0) {                                        /* wake at the next scheduled send */
            uint64_t next = UINT64_MAX;
            for (int i = 0; i < nconn; i++) if (conns[i].nslot < depth && conns[i].next_send < next) next = conns[i].next_send;
            struct itimerspec it = { { 0, 0 }, { next / 1000000000, next % 1000000000 } };
            if (next != UINT64_MAX) timerfd_settime(timer, TFD_TIMER_ABSTIME, &it, NULL);
        }
        struct epoll_event ev[256]; int n = epoll_wait(ep, ev, 256, 100);
        t = now();
        for (int i = 0; i < n; i++) {
            Conn *c = ev[i].data.ptr;
            if (!c) { uint64_t x; if (read(timer, &x, 8) < 0) perror("timer"); continue; }
            if (ev[i].events & EPOLLOUT) flush_out(c);
            if (!(ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
            ssize_t r = read(c->fd, c->in + c->inlen, BUF - c->inlen);
            if (r == 0) { fprintf(stderr, "server closed a connection\n"); return 1; }
            if (r < 0) { if (errno == EAGAIN) continue; die("read"); }
            c->inlen += r; size_t off = 0, u; t = now();
            while (off < c->inlen && (u = take(c, c->in + off, c->inlen - off, t))) off += u;
            memmove(c->in, c->in + off, c->inlen -= off);
            refill(c, t);
        }
        if (rate > 0) for (int i = 0; i < nconn; i++) if (conns[i].next_send <= t) refill(&conns[i], t);
    }
    double wall = (now() - (op == LOAD ? start : t_begin)) / 1e9, me = self_cpu() - me0, all = busy_cpu() - all0, cpu = 0;
    for (int i = 0; i < npid; i++) cpu += cpu0[i] = proc_cpu(pids[i]) - cpu0[i];
    double sum = 0; for (size_t i = 0; i < nlat; i++) sum += lat[i];
    qsort(lat, nlat, 4, cmp);
    printf("{\"ops_s\": %.0f, \"mean_ms\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.1f, "
           "\"max_gap_ms\": %.1f, \"ops\": %zu, \"errors\": %lu, \"client_cpu\": %.2f, \"server_cpu\": %.2f, \"other_cpu\": %.2f, \"cpu_by_pid\": [",
           nlat / wall, nlat ? sum / nlat / 1e6 : 0, pct(.5), pct(.99), pct(.999), pct(1), max_gap / 1e6, nlat, errors, me / wall, cpu / wall, (all - me - cpu) / wall);
    for (int i = 0; i < npid; i++) printf("%s%.2f", i ? ", " : "", cpu0[i] / wall);
    printf("]}\n");
    return 0;
}
