-- What a script finds beside Lua's own library: the table `waft`. Called by src/lib.rs; returns the exit code.

local host, given, check, script, name, arguments = ...

-- What a script did not catch; exit codes from 126 on are the host's.
local FAILED, CODE_MAX = 1, 125
-- One read moves no more, bytes.
local PART_BYTES_MAX = 32 * 1024
-- Of what a failed program said, bytes.
local TAIL_BYTES_MAX = 2000

local waft = { args = arguments, check = check }

---- problems

local Problem = { __name = "waft.Problem" }
Problem.__index = Problem
function Problem.__tostring(self)
    local text = (self.where or "") .. self.code .. ": " .. self.message
    return self.hint and text .. "\nhint: " .. self.hint or text
end
waft.Problem = Problem

-- The line of the script that led here.
local function where()
    for level = 2, math.huge do
        local info = debug.getinfo(level, "Sl")
        if not info then return nil end
        if info.short_src ~= "waft" and info.currentline > 0 then
            return info.short_src .. ":" .. info.currentline .. ": "
        end
    end
end

local function raise(code, message, hint)
    error(setmetatable({ code = code, message = message, hint = hint, where = where() }, Problem), 0)
end

--- Ends the task as failed, unless somebody catches it.
function waft.fail(message, code, hint)
    raise(code or "task.failed", tostring(message), hint)
end

local function checked(value, code, message, hint)
    if value == nil then raise(code, message, hint) end
    return value
end

local function wanted(value, kind, what)
    if type(value) ~= kind then
        raise("waft.argument", what .. " is a " .. kind .. ", and this is a " .. type(value))
    end
    return value
end

local data = host.data(raise, wanted)
waft.null, waft.array, waft.encode, waft.decode = data.null, data.array, data.encode, data.decode
waft.array(arguments)

host.text(host)
local flush = host.library(host, raise, PART_BYTES_MAX)

---- what the task was given, and what it answers

waft.params = waft.decode(given)

local answered = false

--- Prints the result: `changed`, `msg`, and fields of the script's own. To be called once.
function waft.result(changed, msg, fields)
    local answer = {}
    for key, value in pairs(fields or {}) do answer[key] = value end
    answer.changed = changed and true or false
    if msg ~= nil then answer.msg = tostring(msg) end
    print(waft.encode(answer))
    answered = true
end

--- Ends the task here and now: true, false, or a code from 0 to 125.
function waft.exit(code)
    if code == nil or code == true then code = 0 elseif code == false then code = FAILED end
    if math.type(code) ~= "integer" or code < 0 or code > CODE_MAX then
        io.stderr:write("os.exit(", tostring(code), "): an exit code is 0 to ", CODE_MAX, "; this one becomes ", FAILED, "\n")
        code = FAILED
    end
    if not flush() and code == 0 then code = FAILED end
    host.exit(code)
end
os.exit = waft.exit

---- the calls

local function ask(call, request)
    local reply, code, message, hint = host.ask(call, waft.encode(request))
    return waft.decode(checked(reply, code, message, hint))
end

--- What the target is. Needs the grant `facts`.
function waft.facts() return ask("facts", {}) end

-- All words of a program, or none: what is left out changes what it does.
local function words_of(argv)
    local words, count = waft.array(), 0
    -- `n` is of table.pack.
    for key in next, argv do if key ~= "n" then count = count + 1 end end
    if math.type(argv.n) == "integer" and argv.n > count then count = argv.n end
    for at = 1, count do
        local word = argv[at]
        if type(word) ~= "string" and type(word) ~= "number" then
            raise("waft.argument", "word " .. at .. " of " .. count .. " that waft.run starts is a " .. type(word)
                .. ", and not a text or a number", "each word is an element of the list, without holes")
        end
        words[at] = tostring(word)
    end
    return words
end

--- Starts a program and waits for it. `options`: `input`, `env`, `cwd`, `user`, `timeout` (seconds), `stdout`, `stderr`
--- ("capture", "inherit", "null"), `limit_bytes`, `confine`; with `check`, another exit code than 0 is a Problem. Answers
--- `exit_code` (nil when a signal ended it), `ok`, `signal`, `timed_out`, `stdout`, `stderr`, `stdout_truncated`,
--- `stderr_truncated`, `ms`. Needs `exec:`.
function waft.run(argv, options)
    options = options or {}
    local words = words_of(wanted(argv, "table", "what waft.run starts"))
    local answer = ask("exec", {
        argv = words, env = options.env, cwd = options.cwd, user = options.user, stdout = options.stdout,
        stderr = options.stderr, limit_bytes = options.limit_bytes, confine = options.confine,
        stdin_base64 = options.input and data.to_base64(options.input) or nil,
        timeout_ms = options.timeout and math.floor(options.timeout * 1000) or nil,
    })
    for _, stream in ipairs { "stdout", "stderr" } do
        local base64 = answer[stream .. "_base64"]
        answer[stream] = answer[stream] or base64 and data.from_base64(base64) or ""
        answer[stream .. "_base64"] = nil
    end
    answer.ok = answer.exit_code == 0
    if options.check and not answer.ok then
        local how = answer.timed_out and "its time was over"
            or answer.exit_code and "exit code " .. answer.exit_code or "signal " .. tostring(answer.signal)
        local said = answer.stderr:gsub("%s+$", ""):sub(-TAIL_BYTES_MAX)
        raise("exec.failed", words[1] .. " failed (" .. how .. "): " .. said)
    end
    return answer
