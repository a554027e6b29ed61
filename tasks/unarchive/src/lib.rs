//! Which names of an archive are taken, and where they go. A library of its own, so that its tests run on the machine
//! that builds it.

use waft_sdk::Error;
use waft_tasks_common::files::matches;

#[derive(Default)]
pub struct Choice {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub strip: usize,
}

/// A name that leads out of the directory is an error, whether it is wanted or not: such an archive means harm.
fn plain(name: &str) -> Result<Vec<&str>, Error> {
    let wrong = |why: &str| {
        let text = format!("the archive holds `{}`, {why}", name.escape_debug());
        Error { hint: Some("nothing of it was unpacked".into()), ..Error::new("unarchive.escape", text) }
    };
    if name.starts_with('/') {
        return Err(wrong("an absolute path"));
    }
    if name.contains('\0') {
        return Err(wrong("which holds a NUL character"));
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(wrong("which leads out of the directory"));
    }
    Ok(parts)
}

impl Choice {
    /// The name below the directory; none when it is left out, or the directory itself.
    pub fn name(&self, name: &str) -> Result<Option<String>, Error> {
        let parts = plain(name)?;
        let whole = parts.join("/");
        let named = |patterns: &[String]| {
            // With a directory goes all that is in it.
            let ends = (1..=parts.len()).map(|count| parts[..count].join("/"));
            ends.into_iter()
                .any(|name| patterns.iter().any(|pattern| matches(pattern.trim_end_matches('/'), &name)))
        };
        let taken = (self.include.is_empty() || named(&self.include)) && !named(&self.exclude);
        if !taken || whole.is_empty() || parts.len() <= self.strip {
            return Ok(None);
        }
        Ok(Some(parts[self.strip..].join("/")))
    }
}

/// Whether a symlink stays inside of the directory. `name` is its own, below the directory; those above it are no symlinks.
/// A `..` behind a name is refused: that may be a symlink of its own, and the two together lead anywhere.
pub fn stays_inside(name: &str, target: &str) -> Result<(), Error> {
    let parts = || target.split('/').filter(|part| !part.is_empty() && *part != ".");
    let up = parts().take_while(|part| *part == "..").count();
    let out = target.starts_with('/')
        || target.is_empty()
        || target.contains('\0')
        || up > name.split('/').count() - 1
        || parts().skip(up).any(|part| part == "..");
    if !out {
        return Ok(());
    }
    let text = format!(
        "the archive holds `{name}`, a symlink to `{}`, which may lead out of the directory",
        target.escape_debug()
    );
    Err(Error { hint: Some("leave it out with `exclude`".into()), ..Error::new("unarchive.escape", text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "a\0b"] {
            assert_eq!(Choice::default().name(name).unwrap_err().code, "unarchive.escape", "{name}");
        }
        for (name, plain) in [("./a//b/", Some("a/b")), ("a..b", Some("a..b")), (".", None), ("", None)] {
            assert_eq!(Choice::default().name(name).unwrap().as_deref(), plain);
        }
    }

    #[test]
    fn names_are_chosen_and_cut() {
        let list = |text: &str| vec![text.to_owned()];
        let cut = Choice { strip: 1, ..Choice::default() };
        assert_eq!(cut.name("app/bin/x").unwrap().as_deref(), Some("bin/x"));
        assert_eq!(cut.name("app/").unwrap(), None);
        let without = Choice { exclude: list("app/docs"), ..Choice::default() };
        assert_eq!(without.name("app/docs/a/b").unwrap(), None);
        assert_eq!(without.name("app/docsx").unwrap().as_deref(), Some("app/docsx"));
        let only = Choice { include: list("*.txt"), ..Choice::default() };
        assert!(only.name("a/b.txt").unwrap().is_some() && only.name("a/b").unwrap().is_none());
        assert!(without.name("../x").is_err(), "also what is not wanted");
    }

    #[test]
    fn symlinks_stay_inside() {
        for (name, target) in
            [("l", "a"), ("a/l", "../b"), ("a/b/l", "../../c"), ("a/b/l", ".././../c/d"), ("l", "./a")]
        {
            assert!(stays_inside(name, target).is_ok(), "{name} {target}");
        }
        for (name, target) in
            [("l", "/etc"), ("l", ".."), ("a/l", "../../b"), ("l", "a/../../b"), ("l", "a/s/.."), ("l", "")]
        {
            assert_eq!(stays_inside(name, target).unwrap_err().code, "unarchive.escape", "{name} {target}");
        }
    }
}
