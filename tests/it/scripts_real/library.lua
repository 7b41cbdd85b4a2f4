#!lua name=applications
local MAX = 100
local kinds = {list = 'LLEN', zset = 'ZCARD', set = 'SCARD', hash = 'HLEN'}

local function count(key)
  local kind = redis.call('TYPE', key).ok
  local command = kinds[kind]
  return command and redis.call(command, key) or 0
end

local function hset(keys, args)
  return redis.call('HSET', keys[1], args[1], args[2])
end

redis.register_function('hset', hset)

redis.register_function('push_capped', function(keys, args)
  local len = redis.call('RPUSH', keys[1], unpack(args))
  if len > MAX then
    redis.call('LTRIM', keys[1], -MAX, -1)
    return MAX
  end
  return len
end)

redis.register_function{
  function_name = 'sizes',
  description = 'how many elements there are',
  callback = function(keys)
    local sizes = {}
    for i, key in ipairs(keys) do
      sizes[i] = count(key)
    end
    return sizes
  end,
  flags = {'no-writes'}
}

redis.register_function('transfer', function(keys, args)
  local balance = tonumber(redis.call('GET', keys[1]) or '0')
  if balance < tonumber(args[1]) then
    return redis.error_reply('POOR ' .. balance)
  end
  redis.call('DECRBY', keys[1], args[1])
  return redis.call('INCRBY', keys[2], args[1])
end)
