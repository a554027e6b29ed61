//! What the task does.

use std::fs;
use waft::{Outcome, Params, Result};

#[derive(Params)]
struct Greeting {
    /// Whom to greet.
    #[param(min_length = 1)]
    name: String,
    /// A file that shall hold the greeting. Without it, the greeting is only told.
    path: Option<String>,
}

/// Greets somebody.
#[waft::task(grants = ["fs:/tmp:rw"], check)]
fn run(params: Greeting) -> Result<Outcome> {
    let greeting = format!("Hello, {}!", params.name);
    let Some(path) = params.path else {
        return Ok(Outcome::ok().msg(greeting));
    };

    // Asks the host, which says what grant is missing; std would only find no such file.
    let is_there = waft::file::stat(&path)?.kind.is_some();
    let text = format!("{greeting}\n");
    let is_new = !is_there || fs::read_to_string(&path)? != text;
    if is_new {
        // In a dry run as well: the host shows what would be different, and throws it away.
        fs::write(&path, text)?;
    }
    Ok(Outcome::changed(is_new).msg(greeting))
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::fs;
    use waft::Outcome;
    use waft::serde_json::json;
    use waft::testing::{self, Fake};

    #[test]
    fn it_greets() {
        let outcome = testing::run(run, json!({"name": "you"}));
        assert_eq!(outcome, Ok(Outcome::ok().msg("Hello, you!")));
    }

    #[test]
    fn a_greeting_is_written_once() {
        let host = Fake::new();
        let path = host.dir().join("greeting");
        let greet = || host.run(run, json!({"name": "you", "path": path})).unwrap();
        assert!(greet().is_changed());
        assert_eq!(fs::read_to_string(&path).unwrap(), "Hello, you!\n");
        assert!(!greet().is_changed());
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = testing::run(run, json!({"name": "you", "path": "/srv/x"})).unwrap_err();
        assert_eq!(error.code, "grant.missing");
        assert_eq!(
            testing::run(run, json!({})).unwrap_err().code,
            "params.invalid"
        );
    }
}
