-- Scripts as applications have them; each begins with a line `-- @ name`.

-- @ lock
-- A lock with a token. KEYS: lock. ARGV: token, milliseconds.
if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return 1
end
return 0

-- @ unlock
-- KEYS: lock. ARGV: token.
if redis.call("get", KEYS[1]) == ARGV[1] then
  return redis.call("del", KEYS[1])
else
  return 0
end

-- @ renew
-- KEYS: lock. ARGV: token, milliseconds.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.error_reply('LOCKLOST ' .. ARGV[1])

-- @ reentrant_lock
-- A lock that its owner may take again. KEYS: lock. ARGV: milliseconds, owner.
if (redis.call('exists', KEYS[1]) == 0) or (redis.call('hexists', KEYS[1], ARGV[2]) == 1) then
  redis.call('hincrby', KEYS[1], ARGV[2], 1)
  redis.call('pexpire', KEYS[1], ARGV[1])
  return nil
end
return redis.call('pttl', KEYS[1]) > 0

-- @ reentrant_unlock
-- KEYS: lock, channel. ARGV: message, milliseconds, owner.
if (redis.call('hexists', KEYS[1], ARGV[3]) == 0) then
  return nil
end
local counter = redis.call('hincrby', KEYS[1], ARGV[3], -1)
if (counter > 0) then
  redis.call('pexpire', KEYS[1], ARGV[2])
  return 0
else
  redis.call('del', KEYS[1])
  redis.call('publish', KEYS[2], ARGV[1])
  return 1
end

-- @ read_lock
-- A lock of many readers or one writer. KEYS: lock. ARGV: milliseconds, owner.
local mode = redis.call('hget', KEYS[1], 'mode')
if (mode == false) then
  redis.call('hset', KEYS[1], 'mode', 'read')
  redis.call('hset', KEYS[1], ARGV[2], 1)
  redis.call('pexpire', KEYS[1], ARGV[1])
  return nil
end
if (mode == 'read') or (mode == 'write' and redis.call('hexists', KEYS[1], ARGV[2] .. ':write') == 1) then
  local ind = redis.call('hincrby', KEYS[1], ARGV[2], 1)
  local key = KEYS[1] .. ':' .. ARGV[2] .. ':rwlock_timeout:' .. ind
  redis.call('set', key, 1, 'PX', ARGV[1])
  local remain = redis.call('pttl', KEYS[1])
  redis.call('pexpire', KEYS[1], math.max(remain, ARGV[1]))
  return nil
end
return mode

-- @ write_lock
-- KEYS: lock. ARGV: milliseconds, owner.
local mode = redis.call('hget', KEYS[1], 'mode')
if (mode == false) then
  redis.call('hmset', KEYS[1], 'mode', 'write', ARGV[2] .. ':write', 1)
  redis.call('pexpire', KEYS[1], ARGV[1])
  return nil
end
return {mode, redis.call('hlen', KEYS[1])}

-- @ semaphore
-- As many holders as there are permits. KEYS: permits. ARGV: owner, limit, now, milliseconds.
redis.call('zremrangebyscore', KEYS[1], '-inf', ARGV[3] - ARGV[4])
if redis.call('zcard', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('zadd', KEYS[1], ARGV[3], ARGV[1])
  return redis.call('zrank', KEYS[1], ARGV[1])
end
return false

-- @ limit_window
-- So many requests in a window. KEYS: counter. ARGV: limit, milliseconds.
local current = redis.call('INCR', KEYS[1])
if current == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if current > tonumber(ARGV[1]) then
  return {0, 0}
end
return {1, tonumber(ARGV[1]) - current}

-- @ limit_sliding
-- The same, in any window of this length. KEYS: log. ARGV: limit, milliseconds, now, request.
local limit, window, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - window)
local count = redis.call('ZCARD', KEYS[1])
if count < limit then
  redis.call('ZADD', KEYS[1], now, ARGV[4])
  redis.call('PEXPIRE', KEYS[1], window + 600000)
  return {1, limit - count - 1, '0'}
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {0, 0, tostring(oldest[2] + window - now)}

-- @ limit_bucket
-- Tokens that come back. KEYS: tokens, timestamp. ARGV: rate, capacity, now, requested.
local tokens_key = KEYS[1]
local timestamp_key = KEYS[2]
local rate = tonumber(ARGV[1])
local capacity = tonumber(ARGV[2])
local now = tonumber(ARGV[3])
local requested = tonumber(ARGV[4])
local fill_time = capacity / rate
local ttl = math.floor(fill_time * 2)
local last_tokens = tonumber(redis.call("get", tokens_key))
if last_tokens == nil then
  last_tokens = capacity
