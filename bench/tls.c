/* TLS by libssl, loaded when it is needed: to build the generator takes no headers of OpenSSL.
 *
 * No certificate is checked: the servers are the bench's own, and a check is a part of the handshake
 * alone. Constants are those of OpenSSL's headers, 1.1.1 and 3.
 */
#define _GNU_SOURCE
#include "tls.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { WANT_READ = 2, WANT_WRITE = 3, SYSCALL = 5, ZERO_RETURN = 6 };           /* SSL_get_error */
enum { CTRL_MODE = 33, CTRL_READ_AHEAD = 41, PARTIAL_WRITE_MOVING_BUFFER = 3 }; /* SSL_CTX_ctrl */

static void *context, *library;
static void *(*ssl_new)(void *);
static int (*ssl_set_fd)(void *, int), (*ssl_connect)(void *), (*ssl_read)(void *, void *, int);
static int (*ssl_write)(void *, const void *, int), (*ssl_get_error)(const void *, int);
static int (*ssl_set_alpn_protos)(void *, const unsigned char *, unsigned), (*ssl_has_pending)(const void *);

static void fail(const char *what) { fprintf(stderr, "loadgen: TLS: %s\n", what); exit(1); }

static void *find(const char *name)
{
    void *found = dlsym(library, name);
    if (!found) fail(dlerror());
    return found;
}

static void load(void)
{
    const char *names[] = { "libssl.so.3", "libssl.so.1.1" };
    for (int i = 0; i < 2 && !library; i++) library = dlopen(names[i], RTLD_NOW);
    if (!library) fail("no libssl on this machine; on Debian: apt-get install libssl3");
    *(void **)&ssl_new = find("SSL_new");
    *(void **)&ssl_set_fd = find("SSL_set_fd");
    *(void **)&ssl_connect = find("SSL_connect");
    *(void **)&ssl_read = find("SSL_read");
    *(void **)&ssl_write = find("SSL_write");
    *(void **)&ssl_get_error = find("SSL_get_error");
    *(void **)&ssl_set_alpn_protos = find("SSL_set_alpn_protos");
    *(void **)&ssl_has_pending = find("SSL_has_pending");
    void *(*method)(void), *(*new_context)(void *);
    long (*ctrl)(void *, int, long, void *);
    *(void **)&method = find("TLS_client_method");
    *(void **)&new_context = find("SSL_CTX_new");
    *(void **)&ctrl = find("SSL_CTX_ctrl");
    context = new_context(method());
    if (!context) fail("no context");
    ctrl(context, CTRL_MODE, PARTIAL_WRITE_MOVING_BUFFER, NULL);
    ctrl(context, CTRL_READ_AHEAD, 1, NULL);
}

void *tls_begin(int fd, int is_http2)
{
    if (!context) load();
    void *tls = ssl_new(context);
    if (!tls || !ssl_set_fd(tls, fd)) fail("no connection");
    if (is_http2) ssl_set_alpn_protos(tls, (const unsigned char *)"\2h2", 3);
    if (ssl_connect(tls) != 1) fail("the server did not shake hands");
    return tls;
}

static ssize_t result(void *tls, int done)
{
    if (done > 0) return done;
    int why = ssl_get_error(tls, done);
    if (why == ZERO_RETURN) return 0;
    if (why == WANT_READ || why == WANT_WRITE) errno = EAGAIN;
    else if (why != SYSCALL || !errno) errno = EPROTO;
    return -1;
}

ssize_t tls_read(void *tls, void *bytes, size_t room) { errno = 0; return result(tls, ssl_read(tls, bytes, room)); }

ssize_t tls_write(void *tls, const void *bytes, size_t count) { errno = 0; return result(tls, ssl_write(tls, bytes, count)); }

int tls_has_more(void *tls) { return ssl_has_pending(tls); }
