/* Requests to bytes and bytes to replies, for each protocol; no socket in here.
 *
 * A reply counts as good only when it is the one that was asked for: a set confirmed, a get with
 * a value of the right length. Everything else ("Sorry, …", no such key, a gRPC status) is an error.
 */
#define _GNU_SOURCE
#include "spoken.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct reply NOT_YET = { 0, 0, 0, 0, 0 };

void make_room(struct buffer *buffer, size_t more)
{
    if (buffer->begin == buffer->end) buffer->begin = buffer->end = 0;
    if (buffer->room - buffer->end >= more) return;
    if (buffer->begin) {
        memmove(buffer->bytes, buffer->bytes + buffer->begin, buffer->end - buffer->begin);
        buffer->end -= buffer->begin;
        buffer->begin = 0;
        if (buffer->room - buffer->end >= more) return;
    }
    while (buffer->room - buffer->end < more) buffer->room = buffer->room ? 2 * buffer->room : 4096;
    buffer->bytes = realloc(buffer->bytes, buffer->room);
    if (!buffer->bytes) { fprintf(stderr, "loadgen: out of memory\n"); exit(1); }
}

void say(struct buffer *out, const void *bytes, size_t count)
{
    make_room(out, count);
    memcpy(out->bytes + out->end, bytes, count);
    out->end += count;
}

static void say_text(struct buffer *out, const char *text) { say(out, text, strlen(text)); }

/* ---- raftline: one line each, `NAME@MESSAGE` ---- */

static void no_greeting(struct buffer *out) { (void)out; }

static void line_ask(struct buffer *out, const struct request *request)
{
    static const char *verbs[] = { "bench@set ", "bench@get ", "bench@incr ", "bench@help", "bench@txn incr " };
    say_text(out, verbs[request->verb]);
    if (request->verb != PING) say(out, request->key, request->key_bytes);
    if (request->verb == SET) {
        say(out, " ", 1);
        say(out, request->value, request->value_bytes);
    }
    if (request->verb == MULTI) {
        say_text(out, " 1 ; expire ");
        say(out, request->key, request->key_bytes);
        say_text(out, " 60");
    }
    say(out, "\n", 1);
}

static struct reply line_hear(const char *bytes, size_t count, size_t looked_at,
                              const struct request *asked, struct buffer *out)
{
    static const char *good[] = { "@SET response: ", "@GET response: ", "@INCR response: ", "@HELP response: ",
                                  "@TXN response, then: " };
    const char *end = memchr(bytes + looked_at, '\n', count - looked_at);
    struct reply reply = { 0, 0, 0, 1, 0 };
    (void)out;
    if (!end) return NOT_YET;
    reply.used = end - bytes + 1;
    size_t head = strlen(good[asked->verb]);
    const char *at = memchr(bytes, '@', reply.used > 80 ? 80 : reply.used);
    reply.ok = at && (size_t)(end - at) >= head && !memcmp(at, good[asked->verb], head)
        && (asked->verb != GET || (size_t)(end - at) == head + asked->value_bytes);
    return reply;
}

const struct protocol LINES = { "line", 1 << 20, 0, no_greeting, line_ask, line_hear, NULL };

/* ---- RESP: what Redis speaks ---- */

static void resp_word(struct buffer *out, const char *word, size_t count)
{
    char head[32];
    say(out, head, sprintf(head, "$%zu\r\n", count));
    say(out, word, count);
    say(out, "\r\n", 2);
}

static void resp_ask(struct buffer *out, const struct request *request)
{
    static const char *verbs[] = { "SET", "GET", "INCR", "PING" };
    static const char *counts[] = { "*3\r\n", "*2\r\n", "*2\r\n", "*1\r\n" };
    if (request->verb == MULTI) {
        say_text(out, "*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n");
        resp_word(out, request->key, request->key_bytes);
        say_text(out, "*3\r\n$6\r\nEXPIRE\r\n");
        resp_word(out, request->key, request->key_bytes);
        say_text(out, "$2\r\n60\r\n*1\r\n$4\r\nEXEC\r\n");
        return;
    }
    say_text(out, counts[request->verb]);
    resp_word(out, verbs[request->verb], strlen(verbs[request->verb]));
    if (request->verb != PING) resp_word(out, request->key, request->key_bytes);
    if (request->verb == SET) resp_word(out, request->value, request->value_bytes);
}

static struct reply multi_hear(const char *bytes, size_t count)
{
    struct reply reply = { 0, 0, 0, 1, 0 };                 /* OK, QUEUED twice, *2 and both */
    const char *at = bytes;
    for (int line = 0, is_refused = 0; line < 6 && !is_refused; line++) {
        const char *end = memchr(at, '\n', bytes + count - at);
        if (!end) return NOT_YET;
        is_refused = line == 3 && *at == '-';               /* the reply to EXEC has one line */
        reply.ok = *at == ':';
        at = end + 1;
    }
    reply.used = at - bytes;
    return reply;
}