end
local last_refreshed = tonumber(redis.call("get", timestamp_key))
if last_refreshed == nil then
  last_refreshed = 0
end
local delta = math.max(0, now - last_refreshed)
local filled_tokens = math.min(capacity, last_tokens + (delta * rate))
local allowed = filled_tokens >= requested
local new_tokens = filled_tokens
local allowed_num = 0
if allowed then
  new_tokens = filled_tokens - requested
  allowed_num = 1
end
if ttl > 0 then
  redis.call("setex", tokens_key, ttl + 1000, new_tokens)
  redis.call("setex", timestamp_key, ttl + 1000, now)
end
return { allowed_num, new_tokens, tostring(new_tokens) }

-- @ limit_cell
-- A leaky bucket in one hash. KEYS: bucket. ARGV: capacity, leak per ms, now.
local bucket = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(bucket[1] or 0), tonumber(bucket[2] or ARGV[3])
level = math.max(0, level - (ARGV[3] - at) * ARGV[2])
local verdict = redis.status_reply('LIMITED')
if level + 1 <= tonumber(ARGV[1]) then
  level = level + 1
  verdict = {ok = 'ALLOWED'}
end
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', ARGV[3])
return verdict

-- @ queue_add
-- A job. KEYS: wait, delayed, prioritized, id, events, counter.
-- ARGV: prefix, name, data, now, delay, priority, position.
local id = redis.call('INCR', KEYS[4])
local job = ARGV[1] .. ':' .. id
local delay, priority = tonumber(ARGV[5]), tonumber(ARGV[6])
redis.call('HMSET', job, 'name', ARGV[2], 'data', ARGV[3], 'timestamp', ARGV[4], 'delay', delay,
  'priority', priority)
redis.call('XADD', KEYS[5], 'MAXLEN', '~', '1000', ARGV[4] .. '-*', 'event', 'added', 'jobId', id, 'name', ARGV[2])
if delay > 0 then
  local score = (tonumber(ARGV[4]) + delay) * 0x1000 + bit.band(id, 0xfff)
  redis.call('ZADD', KEYS[2], score, id)
  redis.call('XADD', KEYS[5], ARGV[4] .. '-*', 'event', 'delayed', 'jobId', id)
elseif priority > 0 then
  local counter = redis.call('INCR', KEYS[6])
  redis.call('ZADD', KEYS[3], priority * 0x100000000 + bit.band(counter, 0xffffffffffff), id)
else
  local push = ARGV[7] == 'lifo' and 'RPUSH' or 'LPUSH'
  redis.call(push, KEYS[1], id)
end
return tostring(id)

-- @ queue_take
-- The next job to work on. KEYS: wait, active, prioritized, delayed, events.
-- ARGV: prefix, now, token, milliseconds.
local function promote(delayedKey, waitKey, priorityKey)
  local due = redis.call('ZRANGEBYSCORE', delayedKey, 0, (ARGV[2] + 1) * 0x1000 - 1, 'LIMIT', 0, 1000)
  if #due > 0 then
    redis.call('ZREM', delayedKey, unpack(due))
    for _, id in ipairs(due) do
      local job = ARGV[1] .. ':' .. id
      local priority = tonumber(redis.call('HGET', job, 'priority')) or 0
      if priority == 0 then
        redis.call('LPUSH', waitKey, id)
      else
        redis.call('ZADD', priorityKey, priority * 0x100000000, id)
      end
      redis.call('HSET', job, 'delay', 0)
      redis.call('XADD', KEYS[5], ARGV[2] .. '-*', 'event', 'waiting', 'jobId', id, 'prev', 'delayed')
    end
  end
end
promote(KEYS[4], KEYS[1], KEYS[3])
local id = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
if not id then
  local popped = redis.call('ZPOPMIN', KEYS[3])
  if #popped == 0 then
    local next = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
    if next[2] then
      return {0, 0, math.floor(next[2] / 0x1000)}
    end
    return {0, 0, 0}
  end
  id = popped[1]
  redis.call('LPUSH', KEYS[2], id)
end
local job = ARGV[1] .. ':' .. id
if redis.call('EXISTS', job) == 0 then
  return redis.error_reply('ERR no job ' .. id)
end
redis.call('SET', job .. ':lock', ARGV[3], 'PX', ARGV[4])
redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSET', job, 'processedOn', ARGV[2])
redis.call('XADD', KEYS[5], ARGV[2] .. '-*', 'event', 'active', 'jobId', id)
return {redis.call('HMGET', job, 'name', 'data', 'priority', 'attempts'), id}

