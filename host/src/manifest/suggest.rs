//! What to give a task that was given nothing: not all that its manifest could ever use, but what its examples need, put to
//! the paths at hand.

use super::Example;
use super::agree::{covers, effective, rights, single};
use super::schema::Object;
use serde_json::{Map, Value};
use waft_proto::grant::{Grant, GrantSet};

/// Whether any part of a right is given: then somebody narrowed it, which is no mistake.
pub fn is_partly(right: &Grant, given: &GrantSet) -> bool {
    effective(Some(&single(right)), given).is_ok_and(|both| rights(&both).next().is_some())
}

/// Whether some example of what this run does needs none of the rights that are given no part of.
pub fn is_enough(
    examples: &[Example],
    schema: Option<&Object>,
    params: &Map<String, Value>,
    asked: &GrantSet,
    lacks: &[Grant],
) -> bool {
    let lacking = |grant: &Grant| {
        let from: Vec<Grant> = rights(asked).filter(|right| covers(&single(right), grant)).collect();
        from.iter().all(|right| lacks.contains(right))
    };
    let (same, other): (Vec<&Example>, Vec<&Example>) =
        examples.iter().partition(|example| does_the_same(example, schema, params));
    // Of something that the run does and these do not.
    let has = |example: &&Example, name: &String| example.params.contains_key(name);
    let alone: Vec<&String> =
        params.keys().filter(|name| !same.iter().any(|example| has(example, name))).collect();
    let other = other.into_iter().filter(|example| {
        !does_another(example, schema, params) && alone.iter().any(|name| has(example, name))
    });
    let counted: Vec<&Example> = other.chain(same.iter().copied()).collect();
    counted.into_iter().map(needs).any(|grants| !grants.is_empty() && !grants.iter().any(lacking))
}

fn needs(example: &Example) -> Vec<Grant> {
    example.grants.iter().filter_map(|text| Grant::parse(text).ok()).collect()
}

/// The grants to name first: those of the example that is most like these parameters. `None` when there is none that does
/// the same, or when it asks for as much.
pub fn narrower(
    examples: &[Example],
    schema: Option<&Object>,
    params: &Map<String, Value>,
    lacks: &[Grant],
    given: &GrantSet,
) -> Option<Vec<Grant>> {
    // What is never shown is in no hint either.
    let hidden =
        |name: &str| schema.and_then(|schema| schema.find(name)).is_some_and(|(_, found)| found.sensitive);
    let params: Map<String, Value> = params.clone().into_iter().filter(|(name, _)| !hidden(name)).collect();
    let params = &params;
    let alike = |example: &Example| {
        let same = params.iter().filter(|(name, value)| example.params.get(*name) == Some(value)).count();
        (same, params.keys().filter(|name| example.params.contains_key(*name)).count())
    };
    let mut best = None;
    for example in examples.iter().filter(|example| does_the_same(example, schema, params)) {
        let mut found: Vec<Grant> = Vec::new();
        let missing = needs(example).into_iter().filter(|grant| !is_partly(grant, given));
        for grant in missing.filter_map(|grant| fitted(&grant, example, params, lacks)) {
            if !found.contains(&grant) {
                found.push(grant);
            }
        }
        let like = alike(example);
        let is_some = found.iter().any(|grant| !lacks.contains(grant));
        if is_some && best.as_ref().is_none_or(|(other, _)| like > *other) {
            best = Some((like, found));
        }
    }
    best.map(|(_, found)| found)
}

/// Whether what is one of several words is the same one in the example, `state` above all.
fn does_the_same(example: &Example, schema: Option<&Object>, params: &Map<String, Value>) -> bool {
    choices(example, schema, params).all(|(of_example, of_run)| of_example == of_run)
}

/// Whether such a word of this run is another one in the example. What only the example says is none.
fn does_another(example: &Example, schema: Option<&Object>, params: &Map<String, Value>) -> bool {
    choices(example, schema, params).any(|(of_example, of_run)| of_run.is_some() && of_example != of_run)
}

