// BullMQ, on ioredis by Sentinel: workers add jobs, which another one does, all by its scripts. At
// the end each job is in one state.
import { Queue, Worker } from 'bullmq';
import { ioredisBySentinel, prefix, repeat, say, tried } from './program.mjs';

// A worker must wait for ever, and a job with an ID of its own may be sent twice.
const waits = { autoResendUnfulfilledCommands: true, maxRetriesPerRequest: null };
const queue = new Queue(prefix, { connection: ioredisBySentinel(waits) });
const worker = new Worker(prefix, async () => 1, { connection: ioredisBySentinel(waits), stalledInterval: 1000 });
for (const each of [queue, worker]) each.on('error', () => {}); // a job that is not added says so itself

await repeat((item) => tried('put', item, () => queue.add('job', {}, { jobId: `job-${item}`, attempts: 9 })));
await worker.close(true);
for (const job of await queue.getJobs()) say('holds', job.id.slice('job-'.length));
process.exit(0);
