/* CPU seconds used so far: of processes, of the whole machine, of the generator itself. */
#define _GNU_SOURCE
#include "cpu_time.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

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

double processes_cpu(const int *pids, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) sum += process_cpu(pids[i]);
    return sum;
}

double machine_cpu(void)             /* all but idle, waiting for the disk, and stolen */
{
    unsigned long user, nice, kernel, idle_time, waiting, interrupts, soft;
    FILE *file = fopen("/proc/stat", "r");
    if (!file) return 0;
    int found = fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &kernel, &idle_time,
                       &waiting, &interrupts, &soft);
    fclose(file);
    return found < 7 ? 0 : (double)(user + nice + kernel + interrupts + soft) / sysconf(_SC_CLK_TCK);
}

double own_cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}
