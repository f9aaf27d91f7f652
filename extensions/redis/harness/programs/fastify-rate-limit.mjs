// @fastify/rate-limit, on ioredis by Sentinel: each request that is answered counts once.
import rateLimit from '@fastify/rate-limit';
import fastify from 'fastify';
import { ioredisBySentinel, prefix, repeat, say, tried } from './program.mjs';

const MAX = 1_000_000;
const app = fastify();
await app.register(rateLimit, {
  max: MAX,
  timeWindow: 3_600_000,
  nameSpace: `${prefix}:`,
  redis: ioredisBySentinel(),
});
app.get('/', () => 'ok');
const counted = async () => {
  const { statusCode, headers, body } = await app.inject('/');
  if (statusCode !== 200) throw new Error(`${statusCode} ${body}`);
  return MAX - headers['x-ratelimit-remaining'];
};

await repeat((item) => tried('count', item, counted));
say('counts', (await counted()) - 1);
process.exit(0);
