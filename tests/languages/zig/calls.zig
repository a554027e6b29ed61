//! Every function of waft_v1, once or more; tests/tests/languages/calls.rs says what has to come back.

const std = @import("std");
const waft = @import("waft.zig");

const Params = struct {
    dir: []const u8,
    port: u16,
    blob: struct { hash: []const u8, bytes: u64, name: []const u8 },
};

const Kernel = struct { kernel: []const u8 };

const Answer = struct {
    changed: bool,
    msg: []const u8,
    check: bool,
    facts: []const u8,
    exec: struct { exit_code: ?u32, bytes: []const u32 },
    env: bool,
    timed_out: bool,
    stat: struct { kind: ?[]const u8, size: u64, mode: []const u8 },
    missing: std.json.Value,
    chmod: [2]bool,
    symlink: std.json.Value,
    rename: bool,
    xattr: []const u32,
    attributes: []const []const u8,
    removed: bool,
    link: bool,
    utime: std.json.Value,
    space: bool,
    addresses: []const []const u8,
    net: []const u8,
    task: struct { status: []const u8, kernel: []const u8 },
    blob: struct { bytes: u64, sum: u64, tail: u64 },
    secret: []const u8,
    refused: struct { code: []const u8, hint: bool },
    wrong: []const u8,
};

fn run(task: *waft.Task, params: Params) !Answer {
    const kernel = (try task.facts(Kernel)).kernel;

    const cat = try task.exec(.{ .argv = &.{"/bin/cat"}, .stdin = .{ .bytes = "a\xff\x00b" } });
    const env = try task.exec(.{ .argv = &.{"/usr/bin/env"}, .env = .{ .pairs = &.{.{ "GREETING", "hi there" }} } });
    const sleep = try task.exec(.{ .argv = &.{ "/bin/sleep", "60" }, .timeout_ms = 50 });

    const file = try task.print("{s}/file", .{params.dir});
    const link = try task.print("{s}/link", .{params.dir});
    const stat = try task.stat(file);
    const missing = try task.stat(try task.print("{s}/missing", .{params.dir}));
    if (missing.kind != null) return task.fail("calls.stat", "a file that is not there", .{});
    const chmod = [2]bool{ try task.chmod(file, "0600"), try task.chmod(file, "0600") };
    var symlink: std.json.Array = .init(task.arena);
    try symlink.append(.{ .bool = try task.symlink(link, "file") });
    try symlink.append(.{ .string = (try task.stat(link)).target orelse "" });
    const renamed = try task.rename(link, try task.print("{s}/new", .{params.dir}));
    _ = try task.setXattr(file, "user.waft", "a\xff");
    const xattr = try task.getXattr(file, "user.waft") orelse "";

    const attributes = try task.listXattr(file);
    const removed = try task.removeXattr(file, "user.waft");
    const linked = try task.link(file, try task.print("{s}/other", .{params.dir}));
    var utime: std.json.Array = .init(task.arena);
    for (0..2) |_| try utime.append(.{ .bool = try task.utime(file, "1767225600.5", null) });
    const after = try task.stat(file);
    try utime.append(.{ .string = after.mtime });
    try task.fsync(file);
    const space = try task.statvfs(params.dir);

    const addresses = try task.resolve("127.0.0.1");
    const connection = try task.connect("127.0.0.1", params.port, 5000);
    try connection.writeAll("hello over there");
    try connection.shutdown();
    var said: [64]u8 = undefined;
    var length: usize = 0;
    while (true) {
        const count = try connection.read(said[length..]);
        if (count == 0) break;
        length += count;
    }
    try connection.close();

    const blob = try task.openBlob(params.blob.hash, null);
    const tail = try task.openBlob(params.blob.hash, blob.size - 5);
    var buffer: [64 << 10]u8 = undefined;
    var sum: u64 = 0;
    var rest: u64 = 0;
    while (true) {
        const count = try blob.read(&buffer);
        if (count == 0) break;
        for (buffer[0..count]) |byte| sum += byte;
    }
    while (true) {
        const count = try tail.read(&buffer);
        if (count == 0) break;
        rest += count;
    }
    try blob.close();
    try tail.close();
    // A read that fails has a reason.
    if (blob.read(&buffer)) |_| return task.fail("calls.read", "a closed blob was read", .{}) else |_| {}
    const wrong = task.problem.?.code;

    const called = try task.callTask("facts", .{ .filter = .{"kernel"} });
    const facts = called.result.?.object.get("facts").?.object.get("kernel").?.string;
    const word = try task.secret("word");
    try task.log("calls: log");
    try task.progress(1, 2, null);
    try task.progress(2, 2, "all");
    if (task.exec(.{ .argv = &.{"/bin/false"} })) |_| return task.fail("calls.exec", "a program ran that was not given", .{}) else |_| {}

    return .{
        .changed = true,
        .msg = "all calls made",
        .check = task.is_check,
        .facts = kernel,
        .exec = .{ .exit_code = cat.exit_code, .bytes = try numbers(task, cat.stdout) },
        .env = std.mem.indexOf(u8, env.stdout, "GREETING=hi there\n") != null,
        .timed_out = sleep.timed_out,
        .stat = .{ .kind = stat.kind, .size = stat.size, .mode = stat.mode },
        .missing = .null,
        .chmod = chmod,
        .symlink = .{ .array = symlink },
        .rename = renamed,
        .xattr = try numbers(task, xattr),
        .attributes = attributes,
        .removed = removed,
        .link = linked and after.nlink == 2,
        .utime = .{ .array = utime },
        .space = space.total_bytes >= space.free_bytes,
        .addresses = addresses,
        .net = said[0..length],
        .task = .{ .status = called.status, .kernel = facts },
        .blob = .{ .bytes = blob.size, .sum = sum, .tail = rest },
        .secret = try backwards(task, word),
        .refused = .{ .code = task.problem.?.code, .hint = task.problem.?.hint != null },
        .wrong = wrong,
    };
}

fn numbers(task: *waft.Task, bytes: []const u8) ![]const u32 {
    const list = try task.arena.alloc(u32, bytes.len);
    for (list, bytes) |*number, byte| number.* = byte;
    return list;
}

/// By characters: the word itself would be taken out of the output.
fn backwards(task: *waft.Task, word: []const u8) ![]const u8 {
    const text = try task.arena.alloc(u8, word.len);
    var at: usize = 0;
    var characters = (try std.unicode.Utf8View.init(word)).iterator();
    while (characters.nextCodepointSlice()) |character| {
        at += character.len;
        @memcpy(text[text.len - at ..][0..character.len], character);
    }
    return text;
}

pub fn main(init: std.process.Init) u8 {
    return waft.main(init, Params, run);
}
