// A worker with ioredis, which appends what it pops to a file.
// It goes on after the end of a connection, and after no other error.
import { appendFileSync } from 'node:fs';
import { connect, file } from './store.mjs';

const store = connect({ maxRetriesPerRequest: null });
store.on('error', (error) => console.log(String(error)));

for (;;) {
  try {
    appendFileSync(file, `${(await store.brpop('jobs', 0))[1]}\n`);
  } catch (error) {
    console.log(String(error));
    if (!/closed|ECONN/.test(error.message)) process.exit(1);
  }
}
