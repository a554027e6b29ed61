use super::*;
use crate::manifest::{Manifest, Place};
use crate::params::{merge, sensitive};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use waft_proto::run::Problem;

const FILE: &str = r#"
    name = "file"
    [params.path]
    type = "string"
    required = true
    description = "Where it is."
    aliases = ["dest", "name"]
    pattern = '^/'
    [params.state]
    type = "string"
    enum = ["file", "directory", "absent"]
    default = "file"
    [params.port]
    type = "integer"
    minimum = 1
    maximum = 65535
    [params.load]
    type = "number"
    [params.force]
    type = "boolean"
    default = false
    [params.tags]
    type = "array"
    items = { type = "string", minLength = 2 }
    maxItems = 3
    [params.mounts]
    type = "array"
    [params.mounts.items]
    type = "object"
    properties.path = { type = "string", required = true }
    properties.opts = { type = "string", default = "ro", aliases = ["options"] }
    additionalProperties = false
    [params.mode]
    type = ["integer", "string"]
    [params.labels]
    type = "object"
    additionalProperties = { type = "string" }
    [params.password]
    type = "string"
    sensitive = true
    maxLength = 8
    [params.src]
    type = "file"
"#;

fn schema(text: &str) -> Object {
    Manifest::parse("t.toml", text, Place::Section).expect("a manifest").params.expect("parameters")
}

/// As `waft run -p ..` with a file of parameters reads them.
fn fit(flags: &[&str], file: &str) -> Result<Value, Vec<Problem>> {
    let params = merge(flags, Some(("p.json", file))).expect("parameters");
    params.fit("file", &schema(FILE)).map(|params| Value::Object(params.object))
}

fn said(flags: &[&str], file: &str) -> Vec<(String, String)> {
    let problems = fit(flags, file).expect_err("problems");
    assert!(problems.iter().all(|problem| !problem.message.contains("hunter2")), "{problems:#?}");
    problems.into_iter().map(|problem| (problem.code.clone(), format!("{problem}"))).collect()
}

