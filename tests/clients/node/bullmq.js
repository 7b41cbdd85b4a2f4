// BullMQ's queues on Kivi, each with real workers: order and priorities, delays, retries with backoff, repeated jobs, flows
// of parents and children, rate limits, removal and pausing, events, and a worker process that is killed with its job.
//   bullmq.js          the check        bullmq.js worker QUEUE        the process that is killed
'use strict';

const { fork } = require('node:child_process');
const { once } = require('node:events');
const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = require('bullmq');
const { assert, eventually, numbers, port, run } = require('./check');

const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const open = [];
const keep = (one) => { one.on('error', () => {}); open.push(one); return one; };
const queue = (name, more = {}) => keep(new Queue(name, { connection, ...more }));
const worker = (name, work, more = {}) => keep(new Worker(name, work, { connection, drainDelay: 1, ...more }));
const done = (one, count) => eventually(`${count} jobs of ${one.name}`, async () => await one.getCompletedCount() === count);

async function many() {
  const q = queue('many');
  const seen = new Map();
  await q.addBulk(numbers(400).map((number) => ({ name: 'add', data: { number } })));
  const work = async (job) => { seen.set(job.data.number, (seen.get(job.data.number) ?? 0) + 1); return job.data.number * 2; };
  worker('many', work, { concurrency: 10 });
  worker('many', work, { concurrency: 10 });
  await done(q, 400);
  assert.deepEqual([...seen.values()], Array(400).fill(1), 'a job ran twice or never');
  const jobs = await q.getCompleted(0, 500);
  assert.ok(jobs.every((job) => job.returnvalue === job.data.number * 2));
  assert.deepEqual(await q.getJobCounts('waiting', 'active', 'failed', 'delayed'), { waiting: 0, active: 0, failed: 0, delayed: 0 });
  await q.obliterate({ force: true });
}

async function priorities() {
  const q = queue('priorities');
  await q.pause();
  for (const priority of [5, 1, 3, 1, 4, 2]) await q.add('p', { priority }, { priority });
  await q.add('p', { priority: 0 }, { lifo: true });
  assert.equal(await q.getPrioritizedCount(), 6);
  const order = [];
  worker('priorities', async (job) => { order.push(job.data.priority); });
  await q.resume();
  await done(q, 7);
  assert.deepEqual(order, [0, 1, 1, 2, 3, 4, 5]);
}

async function delays() {
  const q = queue('delays');
  const early = [];
  worker('delays', async (job) => { if (Date.now() < job.data.due) early.push(job.data); }, { concurrency: 5 });
  for (const delay of [300, 50, 150, 20, 400]) await q.add('later', { due: Date.now() + delay }, { delay });
  const promoted = await q.add('never by itself', { due: 0 }, { delay: 3600000 });
  await done(q, 5);
  assert.equal(await promoted.getState(), 'delayed');
  await promoted.promote();
  await done(q, 6);
  assert.deepEqual(early, []);
}

async function retries() {
  const q = queue('retries');
  const events = keep(new QueueEvents('retries', { connection }));
  await events.waitUntilReady();
  worker('retries', async (job) => {
    if (job.name === 'hopeless') throw new UnrecoverableError('no use');
    if (job.attemptsMade < job.data.failures) throw new Error(`attempt ${job.attemptsMade}`);
    await job.updateProgress(100);
    return `after ${job.attemptsMade}`;
  });
  const backoff = { type: 'exponential', delay: 5 };
  const good = await q.add('good', { failures: 3 }, { attempts: 4, backoff });
  const bad = await q.add('bad', { failures: 9 }, { attempts: 3, backoff });
  const hopeless = await q.add('hopeless', {}, { attempts: 9 });
  assert.equal(await good.waitUntilFinished(events, 60000), 'after 3');
  await assert.rejects(bad.waitUntilFinished(events, 60000), /attempt 2/);
  await assert.rejects(hopeless.waitUntilFinished(events, 60000), /no use/);
  const failed = await q.getFailed();
  assert.deepEqual(failed.map((job) => job.attemptsMade).sort(), [1, 3]);
  assert.equal(failed.find((job) => job.name === 'bad').stacktrace.length, 3);
  await (await q.getJob(bad.id)).updateData({ failures: 0 });
  await (await q.getJob(bad.id)).retry();
  await done(q, 2);
}

