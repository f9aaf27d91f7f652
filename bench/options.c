/* What the generator is asked to do; what can't be is refused before anything happens. */
#define _GNU_SOURCE
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 1024

struct options options = {
    .protocol = &LINES, .verb = SET, .connections = 1, .in_flight = 1, .keys = 10000,
    .value_bytes = 100, .seconds = 5, .warm_up = 1, .limit = FOREVER,
};

static void refuse(const char *why)
{
    fprintf(stderr, "loadgen: %s; the top of loadgen.c says more\n", why);
    exit(2);
}

static long whole(const char *text, long least, long most, const char *what)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (!*text || *end || number < least || number > most) refuse(what);
    return number;
}

static const char *first_line(const char *path)
{
    static char line[400];
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file) || !strchr(line, '\n')) refuse("-l takes a file whose first line is a login");
    fclose(file);
    return line;
}

static void choose(const char *operation)
{
    options.loading = !strcmp(operation, "load");
    if (options.loading || !strcmp(operation, "set")) options.verb = SET;
    else if (!strcmp(operation, "get")) options.verb = GET;
    else if (!strcmp(operation, "incr")) options.verb = INCR;
    else if (!strcmp(operation, "ping")) options.verb = PING;
    else if (!strcmp(operation, "multi")) options.verb = MULTI;
    else refuse("-o takes set, get, incr, ping, multi or load");
}

static void speak(const char *name)
{
    const struct protocol *known[] = { &LINES, &RESP, &ETCD };
    for (int i = 0; i < 3; i++) if (!strcmp(name, known[i]->name)) { options.protocol = known[i]; return; }
    refuse("-P takes line, resp or etcd");
}

void read_arguments(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "bTl:p:P:o:c:d:t:w:n:k:v:R:i:m:r:")) != -1) switch (option) {
        case 'p': options.port = whole(optarg, 1, 65535, "-p takes a port"); break;
        case 'P': speak(optarg); break;
        case 'o': choose(optarg); break;
        case 'c': options.connections = whole(optarg, 1, 4000, "-c takes 1 to 4000 connections"); break;
        case 'd': options.in_flight = whole(optarg, 1, IN_FLIGHT_MAX, "-d takes 1 to 1024 in flight"); break;
        case 't': options.seconds = atof(optarg); break;
        case 'w': options.warm_up = atof(optarg); break;
        case 'n': options.limit = whole(optarg, 1, 2000000000, "-n takes a number of requests"); break;
        case 'k': options.keys = whole(optarg, 1, 2000000000, "-k takes a number of keys"); break;
        case 'v': options.value_bytes = whole(optarg, 1, 1 << 20, "-v takes 1 to 1048576 bytes"); break;
        case 'R': options.pace = atof(optarg); break;
        case 'i': options.idle = whole(optarg, 0, 8000, "-i takes 0 to 8000 connections"); break;
        case 'b': options.burst = 1; break;
        case 'T': options.tls = 1; break;
        case 'l': options.login = first_line(optarg); break;
        case 'r': options.record_path = optarg; break;
        case 'm': for (char *p = strtok(optarg, ","); p && options.pid_count < PIDS_MAX; p = strtok(NULL, ","))
                      options.pids[options.pid_count++] = whole(p, 1, 1 << 30, "-m takes numbers of processes");
                  break;
        default: refuse("no such option");
    }
    if (!options.port) refuse("-p PORT is missing");
    if (optind < argc) refuse("an argument too many");
    if (options.protocol == &ETCD && options.verb >= INCR) refuse("etcd has no incr, no ping and no multi");
    if (options.value_bytes > options.protocol->value_max) refuse("-v is too long for this protocol");
    if (options.protocol->in_flight_max && options.in_flight * options.value_bytes > options.protocol->in_flight_max)
        refuse("-v times -d is too much for this protocol");
    if (options.burst && options.pace > 0) refuse("-b and -R exclude each other");
    if ((options.tls || options.login) && (options.burst || options.idle)) refuse("-T and -l go with neither -b nor -i");
    if (options.login && options.protocol != &LINES) refuse("-l goes with -P line alone");
    if (options.loading) options.limit = options.keys;
}
