// The operands of the workers in JavaScript, ACTION LIBRARY MODE FILE ITEM PORT …, and a client.
import { Cluster, Redis } from 'ioredis';

export const [action, , mode, file, item, ...ports] = process.argv.slice(2);
const nodes = ports.map((port) => ({ host: 'localhost', port: Number(port) }));

export function connect(options) {
  if (mode === 'cluster') return new Cluster(nodes, { redisOptions: options });
  return new Redis(mode === 'Sentinel' ? { sentinels: nodes, name: 'raftline', ...options } : { ...nodes[0], ...options });
}