/// What is one of several words: in the example, and in this run.
fn choices<'a>(
    example: &'a Example,
    schema: Option<&'a Object>,
    params: &'a Map<String, Value>,
) -> impl Iterator<Item = (Option<&'a Value>, Option<&'a Value>)> {
    let properties = schema.map(|schema| schema.properties.as_slice()).unwrap_or_default();
    properties.iter().filter(|(_, property)| !property.choices.is_empty()).map(move |(name, property)| {
        let of = |params: &'a Map<String, Value>| params.get(name).or(property.default.as_ref());
        (of(&example.params), of(params))
    })
}

/// A grant of an example for what this run has in the place of the example's parameters. `None` for a program that only
/// the example has.
fn fitted(grant: &Grant, example: &Example, params: &Map<String, Value>, lacks: &[Grant]) -> Option<Grant> {
    match grant {
        Grant::Fs { .. } => Some(directory(grant, example, params)),
        Grant::Exec(exec) => {
            let put = words(grant, example, params);
            let any = |lack: &Grant| matches!(lack, Grant::Exec(lack) if lack.program().is_none());
            // Who asks for any program names none of his own: it is one of the parameters.
            let named = |put: &Grant| matches!(put, Grant::Exec(put) if put.program() != exec.program());
            (named(&put) || !lacks.iter().any(any)).then_some(put)
        }
        _ => Some(grant.clone()),
    }
}

/// A program with the words of this run.
fn words(grant: &Grant, example: &Example, params: &Map<String, Value>) -> Grant {
    let text = grant.to_string();
    let (Some(command), false) = (text.strip_prefix("exec:"), text.contains('"')) else {
        return grant.clone();
    };
    let (command, probe) = match command.strip_suffix(":probe") {
        Some(command) => (command, ":probe"),
        None => (command, ""),
    };
    let other = |word: &str| {
        example.params.iter().find_map(|(name, value)| match (value, params.get(name)?) {
            (Value::String(value), Value::String(other)) if value == word => Some(other.clone()),
            (Value::Array(values), Value::Array(others)) => {
                let at = values.iter().position(|value| value.as_str() == Some(word))?;
                others.get(at)?.as_str().map(str::to_owned)
            }
            _ => None,
        })
    };
    let word = |word: &str| match other(word) {
        Some(other) if other.contains('*') => word.to_owned(),
        Some(other)
            if other.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+=,@".contains(&byte)) =>
        {
            other
        }
        Some(other) => Value::from(other).to_string(),
        None => word.to_owned(),
    };
    let command: Vec<String> = command.split(' ').map(word).collect();
    Grant::parse(&format!("exec:{}{probe}", command.join(" "))).unwrap_or_else(|_| grant.clone())
}

/// A directory of the example that holds a path of its parameters, for the path that this run has in its place: the same
/// directory when it holds that, too, else the one in which that is.
fn directory(grant: &Grant, example: &Example, params: &Map<String, Value>) -> Grant {
    let Grant::Fs { path: dir, access } = grant else { return grant.clone() };
    let holds = |dir: &str, path: &str| {
        single(&Grant::Fs { path: dir.to_owned(), access: *access })
            .check(&Grant::Fs { path: path.to_owned(), access: *access })
            .is_ok()
    };
    let path_of = |params: &Map<String, Value>, name: &str| {
        let path = params.get(name)?.as_str()?.trim_end_matches('/');
        matches!(Grant::parse(&format!("fs:{path}")), Ok(Grant::Fs { path: read, .. }) if read == path)
            .then(|| path.to_owned())
    };
    let of_dir = |name: &&String| path_of(&example.params, name).is_some_and(|path| holds(dir, &path));
    let named = example.params.keys().filter(of_dir).find_map(|name| path_of(params, name));
    match named.as_deref() {
        Some(path) if !holds(dir, path) => Grant::Fs { path: directory_of(path).to_owned(), access: *access },
        _ => grant.clone(),
    }
}

