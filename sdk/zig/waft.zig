//! Tasks for waft in Zig: parameters, results, and the host interface waft_v1. docs/waft-v1.md says what each function takes
//! and answers; docs/task-authors.md what a task is. This file is all there is: copy it beside the task. For Zig 0.17.
//!
//!     const Params = struct { path: []const u8, name: []const u8 = "world" };
//!     const Answer = struct { changed: bool, msg: ?[]const u8 = null };
//!
//!     fn run(task: *waft.Task, params: Params) !Answer { .. }
//!
//!     pub fn main(init: std.process.Init) u8 {
//!         return waft.main(init, Params, run);
//!     }
//!
//! Parameters without a default are required, others are refused by name. What is allocated lives as long as the task.
//! Tests run without a target: see `testing` at the end.

const builtin = @import("builtin");
const std = @import("std");
const json = std.json;
const Allocator = std.mem.Allocator;

/// Parameters, bytes: more than waft sends. Beyond it they travel as blobs.
pub const params_bytes_max = 1 << 20;
/// What one `read` or `write` moves at most, bytes.
pub const move_bytes_max = 32 << 10;
/// The reason of a failed read or write, bytes.
const reason_bytes_max = 16 << 10;

/// Why something did not work: a stable code, a sentence, and what to do where that is known.
pub const Problem = struct {
    /// `params.*` makes the exit code 2, `grant.*` 125, others 1.
    code: []const u8,
    message: []const u8,
    hint: ?[]const u8 = null,
};

/// `Failed`: `Task.problem` says why.
pub const Error = error{Failed} || Allocator.Error;

/// The imports as they are. `Task` is easier.
pub const imports = struct {
    pub extern "waft_v1" fn exec(request: [*]const u8, length: usize) i32;
    pub extern "waft_v1" fn facts(request: [*]const u8, length: usize) i32;
    pub extern "waft_v1" fn file(request: [*]const u8, length: usize) i32;
    pub extern "waft_v1" fn net(request: [*]const u8, length: usize) i32;
    pub extern "waft_v1" fn task(request: [*]const u8, length: usize) i32;
    pub extern "waft_v1" fn blob(request: [*]const u8, length: usize) i32;
    pub extern "waft_v1" fn secret(request: [*]const u8, length: usize) i32;
    pub extern "waft_v1" fn emit(request: [*]const u8, length: usize) i32;
    pub extern "waft_v1" fn take(buffer: [*]u8, length: usize) i32;
    pub extern "waft_v1" fn read(handle: u32, buffer: [*]u8, length: usize) i32;
    pub extern "waft_v1" fn write(handle: u32, bytes: [*]const u8, length: usize) i32;
};

const host = if (builtin.target.cpu.arch.isWasm()) imports else testing;

/// The functions that take a JSON object.
pub const Function = enum { exec, facts, file, net, task, blob, secret, emit };

/// A program to start; docs/waft-v1.md says what each field does.
pub const Program = struct {
    argv: []const []const u8,
    env: ?Env = null,
    stdin: ?Base64 = null,
    cwd: ?[]const u8 = null,
    user: ?[]const u8 = null,
    timeout_ms: ?u64 = null,
    stdout: ?Way = null,
    stderr: ?Way = null,
    limit_bytes: ?u32 = null,
    confine: bool = false,
    replace: bool = false,

    pub const Way = enum { capture, inherit, null };
};

/// Names and values: `.{ .pairs = &.{.{ "LANG", "C" }} }`.
pub const Env = struct {
    pairs: []const [2][]const u8,

    pub fn jsonStringify(self: Env, to: anytype) !void {
        try to.beginObject();
        for (self.pairs) |pair| {
            try to.objectField(pair[0]);
            try to.write(pair[1]);
        }
        try to.endObject();
    }
};

/// Bytes, which are written as base64.
pub const Base64 = struct {
    bytes: []const u8,

    pub fn jsonStringify(self: Base64, to: anytype) !void {
        try to.print("\"{b64}\"", .{self.bytes});
    }
};

