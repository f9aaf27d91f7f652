// What the programs share: node NAME.mjs PREFIX PORT … repeats an operation until its standard input
// ends, and prints each outcome (program_record.py).

import { Redis } from 'ioredis';

const [name, ...ports] = process.argv.slice(2);
export const prefix = name;
export const nodes = ports.map((port) => ({ host: 'localhost', port: Number(port) }));

const WORKERS = 2;
const PAUSE_MS = 3;
let hasEnded = false;
process.stdin.on('end', () => (hasEnded = true)).resume();

export function say(...words) {
  process.stdout.write(`${words.join(' ')}\n`);
}

export function pause(ms = PAUSE_MS) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Carry out `call`, print what became of it, and return its answer, null if it failed. Without an
 * `item`, the answer is the item, and null says that there was none.
 */
export async function tried(word, item, call) {
  try {
    const answer = await call();
    if (item ?? answer) say('did', word, item ?? answer);
    return answer;
  } catch (error) {
    say('failed', word, item ?? '-', String(error?.message ?? error).replaceAll('\n', ' '));
    return null;
  }
}

/** Repeat an operation with new items in several workers, until the program is to end. */
export async function repeat(operation) {
  const worker = async (_, number) => {
    for (let count = 0; !hasEnded; count++) {
      await operation(`${number}.${count}`, `w${number}`);
      await pause();
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
}

/** Let the workers hold a lock by turns. */
export function repeatLock(acquire, release) {
  return repeat(async (_, worker) => {
    const lock = await tried('lock', worker, acquire);
    if (lock === null) return;
    await pause();
    say('leaving', worker);
    await tried('unlock', worker, async () => (await release(lock)) ?? true);
  });
}

/** A client of ioredis in Sentinel mode, which sends nothing twice. */
export function ioredisBySentinel(options = {}) {
  const once = { autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 };
  const client = new Redis({ sentinels: nodes, name: 'raftline', ...once, ...options });
  return client.on('error', () => {}); // a command that fails says so itself
}