-- @ queue_finish
-- A job is done, or has failed. KEYS: active, completed, failed, delayed, events.
-- ARGV: prefix, id, token, now, result, outcome, attempts, backoff, keep.
local prefix, id, now = ARGV[1], ARGV[2], tonumber(ARGV[4])
local job = prefix .. ':' .. id
local rcall = redis.call
if rcall('EXISTS', job) ~= 1 then
  return -1
end
local lock = job .. ':lock'
if rcall('GET', lock) ~= ARGV[3] then
  return -2
end
rcall('DEL', lock)
if rcall('LREM', KEYS[1], -1, id) < 1 then
  return -3
end
if ARGV[6] == 'completed' then
  rcall('ZADD', KEYS[2], now, id)
  rcall('HMSET', job, 'returnvalue', ARGV[5], 'finishedOn', now)
  local old = rcall('ZRANGE', KEYS[2], 0, -(tonumber(ARGV[9]) + 1))
  for i = 1, #old, 100 do
    local names = {}
    for j = i, math.min(i + 99, #old) do
      names[#names + 1] = prefix .. ':' .. old[j]
    end
    rcall('DEL', unpack(names))
  end
  if #old > 0 then
    rcall('ZREMRANGEBYRANK', KEYS[2], 0, #old - 1)
  end
elseif tonumber(rcall('HGET', job, 'attempts')) < tonumber(ARGV[7]) then
  rcall('ZADD', KEYS[4], (now + ARGV[8]) * 0x1000 + bit.band(id, 0xfff), id)
  rcall('HSET', job, 'delay', ARGV[8])
else
  rcall('ZADD', KEYS[3], now, id)
  rcall('HMSET', job, 'failedReason', ARGV[5], 'finishedOn', now)
end
rcall('XADD', KEYS[5], ARGV[4] .. '-*', 'event', ARGV[6], 'jobId', id)
return 0

-- @ queue_stalled
-- Jobs whose workers are gone come back. KEYS: active, wait, events. ARGV: prefix, now.
local back = {}
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if redis.call('EXISTS', ARGV[1] .. ':' .. id .. ':lock') == 0 then
    redis.call('LREM', KEYS[1], 1, id)
    redis.call('RPUSH', KEYS[2], id)
    redis.call('HINCRBY', ARGV[1] .. ':' .. id, 'stalled', 1)
    redis.call('XADD', KEYS[3], ARGV[2] .. '-*', 'event', 'stalled', 'jobId', id)
    table.insert(back, id)
  end
end
return back

-- @ queue_counts
-- How many jobs there are. KEYS: any.
local counts = {}
for i = 1, #KEYS do
  local kind = redis.call('TYPE', KEYS[i])
  if type(kind) == 'table' then kind = kind.ok end
  if kind == 'list' then
    counts[#counts + 1] = redis.call('LLEN', KEYS[i])
  elseif kind == 'zset' then
    counts[#counts + 1] = redis.call('ZCARD', KEYS[i])
  elseif kind == 'stream' then
    counts[#counts + 1] = redis.call('XLEN', KEYS[i])
  else
    counts[#counts + 1] = 0
  end
end
return counts

-- @ queue_obliterate
-- Some of all jobs are removed. KEYS: wait, prioritized. ARGV: prefix, count.
local removed = 0
local function removeAll(ids)
  for i = 1, #ids do
    removed = removed + redis.call('DEL', ARGV[1] .. ':' .. ids[i], ARGV[1] .. ':' .. ids[i] .. ':lock')
  end
end
removeAll(redis.call('LRANGE', KEYS[1], 0, ARGV[2] - 1))
redis.call('LTRIM', KEYS[1], ARGV[2], -1)
repeat
  local some = redis.call('ZRANGE', KEYS[2], 0, 1)
  if #some == 0 then break end
  removeAll(some)
  redis.call('ZREM', KEYS[2], unpack(some))
until removed >= tonumber(ARGV[2])
return removed

-- @ zpop
-- The next scheduled job that is due. KEYS: schedule. ARGV: now.
local key, now = KEYS[1], ARGV[1]
local jobs = redis.call("zrange", key, "-inf", now, "byscore", "limit", 0, 1)
if jobs[1] then
  redis.call("zrem", key, jobs[1])
  return jobs[1]
end

-- @ push_batch
-- KEYS: queue, queues. ARGV: name, jobs.
redis.call('sadd', KEYS[2], ARGV[1])
return redis.call('lpush', KEYS[1], unpack(ARGV, 2))

-- @ reserve
-- The next job, which is kept until it is done. KEYS: queue, reserved, notify. ARGV: available at.
local job = redis.call('lpop', KEYS[1])
local reserved = false
if (job ~= false) then
  reserved = cjson.decode(job)
  reserved['attempts'] = reserved['attempts'] + 1
  reserved = cjson.encode(reserved)
  redis.call('zadd', KEYS[2], ARGV[1], reserved)
  redis.call('lpop', KEYS[3])
end
return {job, reserved}

-- @ migrate
-- Jobs that are due go from one to the other. KEYS: from, to, notify. ARGV: now, limit.
local val = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[1], 'limit', 0, ARGV[2])
if (next(val) ~= nil) then
  redis.call('zremrangebyrank', KEYS[1], 0, #val - 1)
  for i = 1, #val, 100 do
    redis.call('rpush', KEYS[2], unpack(val, i, math.min(i + 99, #val)))
    for j = i, math.min(i + 99, #val) do
      redis.call('rpush', KEYS[3], 1)
    end
  end
end
return val

-- @ release
-- KEYS: delayed, reserved. ARGV: job, available at.
redis.call('zrem', KEYS[2], ARGV[1])
redis.call('zadd', KEYS[1], ARGV[2], ARGV[1])
return true

-- @ size
-- KEYS: queue, delayed, reserved.
return redis.call('llen', KEYS[1]) + redis.call('zcard', KEYS[2]) + redis.call('zcard', KEYS[3])

-- @ transfer
-- KEYS: from, to. ARGV: amount.
local balance = tonumber(redis.call('GET', KEYS[1]) or 0)
local amount = tonumber(ARGV[1])
if balance < amount then
  return redis.error_reply('POOR ' .. balance)
end
redis.call('DECRBY', KEYS[1], amount)
redis.call('INCRBY', KEYS[2], amount)
return balance - amount

-- @ audit
-- The sum of all. KEYS: accounts.
local sum = 0
for _, key in ipairs(KEYS) do
  sum = sum + (redis.call('GET', key) or 0)
end
return sum

-- @ audit_any
-- The same of accounts that are not declared. ARGV: prefix, count.
local sum = 0
for i = 0, ARGV[2] - 1 do
  sum = sum + (redis.call('GET', ARGV[1] .. i) or 0)
end
return sum

-- @ checkout
-- All of a cart or nothing. KEYS: stock of each. ARGV: how many of each.
for i, key in ipairs(KEYS) do
  local left = tonumber(redis.call('GET', key)) or 0
  if left < tonumber(ARGV[i]) then
    return {err = 'OUTOFSTOCK ' .. key}
  end
end
for i, key in ipairs(KEYS) do
  redis.call('DECRBY', key, ARGV[i])
end
return #KEYS

-- @ session
-- A session is packed. KEYS: session. ARGV: value, seconds.
local packed = redis.call('GET', KEYS[1])
local values = packed and cmsgpack.unpack(packed) or {}
values[#values + 1] = ARGV[1]
if #values > 20 then
  table.remove(values, 1)
end
redis.call('SETEX', KEYS[1], ARGV[2], cmsgpack.pack(values))
return {#values, values[1], struct.unpack('>I2', struct.pack('>I2', #values))}

-- @ leaderboard
-- KEYS: board, names. ARGV: player, points.
local score = redis.call('ZINCRBY', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSETNX', KEYS[2], ARGV[1], 'player ' .. ARGV[1])
local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
local around = redis.call('ZREVRANGE', KEYS[1], math.max(0, rank - 1), rank + 1, 'WITHSCORES')
return {score, rank, around, redis.call('HGET', KEYS[2], ARGV[1])}

-- @ dedupe
-- Only what is new. KEYS: seen. ARGV: items.
local fresh = {}
for i, item in ipairs(ARGV) do
  if redis.call('SADD', KEYS[1], redis.sha1hex(item)) == 1 then
    fresh[#fresh + 1] = item
  end
end
return fresh

-- @ restore
-- What was taken and not acknowledged comes back. KEYS: unacked, index, queue. ARGV: until.
local tags = redis.call('ZRANGEBYSCORE', KEYS[2], 0, ARGV[1], 'LIMIT', 0, 10)
for i = #tags, 1, -1 do
  local message = redis.call('HGET', KEYS[1], tags[i])
  if message then
    redis.call('RPUSH', KEYS[3], message)
    redis.call('HDEL', KEYS[1], tags[i])
  end
  redis.call('ZREM', KEYS[2], tags[i])
end
return #tags

-- @ deliver
-- KEYS: unacked, index, queue. ARGV: tag, now.
local message = redis.call('LPOP', KEYS[3])
if not message then return nil end
redis.call('HSET', KEYS[1], ARGV[1], message)
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return message

-- @ acknowledge
-- KEYS: unacked, index. ARGV: tag.
return redis.call('ZREM', KEYS[2], ARGV[1]) + redis.call('HDEL', KEYS[1], ARGV[1])
