/* TLS of the generator, by the libssl that this machine has. */
#ifndef TLS_H
#define TLS_H
#include <sys/types.h>

/* Shakes hands on a connection that waits; ALPN is h2 where `is_http2`. Ends the program if that fails. */
void *tls_begin(int fd, int is_http2);

/* As read and write of a connection that does not wait: -1 with EAGAIN, 0 at the end. */
ssize_t tls_read(void *tls, void *bytes, size_t room);
ssize_t tls_write(void *tls, const void *bytes, size_t count);

/* Whether more was received than tls_read has given out yet: no event of the socket tells that. */
int tls_has_more(void *tls);
#endif
