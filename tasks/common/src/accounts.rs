//! Users and groups as `getent` and `id` tell them, so that every name service of the target counts.

use crate::programs::{failed, probe, text};
use waft_sdk::Error;
use waft_sdk::exec::Output;

/// `getent` found nothing of that name.
const NOT_FOUND: u32 = 2;

/// One line of the database of users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub comment: String,
    pub home: String,
    pub shell: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub name: String,
    pub gid: u32,
}

impl User {
    fn read(line: &str) -> Option<User> {
        let mut fields = line.trim_end_matches('\n').split(':');
        let name = fields.next()?.to_owned();
        fields.next()?;
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let mut field = || fields.next().map(str::to_owned);
        Some(User { name, uid, gid, comment: field()?, home: field()?, shell: field()? })
    }
}

impl Group {
    fn read(line: &str) -> Option<Group> {
        let mut fields = line.trim_end_matches('\n').split(':');
        Some(Group { name: fields.next()?.to_owned(), gid: fields.nth(1)?.parse().ok()? })
    }
}

/// A user by name or number.
pub fn user(name: &str) -> Result<Option<User>, Error> {
    entry("passwd", name, User::read)
}

/// A group by name or number.
pub fn group(name: &str) -> Result<Option<Group>, Error> {
    entry("group", name, Group::read)
}

/// The encrypted password; none where the account may not read it, too.
pub fn password(name: &str) -> Result<Option<String>, Error> {
    entry("shadow", name, |line| line.split(':').nth(1).map(str::to_owned))
}

fn entry<T>(database: &str, key: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
    let argv = ["getent", database, key];
    let output = needed(&argv)?;
    match output.exit_code {
        Some(NOT_FOUND) => return Ok(None),
        Some(0) => {}
        _ => return Err(failed("account.getent", &argv.map(str::to_owned), &output)),
    }
    let said = text(&output.stdout);
    let found = said.lines().next().and_then(read);
    found.map(Some).ok_or_else(|| {
        let message = format!("`{}` printed no entry of {database}: {}", argv.join(" "), said.trim());
        Error::new("account.getent", message)
    })
}

fn needed(argv: &[&str]) -> Result<Output, Error> {
    probe(argv)?.ok_or_else(|| Error {
        hint: Some("it is part of glibc, and of the package musl-utils of Alpine".into()),
        ..Error::new(
            "exec.not_found",
            format!("there is no program `{}`, by which accounts are read", argv[0]),
        )
    })
}

/// The names of the groups that a user is in beside the one of its entry.
pub fn groups_of(name: &str) -> Result<Vec<String>, Error> {
    let argv = ["id", name];
    let output = needed(&argv)?;
    match output.is_success() {
        true => Ok(supplementary(&text(&output.stdout))),
        false => Err(failed("account.id", &argv.map(str::to_owned), &output)),
    }
}

/// Of `uid=1000(ops) gid=1000(ops) groups=1000(ops),27(sudo)`; a group without a name has its number.
fn supplementary(line: &str) -> Vec<String> {
    let part = |key: &str| line.split_whitespace().find_map(|part| part.strip_prefix(key));
    let split = |group: &str| {
        let (gid, name) = group.split_once('(').unwrap_or((group, ""));
        let name = name.trim_end_matches(')');
        (gid.to_owned(), if name.is_empty() { gid.to_owned() } else { name.to_owned() })
    };
    let primary = part("gid=").map(|gid| split(gid).0).unwrap_or_default();
    let groups = part("groups=").unwrap_or_default().split(',').filter(|group| !group.is_empty()).map(split);
    groups.filter(|(gid, _)| *gid != primary).map(|(_, name)| name).collect()
}

/// A name that can be in a database of accounts, and is no option of a program.
pub fn check_name(parameter: &str, name: &str) -> Result<(), Error> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/');
    if !name.is_empty() && !name.starts_with(['-', '+', '~']) && !name.contains(is_bad) {
        return Ok(());
    }
    let message = format!("`{parameter}` is `{}`, which is no name of an account", name.escape_debug());
    Err(Error {
        hint: Some("a name has no blanks, `:`, `,` or `/`, and does not begin with `-`".into()),
        ..Error::new("params.invalid", message)
    })
}

/// Text that becomes a field of a line.
pub fn check_field(parameter: &str, text: &str) -> Result<(), Error> {
    if !text.contains(|c: char| c == ':' || c.is_control()) {
        return Ok(());
    }
    let message = format!("`{parameter}` holds a colon, a line end or another control character");
    Err(Error {
        hint: Some(
            "it is one field of a line of /etc/passwd or /etc/shadow, where colons separate fields".into(),
        ),
        ..Error::new("params.invalid", message)
    })
}

/// Whether the task runs as root, which changing the system takes: asked before the first change, in a dry run too, so
/// that it does not promise what a run cannot do.
pub fn need_root(code: &str, what: &str) -> Result<(), Error> {
    let output = needed(&["id", "-u"])?;
    if text(&output.stdout).trim() == "0" {
        return Ok(());
    }
    Err(Error {
        hint: Some("log in as root: `-t root@HOST`, or `user = \"root\"` in the inventory".into()),
        ..Error::new(code, format!("only root can {what}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let user = User::read("ops:x:1000:1001:Ops,,,:/home/ops:/bin/bash\n").unwrap();
        assert_eq!((user.uid, user.gid, user.shell.as_str()), (1000, 1001, "/bin/bash"));
        assert_eq!((user.comment.as_str(), user.home.as_str()), ("Ops,,,", "/home/ops"));
        assert_eq!(User::read("nobody:x:65534:65534::/:").unwrap().shell, "");
        assert!(User::read("ops:x:1000").is_none() && User::read("a:x:b:1:::").is_none());
        assert_eq!(Group::read("adm:x:4:syslog,ops").unwrap(), Group { name: "adm".into(), gid: 4 });
        assert!(Group::read("adm").is_none() && Group::read("adm:x:").is_none());
    }

    #[test]
    fn groups_beside_the_first() {
        let line = "uid=1000(ops) gid=1000(ops) groups=1000(ops),27(sudo),4000,4(adm)\n";
        assert_eq!(supplementary(line), ["sudo", "4000", "adm"]);
        assert!(supplementary("uid=0(root) gid=0(root) groups=0(root)").is_empty());
        assert!(supplementary("uid=0(root) gid=0(root)").is_empty());
    }

    #[test]
    fn names_that_are_none() {
        for name in ["", "-r", "a b", "a:b", "a,b", "a/b", "a\n", "+x"] {
            assert_eq!(check_name("name", name).unwrap_err().code, "params.invalid", "{name}");
        }
        assert!(check_name("name", "web-1_a.b$").is_ok() && check_field("comment", "A B, c").is_ok());
        assert!(check_field("comment", "a:b").is_err() && check_field("password", "a\nroot:x").is_err());
    }
}
