// rate-limit-redis, on ioredis by Sentinel: each hit counts once.
import { RedisStore } from 'rate-limit-redis';
import { ioredisBySentinel, prefix, repeat, say, tried } from './program.mjs';

const client = ioredisBySentinel();
const store = new RedisStore({ prefix: `${prefix}:`, sendCommand: (...words) => client.call(...words) });
store.init({ windowMs: 3_600_000 });

await repeat((item) => tried('count', item, () => store.increment('user')));
say('counts', (await store.get('user')).totalHits);
process.exit(0);
