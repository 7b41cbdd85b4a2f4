local function text(value, depth)
if type(value) == "string" then
return (value:gsub("[^%w %.,;:#'()_-]", function(c) return string.format("\\%02x", c:byte()) end))
elseif type(value) == "number" then
return string.format("%.17g", value)
elseif type(value) == "table" then
if depth > 20 then return "deep" end
local parts = {}
for k, v in pairs(value) do
parts[#parts + 1] = text(k, depth + 1) .. "=" .. text(v, depth + 1)
end
return #value .. "{" .. table.concat(parts, ",") .. "}"
elseif type(value) == "function" then
return "function"
end
return tostring(value)
end
local function show(...)
local parts = {}
for i = 1, select("#", ...) do
parts[i] = text((select(i, ...)), 0)
end
return table.concat(parts, " ")
end
local function again(bytes)
return cmsgpack.pack(cmsgpack.unpack(bytes)), cmsgpack.unpack(bytes)
end
