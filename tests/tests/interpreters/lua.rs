use crate::desk::{Desk, Script};
use crate::{given_to_account, problem, text, works};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use waft_tests::Result;
use waft_tests::machine::is_possible;

fn script(what: &str, params: Value) -> Script {
    let text = match what {
        "write" => {
            r#"
local path, text = waft.params.path, waft.params.text
local file = assert(io.open(path, "w"))
file:write(text)
file:close()
local names = table.concat(waft.list_dir(path:match("^(.*)/")), " ")
assert(names == "made", names)
waft.result(true, "written", { check = waft.check, read = io.open(path):read("a"), args = waft.args })
"#
        }
        "run" => "return { stdout = waft.run(waft.params.argv, { check = true }).stdout }",
        "loop" => "while true do end",
        "exit" => "print('before')\nos.exit(waft.params.code)",
        other => panic!("there is no script {other}"),
    };
    of(text, params)
}

fn of(text: &'static str, params: Value) -> Script {
    Script { task: "lua", name: "try.lua", text, params }
}

#[test]
fn a_lua_script_runs_where_there_is_no_lua() -> Result<()> {
    if !is_possible() {
        eprintln!("SKIPPED: a machine with a root of its own, for which user namespaces are needed");
        return Ok(());
    }
    let desk = Desk::of("lua")?;
    works(&desk, script)?;
    errors(&desk)
}

#[test]
fn lua_has_its_library_json_and_the_calls_of_the_host() -> Result<()> {
    if !is_possible() {
        eprintln!("SKIPPED: a machine with a root of its own, for which user namespaces are needed");
        return Ok(());
    }
    let desk = Desk::of("lua")?;
    fs::create_dir(desk.machine.path("/home/ops/data")).expect("a directory");
    fs::write(desk.machine.path("/home/ops/data/made"), "made").expect("a file");
    fs::set_permissions(desk.machine.path("/home/ops/data/made"), Permissions::from_mode(0o644))
        .expect("a mode");
    for path in ["/home/ops/data", "/home/ops/data/made"] {
        given_to_account(&desk, path);
    }
    language(&desk)?;
    texts(&desk)?;
    failures_of_files(&desk)?;
    json_both_ways(&desk)?;
    calls(&desk)
}