static struct reply resp_hear(const char *bytes, size_t count, size_t looked_at,
                              const struct request *asked, struct buffer *out)
{
    const char *end = memchr(bytes, '\n', count);
    struct reply reply = { 0, 0, 0, 1, 0 };
    (void)out; (void)looked_at;
    if (!end) return NOT_YET;
    if (asked->verb == MULTI) return multi_hear(bytes, count);
    reply.used = end - bytes + 1;
    reply.ok = asked->verb == GET ? 0 : bytes[0] == (asked->verb == INCR ? ':' : '+');
    if (bytes[0] == '$') {
        long length = atol(bytes + 1);
        if (length >= 0) {                                  /* -1: no such key */
            reply.used += length + 2;
            if (count < reply.used) return NOT_YET;
            reply.ok = (size_t)length == asked->value_bytes;
        }
    }
    return reply;
}

const struct protocol RESP = { "resp", 1 << 20, 0, no_greeting, resp_ask, resp_hear, NULL };

/* ---- etcd: gRPC over HTTP/2 without TLS, KV/Put and KV/Range (a linearizable read) ----
 *
 * Only what this one exchange needs: headers are sent as literals, those of replies are not
 * read. A call that failed carries no message (gRPC's status is in the headers), so the bytes of
 * the message tell good from bad. The server's flow control is not followed, hence the limits.
 */
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING_FRAME = 6, GOAWAY = 7, WINDOW = 8 };
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4 };

static void frame(struct buffer *out, uint32_t length, int type, int flags, uint32_t stream)
{
    char head[9] = { length >> 16, length >> 8, length, type, flags };
    uint32_t ordered = htonl(stream);
    memcpy(head + 5, &ordered, 4);
    say(out, head, 9);
}

static void etcd_greet(struct buffer *out)
{
    static const char window[6] = { 0, 4, 0, 0x10, 0, 0 };  /* initial window: 1 MiB a stream */
    say_text(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frame(out, sizeof window, SETTINGS, 0, 0);
    say(out, window, sizeof window);
}

static char *number(char *to, size_t value)                 /* protobuf's base 128 */
{
    for (; value > 127; value >>= 7) *to++ = value | 128;
    *to++ = value;
    return to;
}

static char *literal(char *to, int index, const char *name, const char *value)
{
    *to++ = index;                                          /* HPACK: never indexed, no Huffman */
    if (name) { *to++ = strlen(name); to = stpcpy(to, name); }
    *to++ = strlen(value);
    return stpcpy(to, value);
}

static void etcd_ask(struct buffer *out, const struct request *request)
{
    char headers[160], *h = headers, field[16], *f;
    *h++ = (char)0x83;                                      /* :method POST */
    *h++ = (char)0x86;                                      /* :scheme http */
    h = literal(h, 4, NULL, request->verb == SET ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range");
    h = literal(h, 1, NULL, "bench");                       /* :authority */
    *h++ = 0x0f; h = literal(h, 0x10, NULL, "application/grpc");   /* content-type, index 31 */
    h = literal(h, 0, "te", "trailers");
    frame(out, h - headers, HEADERS, END_HEADERS, request->stream);
    say(out, headers, h - headers);

    f = field; *f++ = 0x0a; f = number(f, request->key_bytes);
    size_t message = f - field + request->key_bytes;
    char second[16], *s = second;
    if (request->verb == SET) {
        *s++ = 0x12; s = number(s, request->value_bytes);
        message += s - second + request->value_bytes;
    }
    char prefix[5] = { 0 };                                 /* gRPC: not compressed, length */
    uint32_t ordered = htonl(message);
    memcpy(prefix + 1, &ordered, 4);
    frame(out, message + 5, DATA, END_STREAM, request->stream);
    say(out, prefix, 5);
    say(out, field, f - field);
    say(out, request->key, request->key_bytes);
    if (request->verb != SET) return;
    say(out, second, s - second);
    say(out, request->value, request->value_bytes);
}

static struct reply etcd_hear(const char *bytes, size_t count, size_t looked_at,
                              const struct request *asked, struct buffer *out)
{
    const uint8_t *b = (const uint8_t *)bytes;
    struct reply reply = { 0, 0, 0, 0, 0 };
    (void)looked_at; (void)asked;
    if (count < 9) return NOT_YET;
    uint32_t length = b[0] << 16 | b[1] << 8 | b[2], stream;
    int type = b[3], flags = b[4];
    if (count < 9 + (size_t)length) return NOT_YET;
    memcpy(&stream, b + 5, 4);
    reply.used = 9 + length;
    reply.stream = ntohl(stream);
    if (type == GOAWAY) { fprintf(stderr, "loadgen: etcd ends the connection (GOAWAY)\n"); exit(1); }
    if ((type == SETTINGS || type == PING_FRAME) && !(flags & ACK)) {
        frame(out, type == PING_FRAME ? 8 : 0, type, ACK, 0);
        if (type == PING_FRAME) say(out, bytes + 9, 8);
    }
    if (type == DATA) reply.payload = length;
    reply.ended = type == RST_STREAM || ((type == DATA || type == HEADERS) && flags & END_STREAM);
    return reply;
}

static void etcd_credit(struct buffer *out, uint32_t bytes)
{
    uint32_t ordered = htonl(bytes);
    frame(out, 4, WINDOW, 0, 0);
    say(out, &ordered, 4);
}

const struct protocol ETCD = { "etcd", 16000, 60000, etcd_greet, etcd_ask, etcd_hear, etcd_credit };