/// How a program ended, and what it wrote as far as that was captured.
pub const Output = struct {
    /// null: a signal ended it.
    exit_code: ?u32,
    signal: ?i32,
    timed_out: bool,
    ms: u64,
    stdout: []const u8,
    stderr: []const u8,
    stdout_truncated: bool,
    stderr_truncated: bool,
};

/// What is there under a name; `kind` is null when nothing is.
pub const Stat = struct {
    kind: ?[]const u8,
    mode: []const u8 = "",
    uid: u32 = 0,
    gid: u32 = 0,
    owner: ?[]const u8 = null,
    group: ?[]const u8 = null,
    size: u64 = 0,
    mtime: []const u8 = "",
    atime: []const u8 = "",
    ctime: []const u8 = "",
    nlink: u64 = 0,
    inode: u64 = 0,
    device: []const u8 = "",
    target: ?[]const u8 = null,
};

/// Of a file system.
pub const StatVfs = struct {
    total_bytes: u64,
    free_bytes: u64,
    /// To others than root.
    available_bytes: u64,
    total_inodes: u64,
    free_inodes: u64,
};

/// How a called task ended; `result` when it printed one JSON object, else `stdout`.
pub const Called = struct {
    status: []const u8,
    exit_code: ?u32 = null,
    signal: ?i32 = null,
    ms: u64 = 0,
    problem: ?Problem = null,
    result: ?json.Value = null,
    stdout: ?[]const u8 = null,
    stdout_truncated: bool = false,
};

/// Where a path lies: what `std.Io.Dir` takes.
pub const Place = struct { dir: std.Io.Dir, path: []const u8 };

