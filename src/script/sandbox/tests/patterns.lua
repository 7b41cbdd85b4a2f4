local seed = SEED
local function draw(n) seed = (seed * 1103515245 + 12345) % 2147483648 return math.floor(seed / 65536) % n + 1 end
local items = {'a', 'b', 'c', '.', '%a', '%d', '%A', '%s', '%w', '%p', '%x', '%z', '%c', '%l', '%u', '[ab]', '[^a]', '[a-c]', '[%d%s]', '[^%w]', '[]]', '[a-]', '[^]b]', '(', ')', '()', '%1', '%2', '%b()', '%bab', '%f[a]', '%f[%w]', '$', '^', '%%', '%.', ' ', '1', '(a)', '(.)', '(.-)', '([^,]*)', ','}
local counts = {'', '', '', '', '*', '+', '-', '?'}
local letters = {'a', 'b', 'c', 'A', '1', '2', ' ', '(', ')', ',', '\0', '\n', '\200', '-', ']'}
local odd = {'[', '%', '[a', '[^', '%f', '%b', '%b(', '[%', '%9', '%0', '(', ')', '\0'}
local function text(n) local r = {} for i = 1, draw(n) - 1 do r[i] = letters[draw(#letters)] end return table.concat(r) end
local function pattern() local r = {} if draw(8) == 1 then r[1] = '^' end for i = 1, draw(5) - 1 do r[#r + 1] = items[draw(#items)] .. counts[draw(#counts)] end if draw(12) == 1 then r[#r + 1] = odd[draw(#odd)] end if draw(6) == 1 then r[#r + 1] = '$' end return table.concat(r) end
local values = {'x', '<%0>', '%1', '[%1%2]', '%', '%%', '', 'y%', {a = 'A', b = false, c = 12}, {}, {a = {}}, function(a) return a end, function(a, b) return b end, function() end, function(a) return a == 'a' and 'z' end, function() return {} end, 5, true}
local lines = {}
local function note(...) local r = {} for i = 1, select('#', ...) do r[i] = tostring((select(i, ...))) end lines[#lines + 1] = table.concat(r, '|') end
for i = 1, 100 do
  local s, p = text(14), pattern()
  local kind = draw(6)
  if kind == 1 then note(i, pcall(string.find, s, p))
  elseif kind == 2 then note(i, pcall(string.find, s, p, draw(30) - 15))
  elseif kind == 3 then note(i, pcall(string.match, s, p, draw(6) - 3))
  elseif kind == 4 then note(i, pcall(string.gsub, s, p, values[draw(#values)], draw(3) == 1 and draw(3) - 1 or nil))
  elseif kind == 5 then note(i, pcall(function() local r, n = {}, 0 for a, b in string.gmatch(s, p) do n = n + 1 r[#r + 1] = tostring(a) .. ',' .. tostring(b) if n > 40 then break end end return table.concat(r, ';') end))
  else note(i, pcall(string.find, s, p, draw(5), draw(2) == 1)) end
end