/// What a script did not catch, with its lines and without those of what runs it.
fn errors(desk: &Desk) -> Result<()> {
    let raises = "
local function inner(value)
    error('not ' .. value)
end
inner(1)
";
    let result = desk.result(&of(raises, json!({})), &[], &[], 3)?;
    let traceback = "try.lua:3: not 1
stack traceback:
\t[C]: in global 'error'
\ttry.lua:3: in local 'inner'
\ttry.lua:5: in main chunk
";
    assert_eq!((&result["exit_code"], text(&result, "stderr")), (&1.into(), traceback), "{result}");
    for (script, said) in [
        ("local a = 1\nb c = 1", "try.lua:2: "),
        ("#!/usr/bin/lua\nlocal t = nil\nt.x = 1", "try.lua:3: attempt to index a nil value (local 't')"),
        ("waft.fail('no disk', 'disk.none', 'buy one')", "try.lua:1: disk.none: no disk\nhint: buy one"),
        ("return { msg = 'a', x = print }", "a function has no JSON"),
    ] {
        let result = desk.result(&of(script, json!({})), &[], &[], 3)?;
        let stderr = text(&result, "stderr");
        assert!(stderr.contains(said) && !stderr.contains("waft:"), "{script}: {stderr}");
        assert_eq!((&result["exit_code"], &result["status"]), (&1.into(), &"failed".into()), "{result}");
    }
    // What a script can catch.
    let cases = [
        ("error(setmetatable({}, { __tostring = function() return 'of its own' end }))", "of its own"),
        ("local function deep() return 1 + deep() end deep()", "stack overflow"),
        ("local function deep() return (pcall(deep)) and error('C') end deep()", "C"),
        (
            "os.execute('ls')",
            "case:1: lua.missing: os.execute: there is no shell in the sandbox; a program is started with waft.run(",
        ),
        ("io.popen('ls')", "waft.run("),
        ("io.tmpfile()", "there is no directory for temporary files"),
        ("require('other')", "modules are files of granted directories"),
        ("assert(io.open('/etc/hostname'))", "or in no granted directory (--allow fs:PATH"),
        ("waft.list_dir('/etc')", "case:1: io.not_found: /etc: "),
        ("waft.run('ls')", "what waft.run starts is a table, and this is a string"),
        ("waft.run({ 'rm', '-rf', nil, '--x' })", "waft.argument: word 3 of 3 that waft.run starts is a nil"),
        ("waft.run({ 'rm', '-rf', {} })", "waft.argument: word 3 of 3 that waft.run starts is a table"),
        ("waft.run(table.pack('rm', nil))", "waft.argument: word 2 of 2 that waft.run starts is a nil"),
        ("waft.run({ 'rm', dir = 'x' })", "waft.argument: word 2 of 2 that waft.run starts is a nil"),
    ];
    let catches = "
local told = waft.array()
for at, case in ipairs(waft.params.cases) do
    local ok, why = pcall(assert(load(case, '=case')))
    told[at] = not ok and tostring(why) or 'no error'
end
return { told = told }
";
    let scripts: Vec<&str> = cases.iter().map(|(script, _)| *script).collect();
    let result = desk.result(&of(catches, json!({ "cases": scripts })), &[], &[], 0)?;
    for (at, (script, said)) in cases.iter().enumerate() {
        let told = result["result"]["told"][at].as_str().unwrap_or_default();
        assert!(told.contains(said), "{script}: {told}");
    }
    // What the host refused, with where, and the same as the target says it.
    let refused = desk.result(&of("\nwaft.facts()", json!({})), &[], &[], 5)?;
    assert_eq!(problem(&refused).0, "grant.missing", "{refused}");
    assert!(text(&refused, "stderr").starts_with("try.lua:2: grant.missing: "), "{refused}");
    // More memory than it may have.
    let grows = "local all = {} while true do all[#all + 1] = ('x'):rep(100000) .. #all end";
    let result = desk.result(&of(grows, json!({})), &["mem:32M"], &[], 3)?;
    assert_eq!(result["status"], "failed", "{result}");

    // Parameters of the task itself.
    let wrong = Script { params: json!("text"), ..of("", json!({})) };
    let output = desk.script(&wrong, &[], &[])?.expect_code(2)?;
    assert!(output.stderr().contains("params"), "{output}");
    let unknown = desk.script(&of("", json!({})), &[], &["-p", "nmae=x"])?.expect_code(2)?;
    assert!(unknown.stderr().contains("`nmae`") && unknown.stderr().contains("`name`"), "{unknown}");
    Ok(())
}