/// One run of a task.
pub const Task = struct {
    /// Freed when the task has ended.
    arena: Allocator,
    io: std.Io,
    preopens: std.process.Preopens,
    /// A dry run: change nothing, and say what would be changed. What is written to files in spite of it is thrown away by
    /// the host, and is what `--diff` shows.
    is_check: bool,
    problem: ?Problem = null,

    /// return task.fail("greeting.kind", "{s} is no file", .{path});
    pub fn fail(self: *Task, code: []const u8, comptime format: []const u8, words: anytype) Error {
        self.problem = .{ .code = code, .message = try self.print(format, words) };
        return error.Failed;
    }

    pub fn print(self: *Task, comptime format: []const u8, words: anytype) Allocator.Error![]const u8 {
        return std.fmt.allocPrint(self.arena, format, words);
    }

    /// The directory and the rest of an absolute path. Without libc a WASI program has no paths, only the directories that
    /// it was given.
    pub fn place(self: *Task, path: []const u8) Error!Place {
        if (!std.mem.startsWith(u8, path, "/")) return self.fail("params.path", "`{s}` is no absolute path", .{path});
        if (builtin.target.os.tag != .wasi) return .{ .dir = std.Io.Dir.cwd(), .path = path };
        var found: ?Place = null;
        var longest: usize = 0;
        for (self.preopens.map.keys()) |name| {
            const trimmed = std.mem.trimEnd(u8, name, "/");
            if (!std.mem.startsWith(u8, name, "/") or !std.mem.startsWith(u8, path, trimmed)) continue;
            const rest = path[trimmed.len..];
            if (rest.len > 0 and rest[0] != '/') continue;
            if (found != null and trimmed.len < longest) continue;
            const given = self.preopens.get(name) orelse continue;
            longest = trimmed.len;
            const below = std.mem.trimStart(u8, rest, "/");
            found = .{ .dir = given.dir, .path = if (below.len == 0) "." else below };
        }
        // What was not given the host refuses, with the line to paste.
        if (found == null) _ = try self.stat(path);
        return found orelse self.fail("task.path", "`{s}` is in no directory that this task was given", .{path});
    }

    /// Asks with `request`, a struct of the fields (null is left out), and reads the reply as `T`, which may have fewer
    /// fields. A refusal is `Failed`, with the host's code, message and hint in `problem`.
    pub fn call(self: *Task, comptime function: Function, comptime T: type, request: anytype) Error!T {
        const name = @tagName(function);
        const text = try json.Stringify.valueAlloc(self.arena, request, .{ .emit_null_optional_fields = false });
        const has = @field(host, name)(text.ptr, text.len);
        if (has < 0) {
            const why = switch (has) {
                -1 => "it lies outside the memory of this task",
                -2 => "it is longer than 1 MiB",
                -3 => "it is no UTF-8",
                else => "this host has a newer reason than this task knows",
            };
            return self.fail("waft_v1.call", "the host did not take the request of `{s}`: {s} (code {d})", .{ name, why, has });
        }
        const reply = try self.arena.alloc(u8, @intCast(has));
        var taken: usize = 0;
        while (taken < reply.len) {
            const more = host.take(reply[taken..].ptr, reply.len - taken);
            if (more <= 0 or more > reply.len - taken) {
                return self.fail("waft_v1.take", "the host's reply to `{s}` came as {d} of {d} bytes", .{ name, taken, has });
            }
            taken += @intCast(more);
        }
        try self.refused(reply);
        return json.parseFromSliceLeaky(T, self.arena, reply, .{ .ignore_unknown_fields = true }) catch |err|
            self.fail("waft_v1.reply", "the host's reply to `{s}` is not what this task knows: {t}", .{ name, err });
    }

    /// No reply but a refusal has a field `error`.
    fn refused(self: *Task, reply: []const u8) Error!void {
        const Refusal = struct { @"error": Problem };
        const refusal = json.parseFromSliceLeaky(Refusal, self.arena, reply, .{ .ignore_unknown_fields = true }) catch |err|
            return if (err == error.OutOfMemory) error.OutOfMemory else {};
        self.problem = refusal.@"error";
        return error.Failed;
    }

    const Nothing = struct {};
    const Changed = struct { changed: bool = false };

    /// The facts of the target, those that `T` names. Grant: `facts`.
    pub fn facts(self: *Task, comptime T: type) Error!T {
        return self.call(.facts, T, Nothing{});
    }

    /// Starts a program and waits until it and all that it started are gone. Grant: `exec:` for these words. With `replace`
    /// it comes back only when that failed.
    pub fn exec(self: *Task, program: Program) Error!Output {
        const Reply = struct {
            exit_code: ?u32 = null,
            signal: ?i32 = null,
            timed_out: bool = false,
            ms: u64 = 0,
            stdout: ?[]const u8 = null,
            stdout_base64: ?[]const u8 = null,
            stdout_truncated: bool = false,
            stderr: ?[]const u8 = null,
            stderr_base64: ?[]const u8 = null,
            stderr_truncated: bool = false,
        };
        const reply = try self.call(.exec, Reply, .{
            .argv = program.argv,
            .env = program.env,
            .stdin_base64 = program.stdin,
            .cwd = program.cwd,
            .user = program.user,
            .timeout_ms = program.timeout_ms,
            .stdout = program.stdout,
            .stderr = program.stderr,
            .limit_bytes = program.limit_bytes,
            .confine = if (program.confine) @as(?bool, true) else null,
            .replace = if (program.replace) @as(?bool, true) else null,
        });
        return .{
            .exit_code = reply.exit_code,
            .signal = reply.signal,
            .timed_out = reply.timed_out,
            .ms = reply.ms,
            .stdout = try self.bytes(reply.stdout, reply.stdout_base64) orelse "",
            .stderr = try self.bytes(reply.stderr, reply.stderr_base64) orelse "",
            .stdout_truncated = reply.stdout_truncated,
            .stderr_truncated = reply.stderr_truncated,
        };
    }

    /// Bytes that came as text or as base64.
    fn bytes(self: *Task, text: ?[]const u8, base64: ?[]const u8) Error!?[]const u8 {
        const encoded = base64 orelse return text;
        const decoder = std.base64.standard.Decoder;
        const length = decoder.calcSizeForSlice(encoded) catch
            return self.fail("waft_v1.reply", "the host's reply holds base64 that is none", .{});
        const decoded = try self.arena.alloc(u8, length);
        decoder.decode(decoded, encoded) catch
            return self.fail("waft_v1.reply", "the host's reply holds base64 that is none", .{});
        return decoded;
    }

    /// Any operation on a file: task.file(Reply, .{ .op = "statvfs", .path = "/srv" }). Grant: `fs:` for the directory.
    pub fn file(self: *Task, comptime T: type, request: anytype) Error!T {
        return self.call(.file, T, request);
    }

    /// One that changes something; whether it did.
    pub fn change(self: *Task, request: anytype) Error!bool {
        return (try self.call(.file, Changed, request)).changed;
    }

    pub fn stat(self: *Task, path: []const u8) Error!Stat {
        return self.call(.file, Stat, .{ .op = "stat", .path = path });
    }

    /// `mode`: octal digits.
    pub fn chmod(self: *Task, path: []const u8, mode: []const u8) Error!bool {
        return self.change(.{ .op = "chmod", .path = path, .mode = mode });
    }

    /// Names or numbers, at least one of the two.
    pub fn chown(self: *Task, path: []const u8, owner: ?[]const u8, group: ?[]const u8) Error!bool {
        return self.change(.{ .op = "chown", .path = path, .owner = owner, .group = group });
    }

    pub fn symlink(self: *Task, path: []const u8, target: []const u8) Error!bool {
        return self.change(.{ .op = "symlink", .path = path, .target = target });
    }

    pub fn rename(self: *Task, path: []const u8, to: []const u8) Error!bool {
        return self.change(.{ .op = "rename", .path = path, .to = to });
    }

    pub fn link(self: *Task, path: []const u8, to: []const u8) Error!bool {
        return self.change(.{ .op = "link", .path = path, .to = to });
    }

    /// Seconds since 1970 as text, with up to nine decimals, or "now"; null: left as it is.
    pub fn utime(self: *Task, path: []const u8, mtime: ?[]const u8, atime: ?[]const u8) Error!bool {
        return self.change(.{ .op = "utime", .path = path, .mtime = mtime, .atime = atime });
    }

    pub fn fsync(self: *Task, path: []const u8) Error!void {
        _ = try self.call(.file, Nothing, .{ .op = "fsync", .path = path });
    }

    pub fn statvfs(self: *Task, path: []const u8) Error!StatVfs {
        return self.call(.file, StatVfs, .{ .op = "statvfs", .path = path });
    }

    /// Names of attributes.
    pub fn listXattr(self: *Task, path: []const u8) Error![]const []const u8 {
        const Reply = struct { names: []const []const u8 };
        return (try self.call(.file, Reply, .{ .op = "listxattr", .path = path })).names;
    }

    pub fn removeXattr(self: *Task, path: []const u8, name: []const u8) Error!bool {
        return self.change(.{ .op = "removexattr", .path = path, .name = name });
    }

    /// The value of an attribute, or null.
    pub fn getXattr(self: *Task, path: []const u8, name: []const u8) Error!?[]const u8 {
        const Reply = struct { value: ?[]const u8 = null, base64: ?[]const u8 = null };
        const reply = try self.call(.file, Reply, .{ .op = "getxattr", .path = path, .name = name });
        return self.bytes(reply.value, reply.base64);
    }

    pub fn setXattr(self: *Task, path: []const u8, name: []const u8, value: []const u8) Error!bool {
        return self.change(.{ .op = "setxattr", .path = path, .name = name, .base64 = Base64{ .bytes = value } });
    }

    /// A TCP connection; close it. Grant: `net:HOST:PORT`.
    pub fn connect(self: *Task, to: []const u8, port: u16, timeout_ms: ?u32) Error!Connection {
        const Reply = struct { handle: u32, address: []const u8 = "" };
        const reply = try self.call(.net, Reply, .{ .op = "open", .host = to, .port = port, .timeout_ms = timeout_ms });
        return .{ .task = self, .handle = reply.handle, .address = reply.address };
    }

    /// The addresses of a host that a grant names.
    pub fn resolve(self: *Task, name: []const u8) Error![]const []const u8 {
        const Reply = struct { addresses: []const []const u8 };
        return (try self.call(.net, Reply, .{ .op = "resolve", .host = name })).addresses;
    }

    /// Opens a file that was sent with the run (`-p NAME@FILE`), from `offset` on; close it. Grant: `blob:HASH`.
    pub fn openBlob(self: *Task, hash: []const u8, offset: ?u64) Error!Blob {
        const Reply = struct { handle: u32, bytes: u64 };
        const reply = try self.call(.blob, Reply, .{ .hash = hash, .offset = offset });
        return .{ .task = self, .handle = reply.handle, .size = reply.bytes };
    }

    /// Runs another task. Grant: `call:NAME`.
    pub fn callTask(self: *Task, name: []const u8, params: anytype) Error!Called {
        return self.call(.task, Called, .{ .name = name, .params = params });
    }

    /// Grant: `secret:NAME`.
    pub fn secret(self: *Task, name: []const u8) Error![]const u8 {
        const Reply = struct { value: ?[]const u8 = null, base64: ?[]const u8 = null };
        const reply = try self.call(.secret, Reply, .{ .name = name });
        return try self.bytes(reply.value, reply.base64) orelse
            self.fail("waft_v1.reply", "the host's reply has no value of the secret", .{});
    }

    /// Lines for the log of the run.
    pub fn log(self: *Task, text: []const u8) Error!void {
        _ = try self.call(.emit, Nothing, .{ .log = text });
    }

    /// How far the task is. Cheap: one in 100 ms is passed on, and the last one.
    pub fn progress(self: *Task, done: u64, total: ?u64, text: ?[]const u8) Error!void {
        _ = try self.call(.emit, Nothing, .{ .progress = .{ .done = done, .total = total, .text = text } });
    }

    /// The next bytes behind a handle; 0 is the end.
    pub fn read(self: *Task, handle: u32, into: []u8) Error!usize {
        const length = @min(into.len, move_bytes_max);
        return self.moved("read", host.read(handle, into.ptr, length), length);
    }

    /// How many were taken.
    pub fn write(self: *Task, handle: u32, from: []const u8) Error!usize {
        const length = @min(from.len, move_bytes_max);
        return self.moved("write", host.write(handle, from.ptr, length), length);
    }

    fn moved(self: *Task, name: []const u8, count: i32, most: usize) Error!usize {
        if (count >= 0 and count <= most) return @intCast(count);
        if (count >= 0) return self.fail("waft_v1.reply", "the host moved {d} bytes in a `{s}` of {d}", .{ count, name, most });
        if (count == -4) {
            const reason = try self.arena.alloc(u8, reason_bytes_max);
            const length = host.take(reason.ptr, reason.len);
            if (length > 0 and length <= reason.len) try self.refused(reason[0..@intCast(length)]);
        }
        return self.fail("waft_v1.call", "the host refused a `{s}` with the code {d}", .{ name, count });
    }
};

