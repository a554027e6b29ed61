-- What of Lua's own library is other here: no programs, no directory for temporary files, modules in granted directories,
-- lines of any bytes, failures of files, and numbers as other Luas print them. Called by waft.lua; returns what empties
-- the buffers.

local host, raise, PART_BYTES_MAX = ...

local function instead(function_name, what)
    return function() raise("lua.missing", function_name .. ": " .. what) end
end
local PROGRAMS = "there is no shell in the sandbox; a program is started with waft.run({\"PROGRAM\", \"ARGUMENT\"})"
local TEMPORARY = "there is no directory for temporary files; open one in a granted directory"
os.execute, io.popen = instead("os.execute", PROGRAMS), instead("io.popen", PROGRAMS)
os.tmpname, io.tmpfile = instead("os.tmpname", TEMPORARY), instead("io.tmpfile", TEMPORARY)
package.loadlib = instead("package.loadlib", "libraries in C cannot be loaded in the sandbox")

-- A path outside of all granted directories is not even looked at.
local function explained(path, message)
    if type(message) == "string" and (message:find("pre-opened", 1, true) or message:find("No such file", 1, true)) then
        return path .. ": it is not there, or in no granted directory (--allow fs:PATH, with :rw to write)"
    end
    return message
end

-- ENOENT of WASI.
local NOT_THERE = 44
local open, output, input = io.open, io.output, io.input
-- Each file of luars has methods of its own; here all have the same.
local methods = getmetatable(io.stdout).__index
getmetatable(io.stdin).__index, getmetatable(io.stderr).__index = methods, methods
local read, write, seek, close, file_flush = methods.read, methods.write, methods.seek, methods.close, methods.flush

-- By file its path, and the message of a write that failed (`spoilt`): close says it once more.
local files = setmetatable({}, { __mode = "k" })
-- What nobody was told: of files that the collector closed. Those that the end of a block closes (`<close>`) luars closes
-- by itself, and drops what is wrong with the last of it, as PUC-Rio's Lua does.
local lost = {}

-- As at the end of a program in C: what was written to files that are still open is in them. False when it is not in all,
-- which is on stderr then.
local function flush()
    for file, state in pairs(files) do
        local flushed, message = true, nil
        if io.type(file) == "file" then flushed, message = file_flush(file) end
        message = state.spoilt or not flushed and message
        if message then lost[#lost + 1] = state.path .. ": " .. message end
        files[file] = nil
    end
    for at, message in ipairs(lost) do lost[at] = "not everything was written to " .. message .. "\n" end
    local all = table.concat(lost)
    lost = {}
    if all ~= "" then host.write_error(all) end
    file_flush(io.stdout)
    return all == ""
end

-- luars reads lines of UTF-8 alone. So lines are found here, in pieces that are read ahead: by file a piece, and where
-- what was not handed out begins.
local pieces, begins = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })

local function rest_of(file)
    local piece = pieces[file]
    local rest = piece and piece:sub(begins[file]) or ""
    pieces[file], begins[file] = nil, nil
    return rest
end

