// ioredis against Kivi: pipelines, transactions, automatic pipelining, custom commands from scripts, key prefixes, binary
// values, streams of SCAN, blocking reads, pub/sub, MONITOR, transparent reconnecting and its offline queue.
'use strict';

const Redis = require('ioredis');
const { assert, eventually, numbers, port, refused, run } = require('./check');

const open = (more = {}) => new Redis({ port, maxRetriesPerRequest: null, retryStrategy: () => 10, ...more });

async function pipelines(redis) {
  const pipe = redis.pipeline();
  for (const number of numbers(2000)) pipe.set(`k:${number}`, number).incr(`k:${number}`);
  const replies = await pipe.exec();
  assert.equal(replies.length, 4000);
  replies.forEach(([error, reply], at) => {
    assert.equal(error, null);
    assert.equal(reply, at % 2 === 0 ? 'OK' : (at - 1) / 2 + 1);
  });
  const mixed = await redis.pipeline().set('text', 'x').incr('text').get('text').exec();
  assert.match(mixed[1][0].message, /not an integer/);
  assert.equal(mixed[2][1], 'x');
  const auto = open({ enableAutoPipelining: true });
  const sums = await Promise.all(numbers(300).map(() => auto.incr('auto')));
  assert.deepEqual(sums, numbers(300).map((number) => number + 1));
  auto.disconnect();
}

async function transactions(redis) {
  const done = await redis.multi().set('t', 1).incrby('t', 41).get('t').exec();
  assert.deepEqual(done, [[null, 'OK'], [null, 42], [null, '42']]);
  await refused(redis.multi().set('t').exec(), /EXECABORT/);
  const other = redis.duplicate();
  await redis.watch('t');
  await other.set('t', 'theirs');
  assert.equal(await redis.multi().set('t', 'ours').exec(), null);
  await refused(redis.multi({ pipeline: false }).then(() => redis.get('t')).then(() => redis.discard()).then(
    () => redis.lpush('t', 1)), /WRONGTYPE/);
  other.disconnect();
}

async function scripts(redis) {
  redis.defineCommand('limit', {
    numberOfKeys: 1,
    lua: "local n = redis.call('INCR', KEYS[1]) if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end " +
      "if n > tonumber(ARGV[1]) then return {0, n} end return {1, n}",
  });
  const taken = await Promise.all(numbers(20).map(() => redis.limit('limit:me', 7, 60000)));
  assert.equal(taken.filter(([allowed]) => allowed === 1).length, 7);
  await redis.script('FLUSH');
  const [[error, reply]] = await redis.pipeline().limit('limit:you', 1, 60000).exec();
  assert.deepEqual([error, reply], [null, [1, 1]]);
  await redis.function('LOAD', 'REPLACE', "#!lua name=io\nredis.register_function('twice', function(k, a) return a[1] * 2 end)");
  assert.equal(await redis.fcall('twice', 0, 21), 42);
}

async function values(redis) {
  const bytes = Buffer.from(numbers(1024).map((number) => number % 256));
  await redis.set('bytes', bytes);
  assert.ok(bytes.equals(await redis.getBuffer('bytes')));
  const prefixed = open({ keyPrefix: 'app:' });
  await prefixed.mset({ a: 1, b: 2 });
  await prefixed.sadd('set', 1, 2, 3);
  assert.equal(await prefixed.sort('set', 'DESC').then((found) => found.join()), '3,2,1');
  assert.equal(await redis.get('app:a'), '1');
  prefixed.disconnect();
  let keys = 0;
  for await (const some of redis.scanStream({ match: 'k:*', count: 100 })) keys += some.length;
  assert.equal(keys, 2000);
  await redis.hset('hash', Object.fromEntries(numbers(600).map((number) => [`f${number}`, number])));
  assert.equal(Object.keys(await redis.hgetall('hash')).length, 600);
  let fields = 0;
  for await (const some of redis.hscanStream('hash', { count: 70 })) fields += some.length / 2;
  assert.equal(fields, 600);
  assert.equal((await redis.zadd('z', 1.5, 'a', 2.5, 'b')), 2);
  assert.deepEqual(await redis.zrange('z', 0, -1, 'WITHSCORES'), ['a', '1.5', 'b', '2.5']);
}

async function waits(redis) {
  const takers = numbers(5).map(() => redis.duplicate());
  const jobs = takers.map((one) => one.blpop('high', 'low', 0));
  await eventually('five wait', async () => /blocked_clients:5\r/.test(await redis.info('clients')));
  await redis.pipeline().rpush('low', 0, 1).rpush('high', 2, 3, 4).exec();
  const found = (await Promise.all(jobs)).map(([, element]) => Number(element)).sort();
  assert.deepEqual(found, numbers(5));
  const ended = takers[0].xread('BLOCK', 0, 'STREAMS', 'events', '$');
  await eventually('it waits', async () => /blocked_clients:1\r/.test(await redis.info('clients')));
  const id = await redis.xadd('events', '*', 'what', 'now');
  assert.deepEqual(await ended, [['events', [[id, ['what', 'now']]]]]);
  takers.forEach((one) => one.disconnect());
}

async function messages(redis) {
  const subscriber = redis.duplicate();
  const seen = [];
  subscriber.on('message', (channel, message) => seen.push([channel, message]));
  subscriber.on('pmessage', (pattern, channel, message) => seen.push([pattern, channel, message]));
  assert.equal(await subscriber.subscribe('a', 'b'), 2);
  assert.equal(await subscriber.psubscribe('b*'), 3);
  const publishing = redis.pipeline();
  for (const number of numbers(30)) publishing.publish('ab'[number % 2], number);
  await publishing.exec();
  await eventually('all messages', () => seen.length === 45);
  assert.deepEqual(seen.filter((one) => one[0] === 'a').map((one) => Number(one[1])), numbers(15).map((n) => 2 * n));
  await refused(subscriber.get('x'), /subscriber mode|only/);
  await redis.client('KILL', 'TYPE', 'PUBSUB');
  await eventually('subscribed again', async () => await redis.publish('b', 'again') === 2);
  subscriber.disconnect();
}

async function watching(redis) {
  const looker = redis.duplicate();
  const monitor = await looker.monitor();
  const seen = [];
  monitor.on('monitor', (time, args) => seen.push(args.join(' ')));
  await redis.set('seen', 'by all');
  await eventually('MONITOR tells', () => seen.includes('set seen by all'));
  monitor.disconnect();
  looker.disconnect();
}

async function reconnecting(redis) {
  const victim = open({ db: 3 });
  await victim.set('where', 'db 3');
  for (const turn of numbers(5)) {
    await redis.client('KILL', 'ID', await victim.client('ID'));
    // Waits in the offline queue until there is a connection again, in its database.
    assert.equal(await victim.incr('turns'), turn + 1);
  }
  assert.equal(await victim.get('where'), 'db 3');
  victim.disconnect();
  const queued = open({ lazyConnect: true });
  const early = numbers(20).map((number) => queued.rpush('early', number));
  assert.deepEqual(await Promise.all(early), numbers(20).map((number) => number + 1));
  queued.disconnect();
}

run(async () => {
  for (const more of [{}, { path: process.env.SERVER_SOCKET }]) {
    const redis = open(more);
    await redis.flushall();
    for (const part of [pipelines, transactions, scripts, values, waits, messages, watching, reconnecting]) await part(redis);
    await redis.quit();
  }
});
