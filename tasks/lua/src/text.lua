-- What of Lua's library for texts and times is other here than in luars: texts of any bytes, widths and precisions, errors
-- that stay what they are, and no time so far away that chrono gives up. Called by waft.lua.

local host = ...
local find, sub, rep, char, concat = string.find, string.sub, string.rep, string.char, table.concat
local format, gsub, lower, upper, time = string.format, string.gsub, string.lower, string.upper, os.time
local tostring, tonumber, type, pcall, error = tostring, tonumber, type, pcall, error

-- A message of luars without the line of this file.
local function bare(message)
    return type(message) == "string" and gsub(message, "^=?waft:%d+: ", "") or message
end

---- string.format

local SPECIFICATION = "%%([-+ #0]*)(%d*)(%.?%d*)(.?)"
-- As in PUC-Rio's Lua: two digits.
local DIGITS_MAX = 2

local function filled(text, flags, width)
    local room = rep(" ", (tonumber(width) or 0) - #text)
    return find(flags, "-", 1, true) and text .. room or room .. text
end

local function number_of(word)
    local number = (type(word) == "number" or type(word) == "string") and tonumber(word)
    if number then return number end
    return nil, "number expected, got " .. (word == nil and "nil" or type(word))
end

local function whole_of(word)
    local number, why = number_of(word)
    if not number then return nil, why end
    local whole = math.tointeger(number)
    if whole then return whole end
    return nil, "number has no integer representation"
end

-- One word; nil and a message when it cannot be.
local function formatted(specification, flags, width, precision, letter, word, at)
    local why
    if letter == "s" then
        local text = tostring(word)
        if precision ~= "" then text = sub(text, 1, tonumber(sub(precision, 2)) or 0) end
        return filled(text, flags, width)
    elseif find("cdiouxX", letter, 1, true) then
        word, why = whole_of(word)
    elseif find("aAeEfgG", letter, 1, true) then
        word, why = number_of(word)
    end
    if why then return nil, "bad argument #" .. at .. " to 'format' (" .. why .. ")" end
    if letter == "c" and precision == "" then return filled(char(word & 255), flags, width) end
    local made = find("eEgG", letter, 1, true) and host.float(specification, word)
    if made then return made end
    local ok, text = pcall(format, specification, word)
    if ok then return text end
    return nil, bare(text)
end

function string.format(text, ...)
    if type(text) == "number" then text = tostring(text) end
    if type(text) ~= "string" then error("bad argument #1 to 'format' (string expected, got " .. type(text) .. ")", 2) end
    local words, used = { n = select("#", ...), ... }, 0
    local parts, from = {}, 1
    while true do
        local start, stop, flags, width, precision, letter = find(text, SPECIFICATION, from)
        if not start then break end
        parts[#parts + 1] = sub(text, from, start - 1)
        from = stop + 1
        if letter == "%" and stop == start + 1 then
            parts[#parts + 1] = "%"
        else
            local specification = sub(text, start, stop)
            if letter == "" or #width > DIGITS_MAX or #precision > DIGITS_MAX + 1 then
                error("invalid conversion '" .. specification .. "' to 'format'", 2)
            end
            used = used + 1
            if used > words.n then error("bad argument #" .. used + 1 .. " to 'format' (no value)", 2) end
            local made, why = formatted(specification, flags, width, precision, letter, words[used], used + 1)
            if not made then error(why, 2) end
            parts[#parts + 1] = made
        end
    end
    parts[#parts + 1] = sub(text, from)
    return concat(parts)
end

---- others of texts

-- luars makes a text of whatever the function raises.
function string.gsub(text, pattern, replacement, count)
    if type(replacement) ~= "function" then return gsub(text, pattern, replacement, count) end
    local raised, why = false, nil
    local ok, made, changes = pcall(gsub, text, pattern, function(...)
        local went, instead = pcall(replacement, ...)
        if not went then
            raised, why = true, instead
            error("", 0)
        end
        -- 5.0 is no 5.
        return type(instead) == "number" and tostring(instead) or instead
    end, count)
    if raised then error(why, 0) end
    if not ok then error(bare(made), 2) end
    return made, changes
end

-- In luars these take UTF-8 alone; they change ASCII alone.
local function changed(change, letters)
    return function(text)
        if type(text) == "number" then text = tostring(text) end
        if type(text) == "string" and not utf8.len(text) then return (gsub(text, letters, change)) end
        return change(text)
    end
end
string.lower, string.upper = changed(lower, "[A-Z]+"), changed(upper, "[a-z]+")

---- os.time

-- chrono counts 262,142 years in both directions. All six fields together stay within.
local YEARS_MAX = 40000
local FIELDS = { year = 1, month = 12, day = 365, hour = 365 * 24, min = 365 * 24 * 60, sec = 365 * 24 * 60 * 60 }

function os.time(fields)
    if type(fields) == "table" then
        for field, one_year in next, FIELDS do
            local value, most = rawget(fields, field), one_year * YEARS_MAX
            if type(value) == "number" and (value > most or value < -most) then
                error("field '" .. field .. "' is out-of-bound", 2)
            end
        end
    end
    local ok, seconds = pcall(time, fields)
    if not ok then error(bare(seconds), 2) end
    return seconds
end
