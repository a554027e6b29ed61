-- JSON, and bytes that are no text. Called by waft.lua.

local raise, wanted = ...
-- Lists and objects in each other.
local DEPTH_MAX = 128
local data = {}

local null = setmetatable({}, { __tostring = function() return "null" end, __name = "waft.null" })
local Array = { __name = "waft.array" }

--- JSON's null: a field that is nil is not there.
data.null = null
--- A table that is a list in JSON, also when it is empty.
function data.array(list) return setmetatable(list or {}, Array) end

local ESCAPES = {
    ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}

local function quoted(text)
    local _, bad = utf8.len(text)
    if bad then raise("waft.json", "a text that is no UTF-8 has no JSON: byte " .. bad .. " of " .. #text) end
    return '"' .. text:gsub('[%c"\\]', function(c)
        return ESCAPES[c] or ("\\u%04x"):format(c:byte())
    end) .. '"'
end

local function number(value)
    if math.type(value) == "integer" then return tostring(value) end
    if value ~= value or value == math.huge or value == -math.huge then
        raise("waft.json", tostring(value) .. " has no JSON")
    end
    for _, format in ipairs { "%.14g", "%.16g", "%.17g" } do
        local text = format:format(value)
        if tonumber(text) == value then return text:find("[.e]") and text or text .. ".0" end
    end
end

local encode

-- How many elements: nil when it is an object.
local function length_of_list(value)
    local count, names = 0, false
    for key in next, value do
        count = count + 1
        names = names or math.type(key) ~= "integer"
    end
    local marked = getmetatable(value) == Array
    if count == 0 then return marked and 0 or nil end
    if names and not marked and rawget(value, 1) == nil then return nil end
    for at = 1, count do
        if rawget(value, at) == nil then
            raise("waft.json", "a table with a hole, or with names beside numbers, has no JSON"
                .. " (waft.null stands for what is missing)")
        end
    end
    return count
end

local function encode_table(value, depth)
    if depth > DEPTH_MAX then raise("waft.json", "tables that are in each other more than " .. DEPTH_MAX .. " deep") end
    local parts, length = {}, length_of_list(value)
    if length then
        for at = 1, length do parts[at] = encode(rawget(value, at), depth) end
        return "[" .. table.concat(parts, ",") .. "]"
    end
    local names = {}
    for key in next, value do
        if type(key) ~= "string" then raise("waft.json", "the key " .. tostring(key) .. " of an object is no text") end
        names[#names + 1] = key
    end
    table.sort(names)
    for at, key in ipairs(names) do parts[at] = quoted(key) .. ":" .. encode(rawget(value, key), depth) end
    return "{" .. table.concat(parts, ",") .. "}"
end

function encode(value, depth)
    local kind = type(value)
    if value == nil or value == null then return "null" end
    if kind == "string" then return quoted(value) end
    if kind == "number" then return number(value) end
    if kind == "boolean" then return tostring(value) end
    if kind == "table" then return encode_table(value, depth + 1) end
    raise("waft.json", "a " .. kind .. " has no JSON")
end

--- JSON of a value.
function data.encode(value) return encode(value, 0) end

local decode_value

local function no_json(text, at)
    raise("waft.json", "this is no JSON: byte " .. at .. " of " .. #text)
end

local function skipped(text, at) return text:find("[^ \t\r\n]", at) or #text + 1 end

local UNESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function decode_text(text, at)
    local parts = {}
    at = at + 1
    while true do
        local stop = text:find('["\\%c]', at)
        local sign = stop and text:sub(stop, stop)
        if not stop or sign ~= '"' and sign ~= "\\" and sign ~= "\127" then no_json(text, stop or #text + 1) end
        parts[#parts + 1] = text:sub(at, sign == "\127" and stop or stop - 1)
        at = stop + 1
        if sign == '"' then return table.concat(parts), at end
        if sign == "\\" then
            local letter = text:sub(at, at)
            local hex = letter == "u" and text:match("^%x%x%x%x", at + 1)
            if hex then
                local code = tonumber(hex, 16)
                at = at + 5
                local low = code >= 0xD800 and code < 0xDC00 and text:match("^\\u([dD][c-fC-F]%x%x)", at)
                if low then
                    code = 0x10000 + (code - 0xD800) * 0x400 + (tonumber(low, 16) - 0xDC00)
                    at = at + 6
                elseif code >= 0xD800 and code < 0xE000 then
                    -- Half of a pair is no character.
                    code = 0xFFFD
                end
                parts[#parts + 1] = utf8.char(code)
            else
                parts[#parts + 1] = UNESCAPES[letter] or no_json(text, at)
                at = at + 1
            end
        end
    end
end

local function decode_list(text, at, depth)
    local list, length = data.array(), 0
    at = skipped(text, at + 1)
    if text:sub(at, at) == "]" then return list, at + 1 end
    while true do
        length = length + 1
        list[length], at = decode_value(text, at, depth)
        at = skipped(text, at)
        local sign = text:sub(at, at)
        if sign == "]" then return list, at + 1 end
        if sign ~= "," then no_json(text, at) end
        at = skipped(text, at + 1)
    end
end

local function decode_object(text, at, depth)
    local object = {}
    at = skipped(text, at + 1)
    if text:sub(at, at) == "}" then return object, at + 1 end
    while true do
        if text:sub(at, at) ~= '"' then no_json(text, at) end
        local key, value
        key, at = decode_text(text, at)
        at = skipped(text, at)
        if text:sub(at, at) ~= ":" then no_json(text, at) end
        value, at = decode_value(text, skipped(text, at + 1), depth)
        -- A field that is null is as good as none.
        if value ~= null then object[key] = value end
        at = skipped(text, at)
        local sign = text:sub(at, at)
        if sign == "}" then return object, at + 1 end
        if sign ~= "," then no_json(text, at) end
        at = skipped(text, at + 1)
    end
end

local WORDS = { ["true"] = true, ["false"] = false, null = null }

function decode_value(text, at, depth)
    local sign = text:sub(at, at)
    if depth > DEPTH_MAX then raise("waft.json", "JSON that is more than " .. DEPTH_MAX .. " deep") end
    if sign == '"' then return decode_text(text, at) end
    if sign == "{" then return decode_object(text, at, depth + 1) end
    if sign == "[" then return decode_list(text, at, depth + 1) end
    local word = text:match("^%l+", at)
    if word and WORDS[word] ~= nil then return WORDS[word], at + #word end
    local digits = text:match("^-?%d+", at)
    if not digits or digits:find("^-?0%d") then no_json(text, at) end
    local rest = text:match("^%.%d+", at + #digits) or ""
    rest = rest .. (text:match("^[eE][+-]?%d+", at + #digits + #rest) or "")
    return tonumber(digits .. rest), at + #digits + #rest
end

--- The value of a JSON text. null is nil as a field of an object, and waft.null elsewhere.
function data.decode(text)
    wanted(text, "string", "JSON")
    local value, at = decode_value(text, skipped(text, 1), 0)
    at = skipped(text, at)
    if at <= #text then no_json(text, at) end
    return value
end

---- bytes that are no text

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local VALUES = {}
for at = 1, #DIGITS do VALUES[DIGITS:byte(at)] = at - 1 end

function data.to_base64(bytes)
    local text = bytes:gsub("..?.?", function(three)
        local a, b, c = three:byte(1, 3)
        local all = a << 16 | (b or 0) << 8 | (c or 0)
        local function digit(shift) return DIGITS:sub((all >> shift & 63) + 1, (all >> shift & 63) + 1) end
        return digit(18) .. digit(12) .. (b and digit(6) or "=") .. (c and digit(0) or "=")
    end)
    return text
end

function data.from_base64(text)
    local parts = {}
    for four in text:gmatch("....") do
        local a, b, c, d = four:byte(1, 4)
        local all = VALUES[a] << 18 | VALUES[b] << 12 | (VALUES[c] or 0) << 6 | (VALUES[d] or 0)
        local three = string.char(all >> 16 & 255, all >> 8 & 255, all & 255)
        parts[#parts + 1] = VALUES[d] and three or VALUES[c] and three:sub(1, 2) or three:sub(1, 1)
    end
    return table.concat(parts)
end

return data
