// A worker with BullMQ, or a program that adds one job, or ITEM jobs a second as workers.py does.
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { action, connect, file, item, mode } from './store.mjs';

const options = {
  connection: connect(action === 'work' ? { maxRetriesPerRequest: null } : {}),
  prefix: mode === 'cluster' ? '{bull}' : 'bull',
};

async function feed(put) {
  let ends = false;
  process.stdin.on('end', () => (ends = true)).resume();
  const begin = performance.now();
  for (let number = 1; !ends; number++) {
    await sleep(Math.max(0, begin + (number * 1000) / Number(item) - performance.now()));
    const start = performance.now();
    try {
      await put(String(number));
      console.log(`did put ${number} ${((performance.now() - start) / 1000).toFixed(3)}`);
    } catch (error) {
      console.log(`failed put ${number} ${error.name}: ${error.message.replace(/\s+/g, ' ')}`);
    }
  }
}

if (action === 'work') {
  const worker = new Worker('jobs', async (job) => appendFileSync(file, `${job.data}\n`), options);
  worker.on('error', (error) => console.log(String(error)));
} else {
  const queue = new Queue('jobs', { ...options, defaultJobOptions: { removeOnComplete: 1000, removeOnFail: 5000 } });
  queue.on('error', (error) => console.error(String(error)));
  const put = (each) => queue.add('note', each);
  await (action === 'feed' ? feed(put) : put(item));
  process.exit(0);
}
