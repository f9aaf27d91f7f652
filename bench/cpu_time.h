/* CPU seconds used so far. */
#ifndef CPU_TIME_H
#define CPU_TIME_H

double processes_cpu(const int *pids, int count);
double machine_cpu(void);       /* all but idle, waiting for the disk, and stolen */
double own_cpu(void);
#endif