/// The directory in which a path is; of what lies in the root the path itself, since the whole machine is no answer.
fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::schema::Schema;
    use serde_json::json;
    use waft_proto::run::Problem;

    fn grants(texts: &[&str]) -> Vec<Grant> {
        let read: Result<Vec<Grant>, Problem> = texts.iter().map(|text| Grant::parse(text)).collect();
        read.expect("grants")
    }

    fn set(texts: &[&str]) -> GrantSet {
        GrantSet::parse_all(texts.iter().copied()).expect("grants")
    }

    fn example(params: Value, grants: &[&str]) -> Example {
        let params = params.as_object().cloned().unwrap_or_default();
        Example {
            params,
            grants: grants.iter().map(|text| (*text).to_owned()).collect(),
            ..Example::default()
        }
    }

    fn files() -> Vec<Example> {
        vec![
            example(json!({"path": "/srv/app/releases", "state": "directory"}), &["fs:/srv:rw"]),
            example(json!({"path": "/srv/app/current", "state": "link", "src": "r"}), &["fs:/srv/app:rw"]),
        ]
    }

    fn state() -> Object {
        let state = Schema { choices: vec!["directory".into(), "link".into()], ..Schema::default() };
        let key = Schema { sensitive: true, ..Schema::default() };
        Object { properties: vec![("state".to_owned(), state), ("key".to_owned(), key)], ..Object::default() }
    }

    fn said(examples: &[Example], params: &Value, lacks: &[&str], given: &[&str]) -> Vec<String> {
        let given = set(given);
        let params = params.as_object().cloned().unwrap_or_default();
        let schema = params.contains_key("state").then(state);
        let found = narrower(examples, schema.as_ref(), &params, &grants(lacks), &given).unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_grants_are_those_of_the_example_that_is_most_alike() {
        let wide = &["fs:/:rw"];
        for (params, expected) in [
            // In the directory of the example.
            (json!({"path": "/srv/x", "state": "directory"}), "fs:/srv:rw"),
            (json!({"path": "/srv/app/x", "state": "link"}), "fs:/srv/app:rw"),
            // Elsewhere: the directory in which it is.
            (json!({"path": "/opt/a/b/", "state": "directory"}), "fs:/opt/a:rw"),
            (json!({"path": "/srv/x", "state": "link", "src": "y"}), "fs:/srv:rw"),
            (json!({"path": "/new", "state": "directory"}), "fs:/new:rw"),
            // No path that a grant can hold.
            (json!({"path": "srv/../x", "state": "directory"}), "fs:/srv:rw"),
            (json!({"path": 1}), "fs:/srv:rw"),
            (json!({}), "fs:/srv:rw"),
        ] {
            assert_eq!(said(&files(), &params, wide, &[]), [expected], "{params}");
        }
        assert_eq!(said(&[], &json!({}), wide, &[]), [""; 0]);
        // An example of something else, or that asks for as much.
        assert_eq!(said(&files(), &json!({"path": "/srv/x", "state": "absent"}), wide, &[]), [""; 0]);
        let all = [example(json!({}), &["facts"])];
        assert_eq!(said(&all, &json!({}), &["facts"], &[]), [""; 0]);
    }

    #[test]
    fn what_is_given_already_is_not_named_again() {
        let apt =
            example(json!({"name": "nginx"}), &["exec:apt-get -y install *", "exec:dpkg-query **:probe"]);
        let lacks = &["exec:apt-get **"];
        assert_eq!(
            said(&[apt], &json!({}), lacks, &["exec:dpkg-query **:probe"]),
            ["exec:apt-get -y install *"]
        );
    }

    #[test]
    fn programs_get_the_words_of_this_run() {
        let service = [example(
            json!({"name": "nginx"}),
            &["exec:systemctl show **:probe", "exec:systemctl start nginx"],
        )];
        let lacks = &["exec:systemctl show **:probe", "exec:systemctl start *", "exec:systemctl stop *"];
        for (name, expected) in [
            ("redis", "exec:systemctl start redis"),
            ("a b", "exec:systemctl start \"a b\""),
            ("*", "exec:systemctl start nginx"),
        ] {
            let found = said(&service, &json!({ "name": name }), lacks, &[]);
            assert_eq!(found, ["exec:systemctl show **:probe", expected]);
        }
        let command = [example(json!({"argv": ["/usr/bin/uptime", "-p"]}), &["exec:/usr/bin/uptime **"])];
        let any = &["exec:*", "fs:/"];
        assert_eq!(said(&command, &json!({"argv": ["/bin/id"]}), any, &[]), ["exec:/bin/id **"]);
        assert_eq!(said(&command, &json!({"cmd": "id -u"}), any, &[]), [""; 0]);
        let secret = [example(json!({"state": "link", "key": "x"}), &["exec:put x"])];
        let params = json!({"state": "link", "key": "geheim"});
        assert_eq!(said(&secret, &params, &["exec:put *"], &[]), ["exec:put x"]);
    }

    #[test]
    fn a_right_of_which_a_part_is_given_is_narrowed_on_purpose() {
        let given = set(&["fs:/srv", "exec:/usr/bin/id -u:probe", "net:db:1"]);
        for (right, partly) in [
            ("fs:/:rw", true),
            ("fs:/srv/app:rw", true),
            ("fs:/etc", false),
            ("exec:*", true),
            ("exec:id **", true),
            ("exec:ls **", false),
            ("net:db:2", false),
            ("facts", false),
        ] {
            assert_eq!(is_partly(&grants(&[right])[0], &given), partly, "{right}");
        }
    }

    #[test]
    fn what_is_enough_for_an_example_is_enough() {
        let asked = set(&["exec:apt-get **", "exec:dnf **", "facts"]);
        let examples = [example(json!({}), &[]), example(json!({}), &["exec:apt-get -y install *"])];
        let is_enough = |examples: &[Example], lacks: &[&str]| {
            is_enough(examples, None, &Map::new(), &asked, &grants(lacks))
        };
        assert!(is_enough(&examples, &["exec:dnf **", "facts"]));
        assert!(!is_enough(&examples, &["exec:apt-get **", "facts"]));
        assert!(!is_enough(&[], &["facts"]));
    }

    #[test]
    fn what_is_enough_for_something_else_is_not() {
        let asked = set(&["exec:crontab -", "fs:/etc:rw"]);
        let word = |name: &str, words: &[&str], default: Option<&str>| {
            let choices = words.iter().map(|word| (*word).into()).collect();
            (name.to_owned(), Schema { choices, default: default.map(Value::from), ..Schema::default() })
        };
        let state = word("state", &["present", "absent"], Some("present"));
        let schema = Object {
            properties: vec![state, word("special_time", &["daily", "weekly"], None)],
            ..Object::default()
        };
        let own = example(json!({"name": "b", "job": "x", "hour": "2"}), &["exec:crontab -"]);
        let file = json!({"name": "c", "job": "x", "cron_file": "web", "special_time": "daily"});
        let examples = [own, example(file, &["fs:/etc/cron.d:rw"])];
        let (crontab, files) = (&["exec:crontab -"][..], &["fs:/etc:rw"][..]);
        for (params, lacks, expected) in [
            (json!({"name": "n", "job": "y"}), crontab, false),
            (json!({"name": "n", "job": "y"}), files, true),
            (json!({"name": "n", "job": "y", "cron_file": "web", "special_time": "daily"}), crontab, true),
            (json!({"name": "n", "job": "y", "cron_file": "web"}), crontab, true),
            (json!({"name": "n", "job": "y", "cron_file": "web", "state": "absent"}), crontab, false),
        ] {
            let params = params.as_object().cloned().unwrap_or_default();
            let found = is_enough(&examples, Some(&schema), &params, &asked, &grants(lacks));
            assert_eq!(found, expected, "{params:?} {lacks:?}");
        }
    }
}
