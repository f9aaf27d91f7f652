// keyv with @keyv/redis, by Sentinel: each value is written, and read at the end.
import KeyvRedis from '@keyv/redis';
import Keyv from 'keyv';
import { nodes, prefix, repeat, say, tried } from './program.mjs';

const sentinels = { name: 'raftline', sentinelRootNodes: nodes };
const store = new KeyvRedis(sentinels, { throwOnErrors: true, throwOnConnectError: true });
const keyv = new Keyv({ store, namespace: prefix, throwOnErrors: true });
keyv.on('error', () => {});

const items = new Set();
await repeat((item) => {
  items.add(item);
  return tried('put', item, async () => {
    if (!(await keyv.set(item, item, 3_600_000))) throw new Error('set returned false');
  });
});
for (const item of items) if ((await keyv.get(item)) === item) say('holds', item);
process.exit(0);
