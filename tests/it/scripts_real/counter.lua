#!lua name=counter
local calls = 0
redis.register_function('ticket', function(keys, args)
  calls = calls + 1
  return calls
end)