pub const Connection = struct {
    task: *Task,
    handle: u32,
    /// What was connected to.
    address: []const u8,

    pub fn read(self: Connection, into: []u8) Error!usize {
        return self.task.read(self.handle, into);
    }

    pub fn writeAll(self: Connection, from: []const u8) Error!void {
        var rest = from;
        while (rest.len > 0) {
            const count = try self.task.write(self.handle, rest);
            if (count == 0) return self.task.fail("waft_v1.call", "the host took none of {d} bytes", .{rest.len});
            rest = rest[count..];
        }
    }

    /// Nothing more is written: the other side reads the end.
    pub fn shutdown(self: Connection) Error!void {
        _ = try self.task.call(.net, Task.Nothing, .{ .op = "shutdown", .handle = self.handle });
    }

    pub fn close(self: Connection) Error!void {
        _ = try self.task.call(.net, Task.Nothing, .{ .op = "close", .handle = self.handle });
    }
};

pub const Blob = struct {
    task: *Task,
    handle: u32,
    /// Of all of it, bytes.
    size: u64,

    pub fn read(self: Blob, into: []u8) Error!usize {
        return self.task.read(self.handle, into);
    }

    pub fn close(self: Blob) Error!void {
        _ = try self.task.call(.blob, Task.Nothing, .{ .close = self.handle });
    }
};