-- Before anything that needs the file to be where the script believes it to be.
local function settled(file)
    local rest = rest_of(file)
    if rest ~= "" then seek(file, "cur", -#rest) end
end

local function read_line(file, keep)
    local from = 1
    while true do
        local piece, begin = pieces[file] or "", begins[file] or 1
        local stop = piece:find("\n", begin + from - 1, true)
        if stop then
            begins[file] = stop + 1
            return piece:sub(begin, keep and stop or stop - 1)
        end
        local rest = piece:sub(begin)
        local more, message, number = read(file, PART_BYTES_MAX)
        if not more then
            pieces[file], begins[file] = nil, nil
            if message or rest == "" then return nil, message, number end
            return rest
        end
        from = #rest + 1
        pieces[file], begins[file] = rest .. more, 1
    end
end

local function read_bytes(file, count)
    local rest = rest_of(file)
    if #rest > count then
        pieces[file], begins[file] = rest, count + 1
        return rest:sub(1, count)
    end
    if count == 0 then return read(file, 0) end
    -- In parts: luars takes the memory for all of it before it reads.
    local parts, missing = { rest }, count - #rest
    while missing > 0 do
        local more, message, number = read(file, math.min(missing, PART_BYTES_MAX))
        if message then return nil, message, number end
        if not more then break end
        parts[#parts + 1] = more
        missing = missing - #more
    end
    local all = table.concat(parts)
    if all ~= "" then return all end
end

local function read_all(file)
    local all, message, number = read(file, "a")
    local rest = rest_of(file)
    if not all then return nil, message, number end
    return rest .. all
end

local function read_one(file, format)
    local letter = type(format) == "string" and format:gsub("^%*", ""):sub(1, 1)
    if letter == "l" or letter == "L" then return read_line(file, letter == "L") end
    if letter == "a" then return read_all(file) end
    if math.type(format) == "integer" and format >= 0 then return read_bytes(file, format) end
    settled(file)
    return read(file, format)
end

function methods:read(...)
    if io.type(self) == "closed file" then error("attempt to use a closed file", 2) end
    local formats = table.pack(...)
    if formats.n == 0 then return read_line(self, false) end
    local results = { n = 0 }
    for at = 1, formats.n do
        local one, message, number = read_one(self, formats[at])
        if message then return nil, message, number end
        results[at], results.n = one, at
        if one == nil then break end
    end
    return table.unpack(results, 1, results.n)
end

function methods:seek(...)
    if io.type(self) == "file" then settled(self) end
    return seek(self, ...)
end

function methods:close()
    pieces[self], begins[self] = nil, nil
    if io.type(self) ~= "file" then return close(self) end
    local flushed, message, number = file_flush(self)
    -- luars answers true whatever becomes of what was left in the buffer.
    local results = table.pack(close(self))
    message = files[self] and files[self].spoilt or not flushed and message
    if files[self] then files[self].spoilt = nil end
    files[self] = nil
    if message then return nil, message, number end
    return table.unpack(results, 1, results.n)
end

local function lines_of(file, formats, to_close)
    return function()
        if io.type(file) ~= "file" then error("file is already closed", 2) end
        local results = table.pack(methods.read(file, table.unpack(formats, 1, formats.n)))
        if results[1] == nil and results[2] then
            error((files[file] and files[file].path .. ": " or "") .. results[2], 2)
        end
        if results[1] == nil and to_close then methods.close(file) end
        return table.unpack(results, 1, results.n)
    end
end

function methods:lines(...) return lines_of(self, table.pack(...), false) end
function io.read(...) return input():read(...) end
function io.close(file) return (file or output()):close() end

local function open_once(path, mode)
    if type(mode) == "string" and mode:find("^r%+") then
        -- luars would make it.
        local there, message, number = open(path, "r")
        if not there then return nil, message, number end
        close(there)
    end
    return open(path, mode)
end

function io.open(path, mode)
    local file, message, number = open_once(path, mode)
    if not file and number ~= NOT_THERE then
        -- Perhaps too many are open that the script has forgotten.
        collectgarbage()
        file, message, number = open_once(path, mode)
    end
    if not file then return nil, explained(path, message), number end
    local metatable = getmetatable(file)
    metatable.__index = methods
    local state = { path = path }
    function metatable:__gc()
        local flushed, why = true, nil
        if io.type(self) == "file" then flushed, why = file_flush(self) end
        why = state.spoilt or not flushed and why
        if why then lost[#lost + 1] = path .. ": " .. why end
        if io.type(self) == "file" then close(self) end
    end
    files[file] = state
    return file
end

local function opened(path, mode)
    local file, message = io.open(path, mode)
    return file or error(message, 3)
end

function io.lines(path, ...)
    if path == nil then return lines_of(input(), table.pack(...), false) end
    local file = opened(path, "r")
    return lines_of(file, table.pack(...), true), nil, nil, file
end

function io.output(file)
    if file == nil then return output() end
    return output(type(file) == "string" and opened(file, "w") or file)
end

function io.input(file)
    if file == nil then return input() end
    return input(type(file) == "string" and opened(file, "r") or file)
end

-- Numbers as tostring has them: 5.0 is no 5.
local function printed(...)
    local words = table.pack(...)
    for at = 1, words.n do
        if type(words[at]) == "number" then words[at] = tostring(words[at]) end
    end
    return table.unpack(words, 1, words.n)
end
function methods:write(...)
    if io.type(self) == "file" then settled(self) end
    local written, message, number = write(self, printed(...))
    if written then return written end
    if files[self] then files[self].spoilt = message end
    return nil, message, number
end
function io.write(...) return io.output():write(...) end
function print(...)
    local words = table.pack(...)
    for at = 1, words.n do words[at] = tostring(words[at]) end
    io.stdout:write(table.concat(words, "\t"), "\n")
end

-- Code in files of granted directories, and modules where package.path says so.
function loadfile(path, mode, ...)
    local file, message = io.open(path)
    if not file then return nil, message end
    local text, why = file:read("a")
    file:close()
    if not text then return nil, path .. ": " .. why end
    return load((text:gsub("^#[^\n]*", "")), "@" .. path, mode or "t", ...)
end

function dofile(path)
    local chunk, message = loadfile(path)
    if not chunk then error(message, 0) end
    return chunk()
end

package.path, package.cpath = "", ""
package.searchers = { package.searchers[1], function(module)
    if package.path == "" then
        return "\n\tmodules are files of granted directories: package.path = \"/srv/lua/?.lua\", and --allow fs:/srv/lua"
    end
    local path, message = package.searchpath(module, package.path)
    if not path then return message end
    local chunk, why = loadfile(path)
    if not chunk then error("error loading module '" .. module .. "' from file '" .. path .. "':\n\t" .. why, 0) end
    return chunk, path
end }

return flush