async function repeats() {
  const q = queue('repeats');
  let turns = 0;
  worker('repeats', async () => { turns += 1; });
  await q.upsertJobScheduler('tick', { every: 40, limit: 5 }, { name: 'tick', data: {} });
  await q.upsertJobScheduler('cron', { pattern: '* * * * * *', limit: 1 }, { name: 'cron', data: {} });
  assert.equal((await q.getJobSchedulers()).length, 2);
  await eventually('five ticks and one of cron', () => turns >= 6);
  await q.removeJobScheduler('tick');
  await q.removeJobScheduler('cron');
  assert.equal((await q.getJobSchedulers()).length, 0);
}

async function flows() {
  const flow = keep(new FlowProducer({ connection }));
  worker('children', async (job) => job.data.value, { concurrency: 4 });
  worker('parents', async (job) => Object.values(await job.getChildrenValues()).reduce((sum, value) => sum + value, 0));
  const events = keep(new QueueEvents('parents', { connection }));
  await events.waitUntilReady();
  const tree = await flow.add({
    name: 'sum', queueName: 'parents', data: {},
    children: numbers(3).map((group) => ({
      name: `sum${group}`, queueName: 'parents', data: {},
      children: numbers(10).map((value) => ({ name: 'leaf', queueName: 'children', data: { value: group * 10 + value } })),
    })),
  });
  assert.equal(await tree.job.waitUntilFinished(events, 60000), 435);
}

async function limits() {
  const q = queue('limits');
  const start = Date.now();
  worker('limits', async () => {}, { limiter: { max: 5, duration: 250 }, concurrency: 10 });
  await q.addBulk(numbers(16).map((number) => ({ name: 'limited', data: { number } })));
  await done(q, 16);
  // The sixteenth job is in the fourth window, so three whole ones lie before it, however late workers see them.
  const took = Date.now() - start;
  assert.ok(took >= 3 * 250 - 10, `16 jobs at 5 in 250 ms took ${took} ms`);
}

async function housekeeping() {
  const q = queue('house', { defaultJobOptions: { removeOnComplete: 10 } });
  const first = await q.add('unique', {}, { jobId: 'only-one', delay: 3600000 });
  await q.add('unique', {}, { jobId: 'only-one', delay: 3600000 });
  assert.equal(await q.getDelayedCount(), 1, 'one id, two jobs');
  await first.remove();
  await q.add('debounced', {}, { deduplication: { id: 'once' }, delay: 3600000 });
  await q.add('debounced', {}, { deduplication: { id: 'once' }, delay: 3600000 });
  assert.equal(await q.getDelayedCount(), 1, 'deduplication');
  await q.drain(true);
  worker('house', async (job) => { await job.log('was here'); });
  await q.addBulk(numbers(50).map((number) => ({ name: 'gone', data: { number } })));
  await eventually('only ten are kept', async () => {
    const counts = await q.getJobCounts('waiting', 'active', 'completed');
    return counts.waiting === 0 && counts.active === 0 && counts.completed === 10;
  });
  const [last] = await q.getCompleted(0, 0);
  assert.equal((await q.getJobLogs(last.id)).logs[0], 'was here');
  assert.equal((await q.clean(0, 100, 'completed')).length, 10);
}

/** A process is killed in the middle of its job; the job stalls, and another worker does it. */
async function killed() {
  const q = queue('killed');
  const child = fork(__filename, ['worker', 'killed'], { stdio: 'inherit' });
  await q.add('deadly', { number: 1 });
  const [said] = await once(child, 'message');
  assert.equal(said, 'in the middle');
  child.kill('SIGKILL');
  await once(child, 'exit');
  let stalled = 0;
  const second = worker('killed', async (job) => `saved ${job.data.number}`, { stalledInterval: 200, lockDuration: 500 });
  second.on('stalled', () => { stalled += 1; });
  await done(q, 1);
  assert.equal((await q.getCompleted())[0].returnvalue, 'saved 1');
  assert.equal(stalled, 1);
}

function victim(name) {
  new Worker(name, () => { process.send('in the middle'); return new Promise(() => {}); }, {
    connection, lockDuration: 500, stalledInterval: 200,
  });
}

if (process.argv[2] === 'worker') victim(process.argv[3]);
else run(async () => {
  await Promise.all([many, priorities, delays, retries, repeats, flows, limits, housekeeping, killed].map((part) => part()));
  for (const one of open) await one.close();
});