/// The main function of a task: reads its parameters, runs it, prints what it answers.
pub fn main(init: std.process.Init, comptime Params: type, comptime run: anytype) u8 {
    var task: Task = .{
        .arena = init.arena.allocator(),
        .io = init.io,
        .preopens = init.preopens,
        .is_check = init.environ_map.get("WAFT_CHECK") != null,
    };
    var buffer: [4096]u8 = undefined;
    var input = std.Io.File.stdin().readerStreaming(init.io, &buffer);
    const text = input.interface.allocRemaining(task.arena, .limited(params_bytes_max + 1)) catch |err| switch (err) {
        error.StreamTooLong => null,
        error.OutOfMemory => return 1,
        else => "",
    };
    if (input.err) |err| {
        task.problem = .{ .code = "params.read", .message = @errorName(err) };
    } else if (text == null or text.?.len > params_bytes_max) {
        task.problem = .{ .code = "params.size", .message = "the parameters are larger than 1048576 bytes" };
    }
    const said = if (task.problem == null) answer(&task, Params, run, text.?) else failure(&task);
    const done = said catch return 1;
    const line = std.mem.concat(task.arena, u8, &.{ done.text, "\n" }) catch return 1;
    // Nobody reads any more; there is nobody to tell either.
    std.Io.File.stdout().writeStreamingAll(init.io, line) catch return 1;
    return done.code;
}

