use crate::desk::{Desk, Script};
use crate::{text, works};
use serde_json::{Value, json};
use waft_tests::Result;
use waft_tests::machine::is_possible;

fn script(what: &str, params: Value) -> Script {
    let text = match what {
        "write" => {
            "
import json, os, pathlib, sys, waft
given = json.load(sys.stdin)
assert given == waft.params(), given
path = pathlib.Path(given['path'])
with open(path, 'w') as file:
    file.write(given['text'])
assert os.listdir(path.parent) == ['made'], os.listdir(path.parent)
waft.result(True, 'written', check=waft.check, read=path.read_text(), args=sys.argv[1:])
"
        }
        "run" => {
            "
import waft
waft.result(stdout=waft.run(waft.params()['argv'], check=True).stdout)
"
        }
        "loop" => "while True: pass",
        "exit" => {
            "
import sys, waft
print('before')
sys.exit(waft.params()['code'])
"
        }
        other => panic!("there is no script {other}"),
    };
    of(text, params)
}

fn of(text: &'static str, params: Value) -> Script {
    Script { task: "python", name: "try.py", text, params }
}

#[test]
fn a_python_script_runs_where_there_is_no_python() -> Result<()> {
    if !is_possible() {
        eprintln!("SKIPPED: a machine with a root of its own, for which user namespaces are needed");
        return Ok(());
    }
    let desk = Desk::of("python")?;
    works(&desk, script)?;
    its_own(&desk)
}

/// What only Python has.
fn its_own(desk: &Desk) -> Result<()> {
    // As Python says it, with the script's lines and nothing of what runs it.
    let raises = "
def inner(value):
    return value / 0

inner(
    1)
";
    let result = desk.result(&of(raises, json!({})), &[], &[], 3)?;
    let traceback = "Traceback (most recent call last):
  File \"try.py\", line 5, in <module>
    inner(
    ~~~~~^
        1)
        ^^
  File \"try.py\", line 3, in inner
    return value / 0
           ~~~~~~^~~
ZeroDivisionError: division by zero
";
    assert_eq!((&result["exit_code"], text(&result, "stderr")), (&1.into(), traceback), "{result}");
    let result = desk.result(&of("print(1)\nif x\n", json!({})), &[], &[], 3)?;
    let said = text(&result, "stderr");
    assert!(said.contains("File \"try.py\", line 2") && said.contains("SyntaxError"), "{said}");
    assert!(!said.contains("app.py"), "{said}");
    // What is printed is the output, and only one object is a result.
    let result = desk.result(&of("print('plain'); print('text')", json!({})), &[], &[], 0)?;
    assert_eq!((&result["result"], text(&result, "stdout")), (&Value::Null, "plain\ntext\n"), "{result}");

    // The library that the documentation names.
    let imports = "
import importlib
names = '''json re datetime collections itertools functools math statistics hashlib hmac base64 binascii textwrap string
struct pathlib os os.path shutil io csv configparser tomllib difflib fnmatch glob ipaddress urllib.parse uuid dataclasses
enum typing time random decimal fractions html xml.etree.ElementTree argparse logging traceback contextlib copy heapq bisect
operator secrets zlib gzip tarfile zipfile'''.split()
for name in names:
    importlib.import_module(name)
import datetime, hashlib, decimal, random, re, uuid, xml.etree.ElementTree as tree, zlib
assert hashlib.sha256(b'a').hexdigest().startswith('ca978112')
assert zlib.decompress(zlib.compress(b'a' * 100)) == b'a' * 100
assert str(decimal.Decimal('0.1') + decimal.Decimal('0.2')) == '0.3'
assert tree.fromstring('<a><b>x</b></a>').find('b').text == 'x'
assert re.sub(r'(?P<n>\\d+)', r'<\\g<n>>', 'a1') == 'a<1>'
assert datetime.datetime.now().year > 2025
print(random.random(), uuid.uuid4())
";
    let [first, second] = [(); 2].map(|()| desk.result(&of(imports, json!({})), &[], &[], 0));
    let (first, second) = (first?, second?);
    // Not the numbers that were drawn when the component was built.
    let numbers = |result: &Value| -> Vec<String> {
        text(result, "stdout").split_whitespace().map(str::to_owned).collect()
    };
    for (one, other) in numbers(&first).iter().zip(&numbers(&second)) {
        assert_ne!(one, other);
    }
    // What waft could not read is readable, or is said.
    let cut = "import waft; waft.result(True, b'caf\\xe9'.decode(errors='surrogateescape'), sign='\u{e9}')";
    let result = desk.result(&of(cut, json!({})), &[], &[], 0)?;
    assert_eq!(result["result"], json!({ "changed": true, "msg": "caf?", "sign": "\u{e9}" }), "{result}");
    let result =
        desk.result(&of("import waft; waft.result(True, x=float('nan'))", json!({})), &[], &[], 3)?;
    assert!(text(&result, "stderr").contains("the result is no JSON: "), "{result}");
    // What is not there says so.
    let result = desk.result(&of("import sqlite3", json!({})), &[], &[], 3)?;
    let said = text(&result, "stderr");
    assert!(
        said.contains("the module sqlite3 is not in the Python of waft") && said.contains("json"),
        "{said}"
    );
    let result = desk.result(&of("import subprocess", json!({})), &[], &[], 3)?;
    assert!(text(&result, "stderr").contains("waft.run("), "{result}");

    // The other calls.
    let calls = "
import waft
waft.log('a line', 1)
waft.progress(1, 2, 'half')
try:
    waft.secret('none')
except waft.Problem as problem:
    refused = problem.code
for words, said in (['rm', None, 'x'], 'word 2 of 3'), (['rm', ['x']], 'is a list'), ('rm -rf', 'is a text'):
    try:
        waft.run(words)
        assert False, words
    except waft.Problem as problem:
        assert problem.code == 'waft.argument' and said in problem.message, problem
waft.result(kernel='kernel' in waft.facts(), kind=waft.stat('/home/ops/data/made')['kind'],
            mode=waft.chmod('/home/ops/data/made', 0o600), refused=refused)
";
    let result = desk.result(&of(calls, json!({})), &["facts", "fs:/home/ops/data:rw"], &[], 0)?;
    let expected =
        json!({ "changed": false, "kernel": true, "kind": "file", "mode": true, "refused": "grant.missing" });
    assert_eq!(result["result"], expected, "{result}");

    // Parameters of the task itself.
    let wrong = Script { params: json!("text"), ..of("", json!({})) };
    let output = desk.script(&wrong, &[], &[])?;
    assert!(matches!(output.code(), Some(2 | 3)), "{output}");
    assert!(output.stdout().contains("params") || output.stderr().contains("params"), "{output}");
    Ok(())
}
