// Programs that have libraries in JavaScript send their scripts: in_javascript.mjs NAME PORT
// They say nothing about what they get: a recorder between them and a Redis notes what they ask.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(import.meta.url);
const [name, port] = [process.argv[2], Number(process.argv[3])];
const connection = { host: 'localhost', port, maxRetriesPerRequest: null };
const ioredis = () => new (require('ioredis'))(connection);
const quietly = async (call) => { try { return await call(); } catch { return undefined; } };
const until = async (holds) => { for (let i = 0; i < 400 && !(await holds()); i++) await sleep(25); };

const programs = {
  async bullmq() {
    const { FlowProducer, Queue, QueueEvents, Worker } = await import('bullmq');
    const queue = new Queue('jobs', { connection }), flow = new FlowProducer({ connection });
    let fails = 2;
    const worker = new Worker('jobs', async (job) => {
      await job.updateProgress(50);
      await job.log('half');
      if (job.name === 'bad' && fails-- > 0) throw new Error('no');
      if (job.name === 'later' && !job.data.moved) {
        await job.updateData({ moved: true });
      }
      return job.name;
    }, { connection, autorun: false, limiter: { max: 200, duration: 60000 }, lockDuration: 60000 });
    await queue.add('one', { n: 1 });
    await queue.add('one', { n: 1 }, { jobId: 'same' });
    await queue.add('one', { n: 1 }, { jobId: 'same' });
    await queue.add('first', {}, { priority: 1 });
    await queue.add('second', {}, { priority: 2 });
    await queue.add('lifo', {}, { lifo: true });
    await queue.add('later', {}, { delay: 300 });
    await queue.add('bad', {}, { attempts: 3, backoff: { type: 'fixed', delay: 50 } });
    await queue.add('once', {}, { deduplication: { id: 'd', ttl: 5000 } });
    await queue.add('once', {}, { deduplication: { id: 'd', ttl: 5000 } });
    await queue.addBulk([1, 2, 3].map((n) => ({ name: 'bulk', data: { n }, opts: { removeOnComplete: true } })));
    await flow.add({ name: 'parent', queueName: 'jobs', children: [
      { name: 'child', queueName: 'jobs', data: { n: 1 } }, { name: 'child', queueName: 'jobs', opts: { delay: 100 } }] });
    await queue.getJobCounts();
    const some = await queue.add('gone', {}, { delay: 60000 });
    await some.changeDelay(90000);
    await some.promote();
    await some.changePriority({ priority: 3 });
    await queue.getCountsPerPriority([0, 1, 3]);
    await some.remove();
    await queue.upsertJobScheduler('tick', { every: 200 }, { name: 'tick' });
    await queue.upsertJobScheduler('cron', { pattern: '0 0 * * *' }, { name: 'cron' });
    await queue.getJobSchedulers();
    worker.run();
    await until(async () => (await queue.getCompletedCount()) > 14);
    await queue.pause();
    await sleep(300);
    await queue.resume();
    await queue.removeJobScheduler('tick');
    await queue.removeJobScheduler('cron');
    const failed = await queue.add('lost', {}, { attempts: 1 });
    await worker.close();
    const byHand = new Worker('jobs', null, { connection, lockDuration: 60000, stalledInterval: 200, maxStalledCount: 1 });
    for (const outcome of ['fail', 'delay', 'wait', 'done', 'stall']) {
      await queue.add(outcome, {}, { attempts: 3 });
      const job = await byHand.getNextJob('token', { block: false });
      if (!job) continue;
      await quietly(() => job.extendLock('token', 60000));
      if (outcome === 'fail') await quietly(() => job.moveToFailed(new Error('x'), 'token', false));
      if (outcome === 'delay') await quietly(() => job.moveToDelayed(Date.now() + 60000, 'token'));
      if (outcome === 'wait') await quietly(() => job.moveToWait('token'));
      if (outcome === 'stall') await ioredis().del(`bull:jobs:${job.id}:lock`);
      if (outcome === 'done') await quietly(() => job.moveToCompleted('ok', 'token', false));
    }
    await byHand.startStalledCheckTimer();
    await sleep(900);
    await byHand.rateLimit(60000);
    await queue.getRateLimitTtl();
    await queue.removeRateLimitKey();
    for (const job of await queue.getFailed()) await quietly(() => job.retry());
    await queue.retryJobs({ count: 10 });
    await queue.promoteJobs({ count: 10 });
    await queue.getJobs(['completed', 'waiting', 'delayed'], 0, 5);
    await queue.getRanges(['wait', 'completed'], 0, 5);
    for (const job of (await queue.getCompleted()).slice(0, 2)) {
      await job.getState(); await job.isFinished; await queue.getJobState(job.id); await queue.getMetrics('completed');
    }
    await queue.setGlobalConcurrency(2);
    await queue.getDependencies?.('x').catch(() => {});
    await quietly(() => queue.removeOrphanedJobs());
    await queue.trimEvents(5);
    await queue.removeDeduplicationKey('d');
    await quietly(() => queue.remove('same'));
    await queue.clean(0, 100, 'completed');
    await queue.drain(true);
    await queue.obliterate({ force: true });
    await byHand.close(true);
    await flow.close();
    await queue.close();
  },
  async bull() {
    const Bull = require('bull');
    const queue = new Bull('jobs', { redis: connection, limiter: { max: 200, duration: 60000 } });
    let fails = 2, done = 0;
    queue.process('*', async (job) => {
      await job.progress(10);
      await job.log('half');
      if (job.name === 'bad' && fails-- > 0) throw new Error('no');
      return job.name;
    });
    queue.on('completed', () => { done++; });
    for (const opts of [{}, { priority: 2 }, { priority: 1 }, { lifo: true }, { delay: 200 }, { jobId: 'same' }, { jobId: 'same' },
      { removeOnComplete: true }]) await queue.add('one', { n: 1 }, opts);
    await queue.add('bad', {}, { attempts: 3, backoff: 50 });
    await queue.addBulk([1, 2].map((n) => ({ name: 'bulk', data: { n } })));
    await queue.add('tick', {}, { repeat: { every: 200 } });
    await until(() => done > 11);
    await queue.pause();
    const [a, b] = [await queue.add('x', {}), await queue.add('y', {}, { delay: 60000 })];
    await b.promote();
    await a.getState(); await a.update({ m: 1 }); await a.remove();
    await queue.getJobCounts();
    await queue.resume();
    await queue.removeRepeatable('tick', { every: 200 });
    const failing = await queue.add('z', {}, { attempts: 1 });
    await quietly(() => failing.moveToFailed({ message: 'x' }, true));
    await quietly(() => failing.retry());
    await quietly(() => failing.discard());
    await queue.clean(0, 'completed');
    await queue.clean(0, 'failed');
    await quietly(() => queue.removeJobs('nothing*'));
    await queue.empty();
    await queue.obliterate({ force: true });
    await queue.close(true);
  },
  async 'bee-queue'() {
    const Queue = require('bee-queue');
    const queue = new Queue('jobs', { redis: { host: 'localhost', port }, activateDelayedJobs: true, stallInterval: 300 });
    let done = 0, fails = 1;
    queue.process(async (job) => { if (job.data.bad && fails-- > 0) throw new Error('no'); return done++; });
    await queue.createJob({ n: 1 }).save();
    await queue.createJob({ n: 1 }).setId('same').save();
    await quietly(() => queue.createJob({ n: 1 }).setId('same').save());
    await queue.createJob({ bad: 1 }).retries(2).backoff('fixed', 50).save();
    await queue.createJob({ n: 2 }).delayUntil(Date.now() + 200).save();
    await queue.saveAll([queue.createJob({ n: 3 }), queue.createJob({ n: 4 })]);
    const gone = await queue.createJob({ n: 5 }).delayUntil(Date.now() + 60000).save();
    await gone.remove();
    await queue.checkStalledJobs();
    await until(() => done > 5);
    await queue.checkHealth();
    await queue.removeJob('same');
    await quietly(() => queue.close(1000));
  },
  async bottleneck() {
    const Bottleneck = require('bottleneck');
    const limiter = new Bottleneck({ id: 'few', datastore: 'ioredis', clientOptions: connection, clearDatastore: true,
      maxConcurrent: 2, minTime: 20, reservoir: 10, reservoirRefreshAmount: 10, reservoirRefreshInterval: 500, highWater: 5 });
    await limiter.ready();
    await Promise.all([1, 2, 3, 4].map((n) => limiter.schedule({ weight: 1, expiration: 1000 }, async () => n)));
    await limiter.running(); await limiter.done(); await limiter.check(); await limiter.currentReservoir();
    await limiter.incrementReservoir(5);
    await limiter.updateSettings({ minTime: 10 });
    await quietly(() => limiter.schedule({ weight: 3 }, async () => 1));
    const group = new Bottleneck.Group({ maxConcurrent: 1, datastore: 'ioredis', clientOptions: connection, timeout: 500 });
    await group.key('a').schedule(async () => 1);
    await group.clusterKeys();
    await group.deleteKey('a');
    await limiter.disconnect(false);
  },
  async rsmq() {
    const Rsmq = require('rsmq');
    const queue = new Rsmq({ host: '127.0.0.1', port });
    await until(() => queue.connected);
    await queue.createQueueAsync({ qname: 'jobs', vt: 30 });
    for (const message of ['a', 'b', 'c']) await queue.sendMessageAsync({ qname: 'jobs', message });
    const got = await queue.receiveMessageAsync({ qname: 'jobs' });
    await queue.changeMessageVisibilityAsync({ qname: 'jobs', id: got.id, vt: 5 });
    await queue.popMessageAsync({ qname: 'jobs' });
    await queue.popMessageAsync({ qname: 'jobs' });
    await queue.popMessageAsync({ qname: 'jobs' });
    await queue.receiveMessageAsync({ qname: 'jobs' });
    await queue.deleteMessageAsync({ qname: 'jobs', id: got.id });
    await queue.getQueueAttributesAsync({ qname: 'jobs' });
    await queue.deleteQueueAsync({ qname: 'jobs' });
  },
  async 'node-resque'() {
    const { Queue, Worker, Scheduler } = require('node-resque');
    const redis = { redis: ioredis() }, done = [];
    const jobs = { work: { perform: async (n) => done.push(n) },
      bad: { plugins: ['Retry'], pluginOptions: { Retry: { retryLimit: 2, retryDelay: 50 } }, perform: async () => { done.push(0); throw new Error('x'); } } };
    const queue = new Queue({ connection: redis }, jobs);
    await queue.connect();
    for (const n of [1, 2, 3]) await queue.enqueue('jobs', 'work', [n]);
    await queue.enqueue('jobs', 'bad', []);
    await queue.enqueueIn(100, 'jobs', 'work', [4]);
    const worker = new Worker({ connection: redis, queues: ['jobs'], timeout: 50 }, jobs);
    await worker.connect();
    const scheduler = new Scheduler({ connection: redis, timeout: 100 }, jobs);
    await scheduler.connect();
    worker.start();
    scheduler.start();
    await until(() => done.length > 5);
    await queue.allDelayed(); await queue.stats(); await queue.workers();
    await worker.end();
    await scheduler.end();
  },
  async 'redis-semaphore'() {
    const { Mutex, MultiSemaphore, Semaphore } = await import('redis-semaphore');
    const client = ioredis(), options = { acquireAttemptsLimit: 1, lockTimeout: 5000, refreshInterval: 100 };
    for (const made of [() => new Mutex(client, 'm', options), () => new Semaphore(client, 's', 2, options),
      () => new MultiSemaphore(client, 'n', 3, 2, options)]) {
      const all = [made(), made(), made()];
      for (const each of all) await quietly(() => each.acquire());
      await sleep(250);
      for (const each of all) await quietly(() => each.release());
    }
  },
  async 'async-ratelimiter'() {
    const Limiter = (await import('async-ratelimiter')).default;
    const limiter = new Limiter({ db: ioredis(), id: 'u', max: 2, duration: 60000 });
    for (const peek of [true, false, false, false, true]) await limiter.get({ peek });
  },
  async 'node-redis-warlock'() {
    const warlock = require('node-redis-warlock')(ioredis());
    const lock = (call) => new Promise((resolve) => call((error, found) => resolve(found)));
    const unlock = await lock((done) => warlock.lock('job', 60000, done));
    await lock((done) => warlock.lock('job', 60000, done));
    await lock((done) => warlock.touch('job', unlock.id ?? 'x', 30000, done));
    await lock((done) => warlock.unlock('job', 'other', done));
    if (unlock) await lock((done) => unlock(done));
    await lock((done) => warlock.optimistic('job', 1000, 2, 10, done));
  },
  async 'simple-redis-mutex'() {
    const { lock, tryLock } = await import('simple-redis-mutex');
    const client = await (await import('redis')).createClient({ socket: { host: 'localhost', port } }).connect();
    const [, release] = await tryLock(client, 'job', { timeout: 60000 });
    await tryLock(client, 'job');
    await release.refreshTimeout?.();
    await release();
    await (await lock(client, 'job'))();
  },
  async '@fastify/rate-limit'() {
    const app = require('fastify')();
    await app.register((await import('@fastify/rate-limit')).default,
      { max: 2, timeWindow: 60000, redis: ioredis(), continueExceeding: true });
    app.get('/', () => 'ok');
    app.get('/slow', { config: { rateLimit: { max: 1, timeWindow: 1000, exponentialBackoff: true } } }, () => 'ok');
    for (const path of ['/', '/', '/', '/slow', '/slow', '/slow']) await app.inject(path);
  },
  async 'rate-limit-redis'() {
    const { RedisStore } = await import('rate-limit-redis'), client = ioredis();
    {
      const store = new RedisStore({ sendCommand: (...words) => client.call(...words) });
      store.init({ windowMs: 60000 });
      for (let i = 0; i < 3; i++) await store.increment('u');
      await store.get('u'); await store.decrement('u'); await store.resetKey('u');
    }
  },
  async redlock() {
    const Redlock = require('redlock');
    const locks = new Redlock([ioredis()], { retryCount: 1, retryDelay: 20 });
    const lock = await locks.lock(['a', 'b'], 60000);
    await quietly(() => locks.lock(['b'], 60000));
    const longer = await lock.extend(90000);
    await longer.unlock();
    await quietly(() => longer.unlock());
  },
};

if (name) await programs[name]();
else console.log(Object.keys(programs).join('\n'));
process.exit(0);
