// node-redis against Kivi: both protocols, automatic pipelines, MULTI with WATCH, pools, isolated blocking reads, pub/sub,
// scripts and functions, streams with groups, scan iterators, client-side caching, reconnecting after CLIENT KILL.
'use strict';

const { createClient, createClientPool, BasicClientSideCache, defineScript, WatchError } = require('redis');
const { assert, eventually, numbers, port, refused, run } = require('./check');

const transfer = defineScript({
  NUMBER_OF_KEYS: 2,
  SCRIPT: "redis.call('DECRBY', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[2], ARGV[1])",
  parseCommand(parser, from, to, amount) { parser.pushKeys([from, to]); parser.push(String(amount)); },
  transformReply: (reply) => reply,
});

const sockets = { 2: { host: '127.0.0.1', port }, 3: { path: process.env.SERVER_SOCKET } };
const options = (RESP) => ({ RESP, socket: sockets[RESP], scripts: { transfer } });

async function open(RESP, more = {}) {
  const client = createClient({ ...options(RESP), ...more });
  client.on('error', () => {});
  return client.connect();
}

async function types(client) {
  const done = await Promise.all(numbers(500).map((number) => client.set(`k:${number}`, `v${number}`)));
  assert.ok(done.every((one) => one === 'OK'));
  const found = await Promise.all(numbers(500).map((number) => client.get(`k:${number}`)));
  assert.deepEqual(found, numbers(500).map((number) => `v${number}`));
  assert.equal(await client.set('once', 1, { condition: 'NX', expiration: { type: 'PX', value: 60000 } }), 'OK');
  assert.equal(await client.set('once', 2, { condition: 'NX' }), null);
  await client.hSet('hash', { a: '1', b: '2' });
  assert.deepEqual({ ...(await client.hGetAll('hash')) }, { a: '1', b: '2' });
  assert.deepEqual(await client.hExpire('hash', 'a', 100), [1]);
  await client.zAdd('zset', numbers(10).map((number) => ({ value: `m${number}`, score: number / 4 })));
  assert.deepEqual(await client.zRangeWithScores('zset', 8, 9), [{ value: 'm8', score: 2 }, { value: 'm9', score: 2.25 }]);
  assert.deepEqual(await client.zPopMin('zset'), { value: 'm0', score: 0 });
  await client.geoAdd('geo', [{ longitude: 13.361389, latitude: 38.115556, member: 'Palermo' }]);
  assert.equal((await client.geoPos('geo', 'Palermo')).length, 1);
  await client.pfAdd('hll', ['a', 'b', 'c']);
  assert.equal(await client.pfCount('hll'), 3);
  const big = 'x'.repeat(3 << 20);
  await client.set('big', big);
  assert.equal(await client.get('big'), big);
  await refused(client.lPush('once', 'x'), /WRONGTYPE/);
  let keys = 0;
  for await (const some of client.scanIterator({ MATCH: 'k:*', COUNT: 50 })) keys += some.length;
  assert.equal(keys, 500);
}

async function transactions(client, pool) {
  const replies = await client.multi().set('t', '1').incr('t').get('t').exec();
  assert.deepEqual(replies.map(String), ['OK', '2', '2']);
  await refused(client.multi().addCommand(['NOSUCH', 'x']).exec(), /unknown command|aborted/i);
  let lost = 0;
  const increment = () => pool.execute(async (one) => {
    for (;;) {
      await one.watch('counter');
      const value = Number(await one.get('counter'));
      try { await one.multi().set('counter', value + 1).exec(); return; } catch (error) {
        if (!(error instanceof WatchError)) throw error;
        lost += 1;
      }
    }
  });
  await Promise.all(numbers(60).map(increment));
  assert.equal(await client.get('counter'), '60');
  return lost;
}

async function waits(client, pool) {
  const jobs = numbers(6).map(() => pool.blPop('jobs', 60));
  await eventually('six wait', async () => /blocked_clients:6\r/.test(await client.info('clients')));
  await client.rPush('jobs', numbers(6).map(String));
  const found = (await Promise.all(jobs)).map((one) => Number(one.element)).sort();
  assert.deepEqual(found, numbers(6));
  assert.equal(await pool.blPop('jobs', 0.02), null);
}

