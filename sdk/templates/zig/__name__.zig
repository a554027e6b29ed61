//! Keeps a greeting in a file: appends the line when it is not there.

const std = @import("std");
const waft = @import("waft.zig");

/// The file, bytes: it is read as a whole.
const file_bytes_max = 1 << 20;

const Params = struct {
    path: []const u8 = "/tmp/{{name}}.txt",
    name: []const u8 = "world",
};

const Answer = struct {
    changed: bool,
    msg: []const u8,
    line: []const u8,
};

fn run(task: *waft.Task, params: Params) !Answer {
    if (params.name.len == 0 or std.mem.findAny(u8, params.name, "\r\n") != null) {
        return task.fail("params.name", "`name` should be one line of text", .{});
    }
    const line = try task.print("Hello, {s}!", .{params.name});
    const at = try task.place(params.path);
    const text = at.dir.readFileAlloc(task.io, at.path, task.arena, .limited(file_bytes_max)) catch |err| switch (err) {
        error.FileNotFound => "",
        else => return task.fail("greeting.read", "cannot read {s}: {t}", .{ params.path, err }),
    };
    if (hasLine(text, line)) return .{ .changed = false, .msg = "was greeted before", .line = line };

    const ended = text.len == 0 or std.mem.endsWith(u8, text, "\n");
    const after = try task.print("{s}{s}{s}\n", .{ text, if (ended) "" else "\n", line });
    // In a dry run the host throws away what is written, and shows it.
    at.dir.writeFile(task.io, .{ .sub_path = at.path, .data = after }) catch |err|
        return task.fail("greeting.write", "cannot write {s}: {t}", .{ params.path, err });
    return .{ .changed = true, .msg = "greeted", .line = line };
}

fn hasLine(text: []const u8, line: []const u8) bool {
    var lines = std.mem.splitScalar(u8, text, '\n');
    while (lines.next()) |other| if (std.mem.eql(u8, other, line)) return true;
    return false;
}

pub fn main(init: std.process.Init) u8 {
    return waft.main(init, Params, run);
}

// Tests on this machine: `make test`.

test "a greeting is kept, and once" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    var dir = std.testing.tmpDir(.{});
    defer dir.cleanup();
    var buffer: [std.fs.max_path_bytes]u8 = undefined;
    const length = try dir.dir.realPath(std.testing.io, &buffer);
    var task = waft.testing.start(arena.allocator(), false);
    const params: Params = .{ .path = try task.print("{s}/greetings", .{buffer[0..length]}), .name = "you" };

    const first = try run(&task, params);
    try std.testing.expect(first.changed);
    const second = try run(&task, params);
    try std.testing.expect(!second.changed);
    const text = try dir.dir.readFileAlloc(std.testing.io, "greetings", task.arena, .limited(file_bytes_max));
    try std.testing.expectEqualStrings("Hello, you!\n", text);
}

test "what it cannot use is refused" {
    var arena: std.heap.ArenaAllocator = .init(std.testing.allocator);
    defer arena.deinit();
    for ([_][]const u8{ "{\"paht\": \"/x\"}", "{\"path\": 7}", "{\"path\": \"x\"}", "{\"name\": \"\"}", "[]", "{" }) |params| {
        var task = waft.testing.start(arena.allocator(), false);
        const answer = try waft.answer(&task, Params, run, params);
        try std.testing.expectEqual(2, answer.code);
    }
}
