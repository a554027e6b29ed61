//! What `#[derive(waft::Params)]` reads, and the schema that it writes.

extern crate waft_sdk as waft;

use std::collections::BTreeMap;
use std::path::PathBuf;
use waft::schema::text;
use waft::serde_json::{self, Value, json};
use waft::{File, Outcome, Params, Result};

/// A site.
#[derive(waft::Params, Debug)]
struct Site {
    /// Where it lies,
    /// "absolute".
    #[param(alias = "dest", alias = "name", min_length = 1, pattern = "^/\\S+$")]
    path: String,
    #[param(default = "present")]
    state: State,
    #[param(default = 80, minimum = 1)]
    port: u16,
    #[param(default = -0.5, maximum = 1)]
    weight: f64,
    owner: Option<String>,
    #[param(default = ["a", "b"], max_items = 3)]
    index: Vec<String>,
    #[param(choices = ["http", "https"], default = "https")]
    scheme: String,
    #[param(rename = "private-key", sensitive)]
    key: Option<String>,
    r#type: Option<bool>,
    certificate: Option<File>,
    #[param(min_items = 1)]
    aliases: Option<Vec<Alias>>,
    labels: Option<BTreeMap<String, String>>,
    anything: Option<Value>,
    dir: Option<PathBuf>,
    count: Option<u64>,
    signed: Option<i8>,
}

#[derive(waft::Params, Debug, PartialEq, Clone, Copy)]
enum State {
    Present,
    Absent,
    NotYet,
    #[param(rename = "as it is")]
    As,
}

#[derive(waft::Params, Debug, PartialEq)]
struct Alias {
    host: String,
    #[param(default = true)]
    redirect: bool,
}

fn read(value: Value) -> Site {
    serde_json::from_value(value).unwrap()
}

fn refused(value: Value) -> String {
    serde_json::from_value::<Site>(value).unwrap_err().to_string()
}

