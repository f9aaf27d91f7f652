// redlock, on ioredis by Sentinel: two workers hold a lock by turns.
import Redlock from 'redlock';
import { ioredisBySentinel, prefix, repeatLock } from './program.mjs';

const locks = new Redlock([ioredisBySentinel()], { retryCount: 100, retryDelay: 20 });

await repeatLock(
  () => locks.lock([prefix], 3000),
  (lock) => lock.unlock(),
);
process.exit(0);
