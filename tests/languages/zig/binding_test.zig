//! waft.zig by itself, on this machine: parameters, requests, replies, answers.

const std = @import("std");
const waft = @import("waft.zig");
const testing = std.testing;

const Params = struct {
    path: []const u8,
    count: u8 = 3,
    mode: ?[]const u8 = null,
};

const Said = struct { changed: bool, msg: ?[]const u8 = null, params: Params };

fn says(_: *waft.Task, params: Params) !Said {
    return .{ .changed = true, .params = params };
}

fn fails(task: *waft.Task, params: Params) !Said {
    return task.fail(params.path, "bad \xff \"{s}\"", .{"a\nb"});
}

fn breaks(_: *waft.Task, _: Params) !Said {
    return error.OddThing;
}

fn answer(arena: std.mem.Allocator, comptime run: anytype, params: []const u8) !waft.Answer {
    var task = waft.testing.start(arena, false);
    return waft.answer(&task, Params, run, params);
}

test "parameters" {
    var arena: std.heap.ArenaAllocator = .init(testing.allocator);
    defer arena.deinit();
    const good = try answer(arena.allocator(), says, "{\"path\":\"/x\\u00e4\",\"mode\":null}");
    try testing.expectEqualStrings("{\"changed\":true,\"params\":{\"path\":\"/x\u{e4}\",\"count\":3}}", good.text);
    const cases = [_][2][]const u8{
        .{ "", "`path` is missing" },
        .{ " \n", "`path` is missing" },
        .{ "{\"count\":1}", "`path` is missing" },
        .{ "{\"path\":\"\",\"cuont\":1}", "there is no `cuont` here: known are path, count, mode" },
        .{ "{\"path\":7}", "`path` is not what this task takes" },
        .{ "{\"path\":\"\",\"count\":256}", "`count` is not what this task takes" },
        .{ "[]", "the parameters are no JSON object" },
        .{ "{} {}", "the parameters are no JSON" },
        .{ "{\"path\":\"\xff\"}", "the parameters are no JSON" },
        .{ "{\"path\":\"/a\",\"path\":\"/b\"}", "the parameters are no JSON" },
        .{ &@as([100_000]u8, @splat(91)), "the parameters are no JSON" },
    };
    for (cases) |case| {
        const bad = try answer(arena.allocator(), says, case[0]);
        try testing.expectEqual(2, bad.code);
        if (std.mem.indexOf(u8, bad.text, case[1]) == null) {
            std.debug.print("{s}\n", .{bad.text});
            return error.NotSaid;
        }
    }
}

test "failures and exit codes" {
    var arena: std.heap.ArenaAllocator = .init(testing.allocator);
    defer arena.deinit();
    const cases = .{ .{ "grant.missing", 125 }, .{ "params.path", 2 }, .{ "paramsx", 1 }, .{ "file.kind", 1 } };
    inline for (cases) |case| {
        const said = try answer(arena.allocator(), fails, "{\"path\":\"" ++ case[0] ++ "\"}");
        try testing.expectEqual(case[1], said.code);
        try testing.expectEqualStrings("{\"changed\":false,\"msg\":\"bad ? \\\"a\\nb\\\"\",\"error\":{\"code\":\"" ++ case[0] ++
            "\",\"message\":\"bad ? \\\"a\\nb\\\"\",\"hint\":null}}", said.text);
    }
    const broken = try answer(arena.allocator(), breaks, "{\"path\":\"\"}");
    try testing.expect(broken.code == 1 and std.mem.indexOf(u8, broken.text, "OddThing") != null);
}

test "requests and replies" {
    var arena: std.heap.ArenaAllocator = .init(testing.allocator);
    defer arena.deinit();
    var task = waft.testing.start(arena.allocator(), true);
    const fake = waft.testing;
    fake.expect("exec",
        \\{"argv":["/bin/id"],"env":{"A":"b\""},"stdin_base64":"/w==","timeout_ms":50,"stderr":"null"}
    ,
        \\{"exit_code":null,"signal":9,"timed_out":true,"ms":5,"stdout":"a","stdout_truncated":true,"new":1}
    );
    const output = try task.exec(.{
        .argv = &.{"/bin/id"},
        .env = .{ .pairs = &.{.{ "A", "b\"" }} },
        .stdin = .{ .bytes = "\xff" },
        .timeout_ms = 50,
        .stderr = .null,
    });
    try testing.expect(output.exit_code == null and output.signal == 9 and output.timed_out and output.stdout_truncated);

    fake.expect("facts", "{}", "{\"error\":{\"code\":\"grant.missing\",\"message\":\"No.\",\"hint\":\"--allow facts\"}}");
    try testing.expectError(error.Failed, task.facts(struct { hostname: []const u8 }));
    try testing.expectEqualStrings("--allow facts", task.problem.?.hint.?);

    fake.expect("file", "{\"op\":\"chown\",\"path\":\"/x\",\"group\":\"0\"}", "{\"changed\":true}");
    try testing.expect(try task.chown("/x", null, "0"));
    fake.expect("file", null, "{\"kind\":null}");
    try testing.expect((try task.stat("/x")).kind == null);
    fake.expect("net", "{\"op\":\"open\",\"host\":\"db\",\"port\":5432}", "{\"handle\":4294967295,\"address\":\"10.0.0.5:5432\"}");
    const connection = try task.connect("db", 5432, null);
    try testing.expectEqual(4294967295, connection.handle);
    fake.input = "abc";
    var into: [2]u8 = undefined;
    try testing.expectEqual(2, try connection.read(&into));
    try testing.expectEqual(1, try connection.read(&into));
    try testing.expectEqual(0, try connection.read(&into));
    try connection.writeAll("xyz");
    try testing.expectEqualStrings("xyz", fake.output[0..fake.output_length]);

    const replies = [_][]const u8{ "", "{", "{}{}", "\xff", "[]", "{\"value\":1}", "{\"base64\":\"A\"}", "{}" };
    for (replies) |reply| {
        fake.expect("secret", "{\"name\":\"w\"}", reply);
        task.problem = null;
        try testing.expectError(error.Failed, task.secret("w"));
        try testing.expectEqualStrings("waft_v1.reply", task.problem.?.code);
    }
    try testing.expect(fake.done());
}
