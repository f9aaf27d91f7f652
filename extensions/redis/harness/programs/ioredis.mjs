// ioredis in cluster mode: MULTI adds an element to a hash, and counts it.
import { Cluster } from 'ioredis';
import { nodes, prefix, repeat, say, tried } from './program.mjs';

const [hash, counter] = [`{${prefix}}hash`, `{${prefix}}count`];
const store = new Cluster(nodes, {
  retryDelayOnFailover: 0,
  redisOptions: { autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 },
});
store.on('error', () => {});

await repeat((item) =>
  tried('put', item, async () => {
    const replies = await store.multi().hset(hash, item, 1).incr(counter).exec();
    for (const [error] of replies) if (error) throw error;
  }),
);
const items = await store.hkeys(hash);
for (const item of items) say('holds', item);
if (Number(await store.get(counter)) !== items.length) throw new Error('half of a MULTI');
process.exit(0);
