/* What the generator says and hears: raftline's lines, RESP, and etcd's gRPC. */
#ifndef SPOKEN_H
#define SPOKEN_H
#include <stddef.h>
#include <stdint.h>

enum verb { SET, GET, INCR, PING, MULTI };  /* MULTI: an increment and a time, in one step */

struct buffer {                 /* bytes[begin..end) are meant; what lies before is done with */
    char *bytes;
    size_t begin, end, room;
};

struct request {
    enum verb verb;
    const char *key, *value;
    size_t key_bytes, value_bytes;
    uint32_t stream;            /* etcd only: odd, growing by two on a connection */
};

struct reply {
    size_t used;                /* bytes of input it took; 0: not all of it has arrived */
    uint32_t stream;            /* whose reply; 0: the one that waits longest */
    size_t payload;             /* etcd only: bytes of the message that it carried */
    int ended, ok;              /* nothing more follows; it is what was asked for */
};

struct protocol {
    const char *name;
    size_t value_max;           /* longest value, 0: as long as memory lasts */
    size_t in_flight_max;       /* most bytes of values on their way on one connection, 0: any */
    void (*greet)(struct buffer *out);
    void (*ask)(struct buffer *out, const struct request *request);
    /* What it must say at once (acknowledgements of HTTP/2) goes to `out`. */
    struct reply (*hear)(const char *bytes, size_t count, size_t looked_at,
                         const struct request *asked, struct buffer *out);
    void (*credit)(struct buffer *out, uint32_t bytes);     /* etcd only: so much more may come */
};

extern const struct protocol LINES, RESP, ETCD;

void make_room(struct buffer *buffer, size_t more);
void say(struct buffer *out, const void *bytes, size_t count);
#endif