/// What differs from other Luas, or did in luars.
fn language(desk: &Desk) -> Result<()> {
    let prints = r#"
print("plain", 1, 2.0, nil, true, setmetatable({}, { __tostring = function() return "T" end }))
io.write(10 / 2, " ", 7 // 2, "\n")
print(("%g %8.3g|%-8e|%5.2f|%s"):format(1e20, 1 / 3, 1.5, math.pi, 3.0))
print(_VERSION, ("key = value"):match("^(%w+)%s*=%s*(%w+)$"))
print(pcall(error, "caught", 0))
print(coroutine.wrap(function() coroutine.yield("yielded") end)())
print(os.date("!%Y-%m-%d", 86400), #waft.args, ...)
io.stderr:write("log\n")
"#;
    let result = desk.result(&of(prints, json!({})), &[], &[], 0)?;
    let expected = "plain\t1\t2.0\tnil\ttrue\tT
5.0 3
1e+20    0.333|1.500000e+00| 3.14|3.0
Lua 5.5\tkey\tvalue
false\tcaught
yielded
1970-01-02\t2\tone\ttwo
";
    assert_eq!((text(&result, "stdout"), text(&result, "stderr")), (expected, "log\n"), "{result}");

    // Bytes, lines of any bytes, a file that nobody closed, and a module beside it.
    let files = r##"
local dir = "/home/ops/data"
local file = assert(io.open(dir .. "/lines", "wb"))
file:write("a\xff\0b\n", 5.0, "\nlast")
file:flush()
local sizes = {}
for line in io.lines(dir .. "/lines") do sizes[#sizes + 1] = #line end
local again = assert(io.open(dir .. "/lines", "r+"))
local first, three, number, mark = again:read("L", 2, "n", "l")
assert(first == "a\xff\0b\n" and three == "5." and number == 0 and mark == "", tostring(mark))
assert(again:seek("cur") == 9 and again:read() == "last" and again:read() == nil and again:read(0) == nil)
assert(again:seek("set", 5) == 5 and again:read("l") == "5.0")
again:write("L")
again:seek("set", 0)
local bytes = again:read("a")
assert(bytes == "a\xff\0b\n5.0\nLast", bytes)
again:close()
assert(not pcall(again.read, again) and select(2, pcall(io.lines, dir .. "/none")):find("no granted directory"))
for _ = 1, 600 do assert(io.open(dir .. "/lines")) end
local module = io.open(dir .. "/shared.lua", "w")
module:write("#!/usr/bin/lua\nreturn { name = ... }")
module:close()
package.path = dir .. "/?.lua"
file:write("!")
waft.make_dir(dir .. "/a/b", true)
waft.remove_dir(dir .. "/a/b")
os.remove(dir .. "/shared2.lua")
waft.result(true, nil, { sizes = sizes, bytes = #bytes, module = require("shared").name,
    once = require("shared") == require("shared"), file = dofile(dir .. "/shared.lua").name == nil, names = waft.list_dir(dir) })
"##;
    let rw = &["fs:/home/ops/data:rw"];
    let result = desk.result(&of(files, json!({})), rw, &[], 0)?;
    let names = ["a", "lines", "made", "shared.lua"];
    let expected = json!({ "changed": true, "sizes": [4, 3, 4], "bytes": 13, "module": "shared",
        "once": true, "file": true, "names": names });
    assert_eq!(result["result"], expected, "{result}");
    let last = desk.result(
        &of("return { all = #io.open('/home/ops/data/lines'):read('a') }", json!({})),
        rw,
        &[],
        0,
    )?;
    assert_eq!(last["result"]["all"], 14, "{last}");
    Ok(())
}

/// Texts of any bytes, and what goes wrong with them.
fn texts(desk: &Desk) -> Result<()> {
    let texts = r##"
local function is(made, expected) assert(made == expected, ("%q is not %q"):format(made, expected)) end
is(("%.2s|%s|%3s|%-3s|%.s"):format("h\xc3\xa9", "\xff", "\xfe", "\xfd", "x"), "h\xc3|\xff|  \xfe|\xfd  |")
is(("\xe9%c%3c%%%d %x %5.1f"):format(255, 65, 3.0, "255", "3"), "\xe9\xff  A%3 ff   3.0")
is(("H\xc9LLO\xff"):lower() .. ("h\xe9llo"):upper() .. ("abc"):upper(), "h\xc9llo\xffH\xe9LLOABC")
is(("abc"):gsub("%w", function(c) return c == "b" and 5.0 or nil end, 2), "a5.0c")
is(os.time { year = 2026, month = 14, day = -3 }, 1801137600)
local function why(f, ...) return select(2, pcall(f, ...)) end
is(why(string.gsub, "a", "a", function() waft.fail("m", "x.y", "h") end).hint, "h")
is(why(string.gsub, "a", "a", function() error("plain", 0) end), "plain")
is(why(string.format, "%s", setmetatable({}, { __tostring = function() waft.fail("m", "x.y") end })).code, "x.y")
for text, said in pairs {
    ["('%d'):format(3.5)"] = "no integer representation", ["('%d'):format({})"] = "number expected, got table",
    ["('%s'):format()"] = "#2 to 'format' (no value)", ["('%'):format(1)"] = "invalid conversion '%'",
    ["('%100s'):format(1)"] = "invalid conversion '%100s'", ["('%y'):format(1)"] = "invalid option '%y'",
    ["('a'):gsub('(', function() end)"] = "unfinished capture", ["('a'):gsub('a', function() return {} end)"] = "a table",
    ["os.time{ year = 2026, month = 1, day = 2147483647 }"] = "field 'day' is out-of-bound",
    ["os.time{ year = 2026, month = -480001, day = 1 }"] = "field 'month' is out-of-bound",
    ["os.time{}"] = "field 'year' missing",
} do
    local message = why(assert(load("local _ = " .. text, "@case")))
    assert(message:find("case:1: ", 1, true) == 1 and message:find(said, 1, true), text .. ": " .. message)
end
"##;
    desk.result(&of(texts, json!({})), &[], &[], 0).map(drop)
}

/// A file that took not everything, one that cannot be read, and one that is not there.
fn failures_of_files(desk: &Desk) -> Result<()> {
    let reads = r#"
local dir = "/home/ops/data"
local folder = assert(io.open(dir))
for _, format in ipairs { "a", "l", "L", 5, "n" } do
    local none, why = folder:read(format)
    assert(none == nil and type(why) == "string", format)
end
local none, why = loadfile(dir)
assert(none == nil and why:find(dir, 1, true) == 1, why)
local ok, raised = pcall(function() for line in io.lines(dir) do error(line) end end)
assert(not ok and raised:find("try.lua:10: " .. dir .. ": ", 1, true), raised)
none, why = io.open(dir .. "/missing", "r+")
assert(none == nil and why:find("it is not there", 1, true), why)
assert(#assert(io.open(dir .. "/lines")):read(1 << 40) == 14)
local names = waft.list_dir(dir)
for _, name in ipairs(names) do assert(name ~= "missing") end
"#;
    let rw = "fs:/home/ops/data:rw";
    desk.result(&of(reads, json!({})), &[rw], &[], 0)?;

    // A name that is no UTF-8 is the name that is there.
    let latin = desk.machine.path("/home/ops/data").join(OsStr::from_bytes(b"caf\xe9"));
    fs::write(&latin, "").expect("a file");
    let lists = r#"
local names = table.concat(waft.list_dir("/home/ops/data"), "/")
assert(names:find("caf\xe9", 1, true), ("%q"):format(names))
"#;
    desk.result(&of(lists, json!({})), &[rw], &[], 0)?;
    fs::remove_file(latin).expect("the file");

    // In a dry run `disk:` is the size of the file system.
    let full = r#"
local dir, how = "/home/ops/data", waft.params.how
local fill = assert(io.open(dir .. "/fill", "w"))
while fill:write(("x"):rep(9000)) do end
assert(not fill:close() and io.type(fill) == "closed file")
local file = assert(io.open(dir .. "/last", how == "both" and "w+" or "w"))
-- Less than a buffer is a success until it is written.
local written = file:write(("y"):rep((how == "spoilt" or how == "both") and 9000 or 10))
if how == "close" then
    assert(written)
    assert(file:close())
elseif how == "collected" then
    file = nil
    collectgarbage()
    collectgarbage()
elseif how == "exit" then
    os.exit(0)
elseif how == "result" then
    waft.result(true)
end
return { changed = true }
"#;
    for how in ["close", "open", "collected", "exit", "result", "spoilt", "both"] {
        let script = of(full, json!({ "how": how }));
        let result = desk.result(&script, &[rw, "disk:256K"], &["--check"], 3)?;
        let stderr = text(&result, "stderr");
        assert!(
            result["status"] == "failed" && stderr.contains("No space left on device"),
            "{how}: {result}"
        );
        assert_eq!(stderr.contains("/home/ops/data/last: "), how != "close", "{how}: {result}");
        assert_eq!(text(&result, "stdout").is_empty(), how != "result", "{how}: {result}");
    }
    Ok(())
}

fn json_both_ways(desk: &Desk) -> Result<()> {
    let echo = r#"
local given = waft.params
assert(given.none == nil and given.list[2] == waft.null and given.deep.empty)
assert(math.type(given.whole) == "integer" and math.type(given.float) == "float")
assert(waft.encode(waft.decode(waft.encode(given))) == waft.encode(given))
for _, bad in ipairs { "", "{", "[1,]", "01", "nul", '"\n"', '{"a" 1}', "1 2", '"\\x"', "-", '{"a":1,}', "+1", "[" } do
    local ok, why = pcall(waft.decode, bad)
    assert(not ok and why.code == "waft.json", bad)
end
for _, bad in ipairs { { 1, nil, 3 }, { 1, a = 2 }, { [5] = 1 }, { [true] = 1 }, print, 0 / 0, 1 / 0, "\xff" } do
    local ok, why = pcall(waft.encode, bad)
    assert(not ok and why.code == "waft.json", tostring(bad))
end
given.made = { list = waft.array {}, object = {}, null = waft.null }
return given
"#;
    let given = json!({
        "text": "h\u{e9}llo \u{1f600} \"\\\n\t\u{1}\u{7f}", "whole": 9_007_199_254_740_993_i64, "float": -0.5,
        "large": 1e300, "no": false, "none": null, "list": [1, null, [], {"a": [2.0]}], "deep": {"empty": []},
    });
    let result = desk.result(&of(echo, given.clone()), &[], &[], 0)?;
    let mut expected = given;
    let fields = expected.as_object_mut().expect("an object");
    fields.remove("none");
    fields.insert("changed".into(), false.into());
    fields.insert("made".into(), json!({ "list": [], "object": {}, "null": null }));
    assert_eq!(result["result"], expected, "{result}");
    Ok(())
}

fn calls(desk: &Desk) -> Result<()> {
    let calls = r#"
waft.log("a line", 1)
waft.progress(1, 2, "half")
local ok, refused = pcall(waft.secret, "none")
local made = "/home/ops/data/made"
local program = waft.run({ "/bin/cat" }, { input = "a\xff\0" })
local failed, why = pcall(waft.run, { "/bin/cat", "-Z" }, { check = true })
return {
    kernel = waft.facts().kernel ~= nil, kind = waft.stat(made).kind, gone = waft.stat(made .. "2").kind == nil,
    mode = waft.chmod(made, 384), mode_again = waft.chmod(made, "0600"), refused = refused.code,
    exit_code = program.exit_code, bytes = { program.stdout:byte(1, -1) }, failed = why.code,
    resolved = not pcall(waft.resolve, "db.internal"), connected = not pcall(waft.connect, "db.internal", 1),
    called = not pcall(waft.call, "facts"), blob = not pcall(waft.blob, ("0"):rep(64)),
}
"#;
    let grants = ["facts", "fs:/home/ops/data:rw", "exec:/bin/cat **"];
    let result = desk.result(&of(calls, json!({})), &grants, &[], 0)?;
    let expected = json!({ "changed": false, "kernel": true, "kind": "file", "gone": true, "mode": true,
        "mode_again": false, "refused": "grant.missing", "exit_code": 0, "bytes": [97, 255, 0], "failed": "exec.failed",
        "resolved": true, "connected": true, "called": true, "blob": true });
    assert_eq!(result["result"], expected, "{result}");
    Ok(())
}
