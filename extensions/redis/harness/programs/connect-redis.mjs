// connect-redis, on node-redis in cluster mode: each session is written, and read at the end.
import { RedisStore } from 'connect-redis';
import { createCluster } from 'redis';
import { nodes, prefix, repeat, say, tried } from './program.mjs';

const client = createCluster({
  rootNodes: nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` })),
});
client.on('error', () => {});
await client.connect();
const store = new RedisStore({ client, prefix: `${prefix}:`, ttl: 3600 });
const called = (what, ...given) =>
  new Promise((resolve, reject) =>
    store[what](...given, (error, answer) => (error ? reject(error) : resolve(answer))),
  );

const sessions = new Set();
await repeat((item) => {
  sessions.add(item);
  return tried('put', item, () => called('set', item, { cookie: {}, item }));
});
for (const item of sessions) if ((await called('get', item))?.item === item) say('holds', item);
process.exit(0);