async function messages(client, RESP) {
  const subscriber = await open(RESP);
  const seen = [];
  const patterns = [];
  const binary = [];
  await subscriber.subscribe('news', (message) => seen.push(message));
  await subscriber.pSubscribe('new*', (message, channel) => patterns.push([channel, message]));
  await subscriber.subscribe('bytes', (message) => binary.push(message), true);
  for (const number of numbers(40)) assert.equal(await client.publish('news', String(number)), 2);
  await client.publish('bytes', Buffer.from([0, 255, 13, 10]));
  await eventually('all messages', () => seen.length === 40 && patterns.length === 40 && binary.length === 1);
  assert.deepEqual(seen, numbers(40).map(String));
  assert.deepEqual([...binary[0]], [0, 255, 13, 10]);
  // It subscribes again by itself after its connection was killed.
  await client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'PUBSUB']);
  await eventually('subscribed again', async () => await client.publish('news', 'again') === 2);
  await eventually('heard again', () => seen.at(-1) === 'again');
  await subscriber.unsubscribe('news');
  assert.equal(await client.publish('news', 'nobody'), 1);
  subscriber.destroy();
}

async function scripts(client) {
  await client.mSet({ from: '100', to: '0' });
  assert.equal(await client.transfer('from', 'to', 30), 30);
  await client.scriptFlush();
  assert.equal(await client.transfer('from', 'to', 30), 60);
  await client.functionLoad("#!lua name=js\nredis.register_function('twice', function(k, a) return a[1] * 2 end)", { REPLACE: true });
  assert.equal(await client.fCall('twice', { keys: [], arguments: ['21'] }), 42);
  await refused(client.eval("return redis.error_reply('MINE no')"), /MINE no/);
}

async function streams(client, pool) {
  await client.xGroupCreate('stream', 'group', '0', { MKSTREAM: true });
  await Promise.all(numbers(40).map((number) => client.xAdd('stream', '*', { number: String(number) })));
  const done = [];
  await Promise.all(numbers(3).map(async (worker) => {
    for (;;) {
      const read = await pool.xReadGroup('group', `w${worker}`, { key: 'stream', id: '>' }, { COUNT: 4, BLOCK: 20 });
      if (!read) return;
      const found = Array.isArray(read) ? read[0].messages : Object.values(read)[0];
      for (const { id, message } of found) {
        done.push(Number(message.number));
        assert.equal(await client.xAck('stream', 'group', id), 1);
      }
    }
  }));
  assert.deepEqual(done.sort((a, b) => a - b), numbers(40));
}

async function caching() {
  const cache = new BasicClientSideCache({ maxEntries: 100 });
  const reader = await open(3, { clientSideCache: cache });
  const writer = await open(3);
  for (const turn of numbers(30)) {
    await writer.set('cached', String(turn));
    await eventually('the cache hears of it', async () => await reader.get('cached') === String(turn));
    assert.equal(await reader.get('cached'), String(turn));
  }
  assert.ok(cache.stats().hitCount > 0, 'nothing comes out of the cache');
  reader.destroy();
  writer.destroy();
}

async function reconnecting(client, RESP) {
  const victim = await open(RESP);
  for (const turn of numbers(5)) {
    await client.sendCommand(['CLIENT', 'KILL', 'ID', String(await victim.clientId())]);
    await eventually('it works again', () => victim.set('survived', String(turn)).then(() => true, () => false));
  }
  assert.equal(await client.get('survived'), '4');
  victim.destroy();
}

run(async () => {
  for (const RESP of [2, 3]) {
    const client = await open(RESP);
    const pool = await createClientPool(options(RESP), { minimum: 1, maximum: 10 }).connect();
    await client.flushAll();
    await types(client);
    await transactions(client, pool);
    await waits(client, pool);
    await messages(client, RESP);
    await scripts(client);
    await streams(client, pool);
    await reconnecting(client, RESP);
    await pool.close();
    await client.close();
  }
  await caching();
});
