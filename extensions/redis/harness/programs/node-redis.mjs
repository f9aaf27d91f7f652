// node-redis in cluster mode: a list as a queue, to which workers push and from which they pop.
import { createCluster } from 'redis';
import { nodes, prefix, repeat, say, tried } from './program.mjs';

const store = createCluster({
  rootNodes: nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` })),
});
store.on('error', () => {});
await store.connect();

await repeat(async (item) => {
  await tried('put', item, () => store.lPush(prefix, item));
  if (item.endsWith('0')) return; // so that a few remain
  await tried('take', undefined, () => store.rPop(prefix));
});
for (const item of await store.lRange(prefix, 0, -1)) say('holds', item);
process.exit(0);