end

--- Modes, owners, links, times, attributes: `op` and fields as in docs/waft-v1.md. Needs `fs:`.
function waft.file(op, path, fields)
    local request = { op = op, path = path }
    for key, value in pairs(fields or {}) do request[key] = value end
    return ask("file", request)
end

--- What is there; `kind` is nil when nothing is.
function waft.stat(path, follow) return waft.file("stat", path, { follow = follow }) end

--- `mode` is octal digits, or a number. True when that was a change.
function waft.chmod(path, mode)
    if type(mode) == "number" then mode = ("%04o"):format(mode) end
    return waft.file("chmod", path, { mode = mode }).changed
end

function waft.chown(path, owner, group)
    return waft.file("chown", path, { owner = owner and tostring(owner), group = group and tostring(group) }).changed
end

--- Makes the symlink `path`, which holds `target`.
function waft.symlink(path, target) return waft.file("symlink", path, { target = target }).changed end

local function of_file(path, value, code, message, hint)
    return checked(value, code, message and path .. ": " .. message, hint)
end

--- Names in a directory, sorted.
function waft.list_dir(path) return waft.array(of_file(path, host.list(path))) end

--- With `parents`, those above, too, and it may be there.
function waft.make_dir(path, parents) of_file(path, host.make_dir(path, parents)) end

function waft.remove_dir(path) of_file(path, host.remove_dir(path)) end

--- Runs another task that was sent with the run: `status`, `result` or `stdout`, `problem`. Needs `call:NAME`.
function waft.call(task, params) return ask("task", { name = task, params = params or {} }) end

--- The value of a secret. Needs `secret:NAME`.
function waft.secret(secret)
    local answer = ask("secret", { name = secret })
    return answer.value or data.from_base64(answer.base64)
end

--- Lines for the log of the run.
function waft.log(...)
    local words = table.pack(...)
    for at = 1, words.n do words[at] = tostring(words[at]) end
    ask("emit", { log = table.concat(words, " ") })
end

--- How far the script is; whole numbers. Cheap to call often.
function waft.progress(done, total, text)
    ask("emit", { progress = { done = done, total = total, text = text } })
end

local Handle = { __name = "waft.handle" }
Handle.__index = Handle

--- At most `limit` bytes; none at the end.
function Handle:read(limit)
    return checked(host.read(self.handle, math.min(limit or PART_BYTES_MAX, PART_BYTES_MAX)))
end

--- All that comes.
function Handle:read_all()
    local parts = {}
    repeat
        parts[#parts + 1] = self:read()
    until parts[#parts] == ""
    return table.concat(parts)
end

--- All of a text.
function Handle:write(bytes)
    while bytes ~= "" do
        bytes = bytes:sub(checked(host.write(self.handle, bytes)) + 1)
    end
end

--- Nothing more is written, and the other side reads the end.
function Handle:shutdown() ask("net", { op = "shutdown", handle = self.handle }) end

function Handle:close()
    if self.handle then
        ask(self.of, self.of == "net" and { op = "close", handle = self.handle } or { close = self.handle })
        self.handle = nil
    end
end
Handle.__close = Handle.close

--- A file that was sent with the run, by its parameter (`-p NAME@FILE`) or hash. `size` is all of it, bytes. Needs
--- `blob:HASH`, which `-p` gives.
function waft.blob(blob, offset, length)
    local hash = type(blob) == "table" and blob.hash or blob
    local answer = ask("blob", { hash = hash, offset = offset, length = length })
    return setmetatable({ of = "blob", handle = answer.handle, size = answer.bytes }, Handle)
end

--- A TCP connection, which the host holds; `timeout` in seconds. `address` is what was connected to. Needs `net:HOST:PORT`.
function waft.connect(address, port, timeout)
    local timeout_ms = timeout and math.floor(timeout * 1000) or nil
    local answer = ask("net", { op = "open", host = address, port = port, timeout_ms = timeout_ms })
    return setmetatable({ of = "net", handle = answer.handle, address = answer.address }, Handle)
end

--- The addresses of a host that a grant names.
function waft.resolve(address) return ask("net", { op = "resolve", host = address }).addresses end

---- the script

_G.waft = waft
_G.arg = { [0] = name, table.unpack(arguments) }

local function told(error)
    if type(error) == "string" then return error end
    local metatable = getmetatable(error)
    if type(metatable) == "table" and metatable.__tostring then return tostring(error) end
    return "(error object is a " .. type(error) .. " value)"
end

-- The traceback without the lines of this file.
local function traced(error)
    local text = told(error)
    local trace = debug.traceback("", 2):gsub("\n[^\n]*%[C%]: in function 'xpcall'.*$", "")
    trace = trace:gsub("\n\twaft:[^\n]*", "")
    return text .. trace
end

local function failed(text)
    flush()
    host.write_error(text .. "\n")
    return FAILED
end

-- `#!` is no Lua; the line stays, so that all have their numbers.
local chunk, message = load((script:gsub("^#[^\n]*", "")), "@" .. name, "t")
if not chunk then return failed(message) end
local ran, answer = xpcall(chunk, traced, table.unpack(arguments))
if not ran then return failed(answer) end
-- Files first: what is not in them is no result.
local complete = flush()
if type(answer) == "table" and not answered and complete then
    local printed, why = xpcall(waft.result, told, answer.changed, answer.msg, answer)
    if not printed then return failed(why) end
end
return flush() and complete and 0 or FAILED