#[test]
fn what_is_missing_is_filled_in() {
    let site = read(json!({"path": "/srv"}));
    assert_eq!((site.path.as_str(), site.state, site.port, site.weight), ("/srv", State::Present, 80, -0.5));
    assert_eq!((site.index, site.scheme.as_str()), (vec!["a".to_owned(), "b".to_owned()], "https"));
    assert!(site.owner.is_none() && site.key.is_none() && site.r#type.is_none() && site.aliases.is_none());
}

#[test]
fn what_is_given_is_taken_under_each_of_its_names() {
    let site = read(json!({"name": "/x", "state": "not_yet", "port": 8080, "weight": 1, "type": true,
        "private-key": "k", "aliases": [{"host": "h"}], "certificate": {"hash": "00", "bytes": 1, "name": "c.pem"},
        "anything": [1], "labels": {"a": "b"}, "dir": "/d", "count": 1, "signed": -1}));
    assert_eq!(
        (site.path.as_str(), site.state, site.port, site.r#type),
        ("/x", State::NotYet, 8080, Some(true))
    );
    assert_eq!(site.aliases.unwrap(), [Alias { host: "h".into(), redirect: true }]);
    assert_eq!((site.key.as_deref(), site.certificate.unwrap().name.as_str()), (Some("k"), "c.pem"));
    assert_eq!((site.dir, site.count, site.signed), (Some("/d".into()), Some(1), Some(-1)));
    assert!(site.anything.is_some() && site.labels.is_some());
    assert_eq!(read(json!({"path": "/", "state": "as it is"})).state, State::As);
    assert_eq!(read(json!({"path": "/", "state": "absent"})).state, State::Absent);
}

#[test]
fn what_the_task_cannot_use_is_refused_without_a_manifest_too() {
    for (given, said) in [
        (json!({}), "missing field `path`"),
        (json!({"path": "/", "prot": 1}), "unknown field `prot`"),
        (json!({"path": "/", "dest": "/"}), "duplicate field `path`"),
        (json!({"path": "/", "port": 0}), "`port` is less than 1"),
        (json!({"path": "/", "port": 65536}), "u16"),
        (json!({"path": "/", "weight": 1.5}), "`weight` is more than 1"),
        (json!({"path": "/", "scheme": "ftp"}), "`scheme` is none of http, https"),
        (json!({"path": "/", "state": "there"}), "unknown variant `there`"),
        (json!({"path": "/", "index": ["", "", "", ""]}), "`index` has more than 3 entries"),
        (json!({"path": "/", "aliases": []}), "`aliases` has less than 1 entries"),
        (json!({"path": "/", "aliases": [{"host": "h", "x": 1}]}), "unknown field `x`"),
    ] {
        let message = refused(given);
        assert!(message.contains(said), "{said:?} is not in {message:?}");
    }
}

/// As another program reads it.
#[test]
fn the_schema_is_toml_of_a_manifest() {
    let schema: toml::Table = toml::from_str(&text(Site::PARAMS)).unwrap();
    let expected: toml::Table = toml::from_str(
        r#"
        path = { type = "string", description = "Where it lies, \"absolute\".", required = true, aliases = ["dest", "name"],
            minLength = 1, pattern = '^/\S+$' }
        state = { type = "string", enum = ["present", "absent", "not_yet", "as it is"], default = "present" }
        port = { type = "integer", default = 80, minimum = 1, maximum = 65535 }
        weight = { type = "number", default = -0.5, maximum = 1 }
        owner = { type = "string" }
        index = { type = "array", items = { type = "string" }, default = ["a", "b"], maxItems = 3 }
        scheme = { type = "string", enum = ["http", "https"], default = "https" }
        private-key = { type = "string", sensitive = true }
        type = { type = "boolean" }
        certificate = { type = "file" }
        labels = { type = "object", additionalProperties = { type = "string" } }
        anything = { type = ["string", "integer", "number", "boolean", "array", "object"] }
        dir = { type = "string" }
        count = { type = "integer", minimum = 0 }
        signed = { type = "integer", minimum = -128, maximum = 127 }
        [aliases]
        type = "array"
        minItems = 1
        items.type = "object"
        items.additionalProperties = false
        items.properties.host = { type = "string", required = true }
        items.properties.redirect = { type = "boolean", default = true }
        "#,
    )
    .unwrap();
    for (name, schema) in &schema {
        assert_eq!(Some(schema), expected.get(name), "{name}");
    }
    assert_eq!(schema.len(), expected.len());
}

mod task {
    use super::*;

    struct Trouble(&'static str);

    impl From<Trouble> for waft::Error {
        fn from(trouble: Trouble) -> waft::Error {
            waft::Error::new("site.trouble", trouble.0)
        }
    }

    /// An error of its own.
    #[waft::task(name = "site", grants = ["fs:/srv:rw"], check, more = "more.toml")]
    fn run(site: Site) -> Result<Outcome, Trouble> {
        match site.state {
            State::Absent => Err(Trouble("It is there.")),
            _ => Ok(Outcome::changed(true)),
        }
    }

    #[test]
    fn a_task_runs_with_its_own_errors() {
        assert!(waft::testing::run(run, json!({"path": "/"})).unwrap().is_changed());
        let error = waft::testing::run(run, json!({"path": "/", "state": "absent"})).unwrap_err();
        assert_eq!(error.code, "site.trouble");
        assert_eq!(waft::testing::run(run, json!({})).unwrap_err().code, "params.invalid");
        // It is a program, too.
        let _: fn() -> std::process::ExitCode = main;
    }
}

mod without {
    use super::*;

    #[waft::task]
    fn run() -> Result<Outcome> {
        let text = std::fs::read_to_string("/nowhere/at/all")?;
        Ok(Outcome::ok().with("value", &serde_json::from_str::<Value>(&text)?))
    }

    #[test]
    fn errors_of_std_are_errors_of_a_task() {
        assert_eq!(run().unwrap_err().code, "io.not_found");
        let _: fn() -> std::process::ExitCode = main;
    }
}
