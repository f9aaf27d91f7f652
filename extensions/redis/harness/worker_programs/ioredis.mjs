// A worker with ioredis: ioredis.mjs MODE FILE PORT … It appends what it pops to a file.
// It goes on after the end of a connection, and after no other error.
import { appendFileSync } from 'node:fs';
import { Cluster, Redis } from 'ioredis';

const [mode, file, ...ports] = process.argv.slice(2);
const nodes = ports.map((port) => ({ host: 'localhost', port: Number(port) }));
const forever = { maxRetriesPerRequest: null };
const store =
  mode === 'cluster'
    ? new Cluster(nodes, { redisOptions: forever })
    : new Redis(mode === 'Sentinel' ? { sentinels: nodes, name: 'raftline', ...forever } : { ...nodes[0], ...forever });
store.on('error', (error) => console.log(String(error)));

for (;;) {
  try {
    appendFileSync(file, `${(await store.brpop('jobs', 0))[1]}\n`);
  } catch (error) {
    console.log(String(error));
    if (!/closed|ECONN/.test(error.message)) process.exit(1);
  }
}
