// rate-limiter-flexible, on ioredis by Sentinel: each point that is consumed counts once.
import { RateLimiterRedis } from 'rate-limiter-flexible';
import { ioredisBySentinel, prefix, repeat, say, tried } from './program.mjs';

const limiter = new RateLimiterRedis({
  storeClient: ioredisBySentinel(),
  keyPrefix: prefix,
  points: 1_000_000,
  duration: 3600,
});

await repeat((item) => tried('count', item, () => limiter.consume('user')));
say('counts', (await limiter.get('user')).consumedPoints);
process.exit(0);