#[track_caller]
fn one(flags: &[&str], file: &str, code: &str, words: &[&str]) {
    let problems = fit(flags, file).expect_err("a problem");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let text = format!("{} / {}", problems[0].message, problems[0].hint.clone().unwrap_or_default());
    assert_eq!(problems[0].code, code, "{text}");
    for word in words {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn text_becomes_what_the_schema_asks_for_and_defaults_are_filled_in() {
    let flags = [
        "dest=/srv",
        "port=22",
        "load=0.5",
        "force=Yes",
        "tags=ab, cd",
        "mode=0644x",
        "labels={\"a\":\"b\"}",
    ];
    let expected = json!({
        "path": "/srv", "state": "file", "port": 22, "load": 0.5, "force": true, "tags": ["ab", "cd"],
        "mode": "0644x", "labels": {"a": "b"},
    });
    assert_eq!(fit(&flags, "{}"), Ok(expected));
    let file = r#"{"name": "/a", "force": null, "mode": 420.0, "mounts": [{"path": "/b", "options": "rw"}, {"path": "c"}]}"#;
    let expected = json!({
        "path": "/a", "state": "file", "force": false, "mode": 420,
        "mounts": [{"path": "/b", "opts": "rw"}, {"path": "c", "opts": "ro"}],
    });
    assert_eq!(fit(&[], file), Ok(expected));
    // The first type that a text can be; a flag goes before the file under whichever name.
    let given = fit(&["path=/x", "mode=7", "tags=[\"a,b\"]"], r#"{"dest": "/y"}"#).expect("right");
    assert_eq!((&given["path"], &given["mode"], &given["tags"]), (&json!("/x"), &json!(7), &json!(["a,b"])));
    // Without a type, what is allowed decides.
    let schema = schema("params.level = { enum = [1, true, \"high\", \"1.5\"] }");
    for (text, value) in
        [("1", json!(1)), ("true", json!(true)), ("high", json!("high")), ("1.5", json!("1.5"))]
    {
        let params = merge(&[format!("level={text}")], None).expect("parameters");
        assert_eq!(params.fit("t", &schema).expect("right").object["level"], value);
    }
    for (text, value) in [("on", true), ("1", true), ("OFF", false), ("n", false), ("false", false)] {
        assert_eq!(fit(&["path=/", &format!("force={text}")], "{}").expect("right")["force"], json!(value));
    }
}

#[test]
fn a_file_is_named_by_text_or_by_its_sign() {
    for flag in ["src=/etc/app.conf", "src@/etc/app.conf"] {
        let params = merge(&["path=/x", flag], None).expect("parameters");
        let params = params.fit("file", &schema(FILE)).expect("right");
        assert_eq!(params.files, [("src".to_owned(), "/etc/app.conf".into())]);
        assert!(!params.object.contains_key("src"));
    }
    one(&["path@/etc/x"], "{}", "params.type", &["is a file, expected a text", "-p path=TEXT"]);
    one(&["path=/"], r#"{"src": "/etc/shadow"}"#, "params.type", &["expected a file", "-p src@FILE"]);
    let reference = json!({"hash": "ab", "bytes": 3, "name": "x"});
    let given = fit(&["path=/", &format!("src:={reference}")], "{}").expect("one that was sent before");
    assert_eq!(given["src"], reference);
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let flags = ["prot=22", "force=perhaps", "load=fast", "mounts:=[{\"path\": \"/a\"}, {\"pth\": 1}, 7]"];
    let file = r#"{"state": "directry", "tags": ["ab", "c", 3, "de"], "labels": {"a": 1}, "password": "hunter2hunter2"}"#;
    let said = said(&flags, file);
    let all: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
    for (code, words) in [
        ("params.missing", "the parameter `path` of file is missing: Where it is"),
        ("params.unknown", "file has no parameter `prot`"),
        ("params.choice", r#"`state` of file is "directry", expected "file" or "directory" or "absent""#),
        ("params.type", r#"`force` of file is "perhaps", expected true or false"#),
        ("params.type", r#"`load` of file is "fast", expected a number"#),
        ("params.items", "`tags` of file has 4 items, expected at most 3"),
        ("params.length", "`tags[1]` of file has 1 characters, expected at least 2"),
        ("params.type", "`tags[2]` of file is 3, expected a text"),
        ("params.missing", "the parameter `mounts[1].path` of file is missing"),
        ("params.unknown", "the parameter `mounts[1]` of file has no `pth`"),
        ("params.type", "`mounts[2]` of file is 7, expected an object"),
        ("params.type", "`labels.a` of file is 1, expected a text"),
        ("params.length", "`password` of file has 14 characters, expected at most 8"),
    ] {
        assert!(said.iter().any(|(c, text)| c == code && text.contains(words)), "{code} {words} in {all:#?}");
    }
    assert_eq!(said.len(), 13, "{all:#?}");
}

#[test]
fn a_problem_says_what_to_do() {
    one(&["pth=/x", "path=/x"], "{}", "params.unknown", &["did you mean `path`?"]);
    one(&["zzzzzz=/x", "path=/x"], "{}", "params.unknown", &["known are path, state, port"]);
    one(&["path=/x", "state=directry"], "{}", "params.choice", &["did you mean `directory`?"]);
    one(&[], "{}", "params.missing", &["give it: -p path=TEXT"]);
    one(&["path=x"], "{}", "params.pattern", &[r#"is "x", which does not match `^/`"#]);
    one(&["path=/", "port=0"], "{}", "params.range", &["is 0, expected 1 to 65535"]);
    one(&["path=/", "port=1.5"], "{}", "params.type", &["is \"1.5\", expected a whole number"]);
    one(&["path=/"], r#"{"port": "22"}"#, "params.type", &["in JSON without quotes"]);
    one(&["path=/"], r#"{"force": "yes"}"#, "params.type", &["without quotes"]);
    one(&["path=/", "dest=/"], "{}", "params.alias", &["are one parameter of file: `path`"]);
    one(&[], r#"{"path": "/", "name": "/"}"#, "params.alias", &["one parameter"]);
    one(&["path=/", "password:=1234567"], "{}", "params.type", &["is (sensitive), expected a text"]);
}

#[test]
fn whole_numbers_are_compared_exactly_and_numbers_by_their_value() {
    let codes = |param: &str, value: Value| -> Vec<String> {
        let schema = schema(&format!("params.n = {{ {param} }}"));
        let params =
            merge::<&str>(&[], Some(("p.json", &json!({"n": value}).to_string()))).expect("parameters");
        let problems = params.fit("t", &schema).err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.code).collect()
    };
    // From here on a float does not know each whole number.
    const EDGE: i64 = 9_007_199_254_740_992;
    let (max, min) = (format!("maximum = {EDGE}"), format!("minimum = {}", EDGE + 1));
    for kind in ["type = \"integer\"", "type = \"number\""] {
        let at_most = format!("{kind}, {max}");
        assert!(codes(&at_most, json!(EDGE)).is_empty());
        assert_eq!(codes(&at_most, json!(EDGE + 1)), ["params.range"]);
        let at_least = format!("{kind}, {min}");
        assert!(codes(&at_least, json!(EDGE + 1)).is_empty());
        assert_eq!(codes(&at_least, json!(EDGE)), ["params.range"]);
        assert_eq!(codes(&at_most, json!(u64::MAX)), ["params.range"]);
    }
    let float = format!("type = \"number\", maximum = {EDGE}.0");
    assert_eq!(codes(&float, json!(EDGE + 1)), ["params.range"]);
    assert_eq!(codes(&float, json!(1e300)), ["params.range"]);
    assert!(codes(&float, json!(0.5)).is_empty() && codes(&float, json!(-1e300)).is_empty());
    let manifest = format!("[params.n]\ntype = \"integer\"\n{min}\n{max}\n");
    let problems = Manifest::parse("t.toml", &manifest, Place::Section).expect_err("nothing is between");
    assert_eq!(problems[0].code, "manifest.range");
    for choices in ["type = \"number\", enum = [1, 2.5]", "enum = [1, 2.5, [1, {a = 2}]]"] {
        for value in [json!(1), json!(1.0), json!(2.5)] {
            assert!(codes(choices, value.clone()).is_empty(), "{choices} {value}");
        }
        assert_eq!(codes(choices, json!(1.5)), ["params.choice"], "{choices}");
    }
    let nested = "enum = [[1, {a = 2}]]";
    assert!(codes(nested, json!([1.0, {"a": 2.0}])).is_empty());
    for other in [json!([1, {"a": 3}]), json!([1]), json!([1, {"b": 2}]), json!([1, {"a": 2, "b": 2}])] {
        assert_eq!(codes(nested, other.clone()), ["params.choice"], "{other}");
    }
}

#[test]
fn a_flood_of_problems_is_bounded() {
    let items: Vec<Value> = (0..10_000).map(Value::from).collect();
    let problems = fit(&["path=/"], &json!({"mounts": items}).to_string()).expect_err("ten thousand");
    assert_eq!(problems.len(), PROBLEMS_MAX + 1);
    assert!(problems[PROBLEMS_MAX].message.starts_with("9950 more problems"), "{}", problems[PROBLEMS_MAX]);
}

#[test]
fn what_is_sensitive_is_found_wherever_it_is() {
    let schema = schema(
        r#"
        params.pin = { type = "integer", sensitive = true }
        params.path = { type = "string" }
        [params.users]
        type = "array"
        [params.users.items]
        type = "object"
        properties.name = { type = "string" }
        properties.keys = { type = "array", sensitive = true }
        "#,
    );
    let Value::Object(values) =
        json!({"pin": 123456, "path": "/x", "users": [{"name": "a", "keys": ["k1", {"b": "k2"}]}]})
    else {
        panic!("an object")
    };
    let found = sensitive(&schema, &values);
    let expected = [("/pin", "123456"), ("/users/0/keys/0", "k1"), ("/users/0/keys/1/b", "k2")];
    assert_eq!(found, expected.map(|(at, value)| (at.to_owned(), value.to_owned())));
}

#[test]
fn what_a_manifest_says_wrong_is_told_with_its_line() {
    let text = "[params.a]\ntpye = \"string\"\n\
        [params.b]\ntype = \"text\"\n\
        [params.c]\ntype = \"integer\"\npattern = \"x\"\nminimum = 3\nmaximum = 1\n\
        [params.d]\npattern = '(?=x)'\n\
        [params.e]\ntype = \"integer\"\ndefault = \"x\"\n\
        [params.f]\nenum = []\n\
        [params.g]\naliases = [\"a\"]\n\
        [params.\"a b\"]\n\
        [params.h]\nrequired = [\"x\"]\n\
        [params.i]\nrequired = true\ndefault = 1\n\
        [params.j]\nitems = { type = \"file\" }\n\
        [result.k]\ntype = 1\n";
    let problems = Manifest::parse("t.toml", text, Place::Section).expect_err("mistakes");
    let said: Vec<String> = problems.iter().map(|p| format!("{} {}", p.code, p.message)).collect();
    for expected in [
        "manifest.key t.toml, line 2: `tpye` is no key of `params.a`",
        "manifest.word t.toml, line 4: `type` is `text`, expected string or integer",
        "manifest.type t.toml, line 7: `pattern` is for string, and `params.c` is of the type integer",
        "manifest.range t.toml, line 5: `minimum` of `params.c` is more than its `maximum`",
        "manifest.pattern t.toml, line 11: `pattern` cannot be used",
        "manifest.default t.toml, line 14: the default of `params.e` is not right: it is \"x\", expected a whole number",
        "manifest.type t.toml, line 16: `enum` is a list of values",
        "manifest.name t.toml, line 19: `a b` is no name of a parameter",
        "manifest.type t.toml, line 21: `required` is true or false",
        "manifest.default t.toml, line 24: `params.i` is required and has a default",
        "manifest.word t.toml, line 26: only a parameter itself can be a file",
        "manifest.type t.toml, line 28: `type` is a text",
    ] {
        assert!(said.iter().any(|said| said.starts_with(expected)), "{expected} in {said:#?}");
    }
    assert_eq!(said.len(), 12, "{said:#?}");
    assert!(problems.iter().all(|problem| problem.hint.is_some()), "{problems:#?}");
    let clash = Manifest::parse("t.toml", "[params.a]\n[params.b]\naliases=['a']\n", Place::Section);
    assert_eq!(clash.expect_err("one name twice")[0].code, "manifest.alias");
}

#[test]
fn a_manifest_is_bounded() {
    let code = |text: &str| Manifest::parse("t", text, Place::Section).expect_err("too much").remove(0).code;
    let many: String = (0..=PROPERTIES_MAX).map(|at| format!("[params.p{at}]\n")).collect();
    assert_eq!(code(&many), "manifest.many");
    let deep =
        format!("params.a = {}{}", "{ items = ".repeat(DEPTH_MAX), "{}".to_owned() + &"}".repeat(DEPTH_MAX));
    assert_eq!(code(&deep), "manifest.deep");
    assert_eq!(code("params.a = { pattern = '(a{1000}){1000}' }"), "manifest.pattern");
    assert_eq!(code("params.a = { pattern = '(((((a*)*)*)*)*)*){1000}' }"), "manifest.pattern");
    assert_eq!(code(&"[[examples]]\n".repeat(40)), "manifest.many");
    assert_eq!(code("params = 1"), "manifest.type");
    assert_eq!(code("params.additionalProperties = false\nparams.x = true"), "manifest.type");
}

#[test]
fn examples_have_to_be_right() {
    let example = |text: &str| Manifest::parse("t", &format!("{FILE}\n[[examples]]\n{text}"), Place::Section);
    let good = "description = 'A link'\nparams = { dest = '/x', src = './app.conf', tags = ['ab'] }\ngrants = ['fs:/x:rw']";
    let manifest = example(good).expect("right");
    assert_eq!(manifest.examples[0].grants, ["fs:/x:rw"]);
    assert_eq!(manifest.examples[0].params["src"], json!("./app.conf"));
    let all = example("params = { path = '/x' }\ngrants = 'asked'").expect("right");
    assert_eq!(all.examples[0].grants, ["asked"]);
    for (text, code) in [
        ("params = { path = '/x', prot = 1 }", "manifest.example"),
        ("params = { state = 'file' }", "manifest.example"),
        ("description = 'nothing'", "manifest.example"),
        ("params = { path = '/x' }\ngrants = ['fs:x']", "grant.syntax"),
        ("params = { path = '/x' }\ngrants = 'given'", "manifest.type"),
        ("parms = { path = '/x' }", "manifest.key"),
        ("params = { path = 1979-05-27 }", "manifest.type"),
    ] {
        assert_eq!(example(text).expect_err(text)[0].code, code, "{text}");
    }
}

#[test]
fn it_is_printed_as_a_json_schema() {
    let document = schema(FILE).document();
    assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(document["required"], json!(["path"]));
    assert_eq!(document["additionalProperties"], json!(false));
    let properties = &document["properties"];
    assert_eq!(properties["port"], json!({"type": "integer", "minimum": 1, "maximum": 65535}));
    assert_eq!(properties["mounts"]["items"]["required"], json!(["path"]));
    assert_eq!(properties["src"], json!({"type": "object", "x-file": true}));
    assert_eq!(properties["password"]["writeOnly"], json!(true));
    assert_eq!(properties["path"]["x-aliases"], json!(["dest", "name"]));
}

#[test]
fn whatever_is_asked_for_can_be_said() {
    let manifest = Manifest::parse("t", "grants = \"given\"", Place::Section).expect("a manifest");
    assert_eq!(manifest.asked(), None);
    let problems = Manifest::parse("t", "grants = \"all\"", Place::Section).expect_err("a list");
    assert!(problems[0].hint.as_ref().is_some_and(|hint| hint.contains("\"given\"")), "{problems:?}");
}

/// Pieces of manifests and values put together by chance: nothing panics, and what was accepted stays so.
#[test]
fn no_manifest_and_no_value_made_by_chance_breaks_it() {
    const PIECES: [&str; 40] = [
        "[params.a]\n",
        "[params]\n",
        "[params.a.items]\n",
        "[result.a]\n",
        "[[examples]]\n",
        "type = \"string\"\n",
        "type = [\"integer\", \"string\"]\n",
        "type = \"object\"\n",
        "type = \"array\"\n",
        "type = \"file\"\n",
        "type = [\n",
        "required = true\n",
        "default = 1\n",
        "default = \"x\"\n",
        "default = [1, {a = 2}]\n",
        "enum = [1, \"a\", true]\n",
        "minimum = -1.5\n",
        "maximum = 9223372036854775807\n",
        "minLength = 2\n",
        "maxLength = -1\n",
        "pattern = '[a-'\n",
        "pattern = '^a+$'\n",
        "minItems = 1\n",
        "maxItems = 0\n",
        "items = { type = \"number\" }\n",
        "properties.b = { type = \"boolean\", default = true }\n",
        "additionalProperties = false\n",
        "additionalProperties = { type = \"string\" }\n",
        "aliases = [\"b\", \"c\"]\n",
        "sensitive = true\n",
        "params = { a = 1 }\n",
        "params = { a = nan }\n",
        "grants = [\"facts\"]\n",
        "grants = \"given\"\n",
        "description = \"\u{202e}\"\n",
        "name = \"x\"\n",
        "\"\\u0000\" = 1\n",
        "a.b.c = 1\n",
        "= \n",
        "default = 07:32:00\n",
    ];
    let values = [
        json!(null),
        json!(1),
        json!(1.0),
        json!(-1e300),
        json!("a"),
        json!(""),
        json!("yes"),
        json!(true),
        json!([]),
        json!([1, "a", [null]]),
        json!({}),
        json!({"b": "x"}),
        json!({"hash": "", "bytes": 0}),
        json!(u64::MAX),
        json!("\u{0}\u{202e}"),
    ];
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = |count: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        usize::try_from(chance % count as u64).expect("a place")
    };
    let mut read = 0;
    for _ in 0..20_000 {
        let start = ["[params.a]\n", ""][pick(2)];
        let text: String = (0..1 + pick(5)).map(|_| PIECES[pick(PIECES.len())]).collect();
        let text = format!("{start}{text}");
        let Ok(manifest) = Manifest::parse("t", &text, Place::Section) else { continue };
        let Some(schema) = manifest.params else { continue };
        read += 1;
        schema.document();
        let names = ["a", "b", "c", "d"];
        let object = |pick: &mut dyn FnMut(usize) -> usize| {
            let count = pick(4);
            (0..count)
                .map(|_| (names[pick(4)].to_owned(), values[pick(values.len())].clone()))
                .collect::<Map<_, _>>()
        };
        let given = object(&mut pick);
        let source = [Source::Text, Source::Json][pick(2)];
        let sources = BTreeMap::from([(names[pick(4)].to_owned(), source)]);
        if let Ok(checked) = Checker::new("t").params(&schema, given, &sources) {
            sensitive(&schema, &checked);
            let again = Checker::new("t").params(&schema, checked.clone(), &BTreeMap::new());
            assert_eq!(again.as_ref(), Ok(&checked), "{text}");
        }
    }
    assert!(read > 500, "only {read} manifests were read: the pieces do not fit together");
}