/// What a task prints, and its exit code.
pub const Answer = struct { text: []const u8, code: u8 };

/// The answer of `run` to these parameters, a JSON text. An empty one is {}.
pub fn answer(task: *Task, comptime Params: type, comptime run: anytype, text: []const u8) Allocator.Error!Answer {
    const said = ran(task, Params, run, text) catch |err| {
        if (err == error.OutOfMemory) return error.OutOfMemory;
        if (task.problem == null or err != error.Failed) {
            task.problem = .{ .code = "task.failed", .message = try task.print("the task failed: {t}", .{err}) };
        }
        return failure(task);
    };
    return .{ .text = said, .code = 0 };
}

fn ran(task: *Task, comptime Params: type, comptime run: anytype, text: []const u8) anyerror![]const u8 {
    const said = try run(task, try paramsOf(task, Params, text));
    return json.Stringify.valueAlloc(task.arena, said, .{ .emit_null_optional_fields = false });
}

fn failure(task: *Task) Allocator.Error!Answer {
    const problem = task.problem orelse Problem{ .code = "task.failed", .message = "the task failed" };
    const code: u8 = if (isOf(problem.code, "params")) 2 else if (isOf(problem.code, "grant")) 125 else 1;
    const message = try whole(task, problem.message);
    const hint = if (problem.hint) |hint| try whole(task, hint) else null;
    const text = try json.Stringify.valueAlloc(task.arena, .{
        .changed = false,
        .msg = message,
        .@"error" = .{ .code = problem.code, .message = message, .hint = hint },
    }, .{});
    return .{ .text = text, .code = code };
}

fn isOf(code: []const u8, class: []const u8) bool {
    return std.mem.startsWith(u8, code, class) and (code.len == class.len or code[class.len] == '.');
}

/// std.json writes what is no UTF-8 as an array of numbers: such bytes become question marks here.
fn whole(task: *Task, text: []const u8) Allocator.Error![]const u8 {
    if (std.unicode.utf8ValidateSlice(text)) return text;
    const copy = try task.arena.dupe(u8, text);
    for (copy) |*byte| if (byte.* >= 0x80) {
        byte.* = '?';
    };
    return copy;
}

