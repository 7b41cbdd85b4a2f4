local function show(v)
  local kind = type(v)
  if kind == 'number' then return string.format('%.17g', v) end
  if kind == 'string' then
    return '"' .. string.gsub(v, '[%z\001-\031"\\\127-\255]', function(c) return string.format('\\%03d', string.byte(c)) end) .. '"'
  end
  if kind == 'userdata' then return v == cjson.null and 'null' or 'userdata' end
  if kind ~= 'table' then return tostring(v) end
  local parts = {}
  for key, value in pairs(v) do parts[#parts + 1] = show(key) .. '=' .. show(value) end
  table.sort(parts)
  return '{' .. table.concat(parts, ' ') .. '}'
end
local function all(ok, ...)
  local parts = {ok and '' or '!'}
  for i = 1, select('#', ...) do parts[#parts + 1] = show((select(i, ...))) end
  return table.concat(parts, ' ')
end
cjson.encode_sparse_array(false, 2, 10)
cjson.encode_max_depth(1000)
cjson.decode_max_depth(1000)
cjson.encode_number_precision(14)
cjson.encode_keep_buffer(true)
cjson.encode_invalid_numbers(false)
cjson.decode_invalid_numbers(true)
return all(pcall(function() BODY end))
