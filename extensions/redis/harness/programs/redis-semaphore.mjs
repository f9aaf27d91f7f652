// redis-semaphore, on ioredis by Sentinel: two workers hold a mutex by turns.
import { Mutex } from 'redis-semaphore';
import { ioredisBySentinel, prefix, repeatLock } from './program.mjs';

const client = ioredisBySentinel();

await repeatLock(
  async () => {
    const mutex = new Mutex(client, prefix, { lockTimeout: 3000, retryInterval: 20, onLockLost() {} });
    await mutex.acquire();
    return mutex;
  },
  (mutex) => mutex.release(),
);
process.exit(0);