/// Parameters as the task's own type, with the first that does not fit named.
fn paramsOf(task: *Task, comptime Params: type, text: []const u8) Error!Params {
    const given = if (std.mem.trim(u8, text, " \t\r\n").len == 0) "{}" else text;
    const value = json.parseFromSliceLeaky(json.Value, task.arena, given, .{}) catch |err|
        return task.fail("params.invalid", "the parameters are no JSON: {t}", .{err});
    if (value != .object) return task.fail("params.invalid", "the parameters are no JSON object", .{});
    const fields = comptime std.meta.fieldNames(Params);
    for (value.object.keys()) |key| {
        for (fields) |known| {
            if (std.mem.eql(u8, key, known)) break;
        } else {
            const shown = try whole(task, key[0..@min(key.len, 64)]);
            const names = try std.mem.join(task.arena, ", ", fields);
            return task.fail("params.invalid", "there is no `{s}` here: known are {s}", .{ shown, names });
        }
    }
    const info = @typeInfo(Params).@"struct";
    var params: Params = undefined;
    inline for (info.field_names, info.field_types, info.field_attrs) |name, Field, attributes| {
        if (value.object.get(name)) |one| {
            @field(params, name) = json.parseFromValueLeaky(Field, task.arena, one, .{}) catch |err|
                return task.fail("params.invalid", "`{s}` is not what this task takes: {t}", .{ name, err });
        } else {
            @field(params, name) = attributes.defaultValue(Field) orelse
                return task.fail("params.invalid", "`{s}` is missing", .{name});
        }
    }
    return params;
}

/// A host for tests on this machine: what it is asked has to be expected, in this order.
pub const testing = struct {
    const Expected = struct { function: []const u8, request: ?[]const u8, reply: []const u8 };

    var calls: [64]Expected = undefined;
    var count: usize = 0;
    var next: usize = 0;
    var pending: []const u8 = "";
    /// What `read` gives, whatever the handle.
    pub var input: []const u8 = "";
    /// What `write` took.
    pub var output: [4096]u8 = undefined;
    pub var output_length: usize = 0;

    /// The next call has to be this one, with this request (null: any), and gets this reply.
    pub fn expect(function: []const u8, request: ?[]const u8, reply: []const u8) void {
        calls[count] = .{ .function = function, .request = request, .reply = reply };
        count += 1;
    }

    /// Whether all calls were made that were expected; forgets them.
    pub fn done() bool {
        defer {
            count = 0;
            next = 0;
            output_length = 0;
        }
        return next == count;
    }

    /// A task for a test; `arena` is the test's.
    pub fn start(arena: Allocator, is_check: bool) Task {
        return .{ .arena = arena, .io = std.testing.io, .preopens = .empty, .is_check = is_check };
    }

    fn called(function: []const u8, request: []const u8) i32 {
        if (next == count or !std.mem.eql(u8, calls[next].function, function)) {
            std.debug.panic("not expected: {s} {s}", .{ function, request });
        }
        if (calls[next].request) |wanted| {
            if (!std.mem.eql(u8, wanted, request)) std.debug.panic("not as expected: {s} {s}", .{ function, request });
        }
        pending = calls[next].reply;
        next += 1;
        return @intCast(pending.len);
    }

    fn faked(comptime name: []const u8) fn ([*]const u8, usize) i32 {
        return struct {
            fn call(request: [*]const u8, length: usize) i32 {
                return called(name, request[0..length]);
            }
        }.call;
    }

    const exec = faked("exec");
    const facts = faked("facts");
    const file = faked("file");
    const net = faked("net");
    const task = faked("task");
    const blob = faked("blob");
    const secret = faked("secret");
    const emit = faked("emit");

    fn move(from: *[]const u8, into: [*]u8, length: usize) i32 {
        const some = @min(from.len, length);
        @memcpy(into[0..some], from.*[0..some]);
        from.* = from.*[some..];
        return @intCast(some);
    }

    fn take(into: [*]u8, length: usize) i32 {
        return move(&pending, into, length);
    }

    fn read(_: u32, into: [*]u8, length: usize) i32 {
        return move(&input, into, length);
    }

    fn write(_: u32, from: [*]const u8, length: usize) i32 {
        const some = @min(length, output.len - output_length);
        @memcpy(output[output_length..][0..some], from[0..some]);
        output_length += some;
        return @intCast(some);
    }
};
