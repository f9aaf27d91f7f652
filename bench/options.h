/* The generator's arguments; the top of loadgen.c explains them. */
#ifndef OPTIONS_H
#define OPTIONS_H
#include <stdint.h>

#include "spoken.h"

#define FOREVER UINT64_MAX
#define PIDS_MAX 16

struct options {
    const struct protocol *protocol;
    enum verb verb;
    int loading, burst, tls, port, connections, idle, in_flight, keys, pids[PIDS_MAX], pid_count;
    size_t value_bytes;
    double seconds, warm_up, pace;
    const char *record_path, *login;   /* a line with its newline; NULL: none */
    uint64_t limit;             /* requests; FOREVER: the time decides */
};
extern struct options options;

void read_arguments(int argc, char **argv);
#endif
