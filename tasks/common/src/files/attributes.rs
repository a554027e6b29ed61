//! Mode, owner and group: set where they are not as asked, and not touched where they are.

use super::{is_dir, is_symlink};
use waft_sdk::Error;
use waft_sdk::file::{self, Stat};

/// Of a symbolic mode that names nobody: what the usual umask keeps from others.
const UMASK: u32 = 0o022;
/// Set-uid and set-gid, which the host gives to no file.
const SET_ID: u32 = 0o6000;

/// A mode as chmod(1) takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mode(Form);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Form {
    Octal(u32),
    Symbolic(Vec<Clause>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Clause {
    /// Of u (4), g (2) and o (1).
    who: u32,
    /// Bits that the clause does not touch.
    kept: u32,
    sign: char,
    what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    /// rwx as 4, 2, 1; X; s; t
    Bits { rwx: u32, search: bool, setid: bool, sticky: bool },
    /// What u, g or o have: how far to the right that is.
    Of(u32),
}

impl Mode {
    /// `0644`, `644`, or clauses as `u=rwX,g-w,o=`.
    pub fn parse(text: &str) -> Result<Mode, Error> {
        let wrong = || Error {
            hint: Some("write octal digits, as \"0644\", or clauses, as \"u=rwX,g=rX,o=\"".into()),
            ..Error::new("params.mode", format!("`mode` is `{}`, which is no mode", text.escape_debug()))
        };
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let octal = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return octal.map(|mode| Mode(Form::Octal(mode))).ok_or_else(wrong);
        }
        let mut clauses = Vec::new();
        for clause in text.split(',') {
            read_clause(clause, &mut clauses).ok_or_else(wrong)?;
        }
        Ok(Mode(Form::Symbolic(clauses)))
    }

    /// What a file of mode `now` shall have.
    pub fn of(&self, now: u32, is_dir: bool) -> u32 {
        match &self.0 {
            Form::Octal(mode) => *mode,
            Form::Symbolic(clauses) => clauses.iter().fold(now, |mode, clause| clause.of(mode, is_dir)),
        }
    }
}

fn read_clause(text: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let mut rest = text.chars().peekable();
    let mut who = 0;
    while let Some(name) = rest.next_if(|name| "ugoa".contains(*name)) {
        who |= match name {
            'u' => 4,
            'g' => 2,
            'o' => 1,
            _ => 7,
        };
    }
    let kept = if who == 0 { UMASK } else { 0 };
    let who = if who == 0 { 7 } else { who };
    rest.peek()?;
    while rest.peek().is_some() {
        let sign = rest.next_if(|sign| "+-=".contains(*sign))?;
        let what = match rest.next_if(|name| "ugo".contains(*name)) {
            Some('u') => What::Of(6),
            Some('g') => What::Of(3),
            Some(_) => What::Of(0),
            None => {
                let (mut rwx, mut search, mut setid, mut sticky) = (0, false, false, false);
                while let Some(name) = rest.next_if(|name| "rwxXst".contains(*name)) {
                    match name {
                        'r' => rwx |= 4,
                        'w' => rwx |= 2,
                        'x' => rwx |= 1,
                        'X' => search = true,
                        's' => setid = true,
                        _ => sticky = true,
                    }
                }
                What::Bits { rwx, search, setid, sticky }
            }
        };
        clauses.push(Clause { who, kept, sign, what });
    }
    Some(())
}

impl Clause {
    fn of(&self, now: u32, is_dir: bool) -> u32 {
        let for_each = |rwx: u32| {
            let shift = |bit: u32, by: u32| if self.who & bit != 0 { rwx << by } else { 0 };
            shift(4, 6) | shift(2, 3) | shift(1, 0)
        };
        let bits = match self.what {
            What::Of(right) => for_each((now >> right) & 7),
            What::Bits { rwx, search, setid, sticky } => {
                let search = search && (is_dir || now & 0o111 != 0);
                let setuid = if setid && self.who & 4 != 0 { 0o4000 } else { 0 };
                let setgid = if setid && self.who & 2 != 0 { 0o2000 } else { 0 };
                let sticky = if sticky { 0o1000 } else { 0 };
                for_each(rwx | u32::from(search)) | setuid | setgid | sticky
            }
        } & !self.kept;
        match self.sign {
            '+' => now | bits,
            '-' => now & !bits,
            // What the clause is about, and with `u` and `g` their set-id bits; of directories these stay, as with chmod(1).
            _ => {
                let setid = ((self.who & 4) << 9) | ((self.who & 2) << 9);
                let about = for_each(7) | if is_dir { 0 } else { setid };
                (now & !(about & !self.kept)) | bits
            }
        }
    }
}

/// What a file shall have; what is not set stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    pub mode: Option<Mode>,
    /// A name or a number.
    pub owner: Option<String>,
    pub group: Option<String>,
}

impl Attributes {
    pub fn new(
        mode: Option<&str>,
        owner: Option<String>,
        group: Option<String>,
    ) -> Result<Attributes, Error> {
        let empty = |name: &str, value: &Option<String>| {
            value
                .as_deref()
                .is_some_and(str::is_empty)
                .then(|| Error::new("params.owner", format!("`{name}` is empty: it is a name or a number")))
        };
        match empty("owner", &owner).or_else(|| empty("group", &group)) {
            Some(error) => Err(error),
            None => Ok(Attributes { mode: mode.map(Mode::parse).transpose()?, owner, group }),
        }
    }

    /// Makes what is at `path` have them; true when something was changed.
    pub fn apply(&self, path: &str, stat: &Stat) -> Result<bool, Error> {
        let owner = self.owner.as_deref().filter(|owner| !is(owner, stat.uid, stat.owner.as_deref()));
        let group = self.group.as_deref().filter(|group| !is(group, stat.gid, stat.group.as_deref()));
        let mut changed = owner.is_some() || group.is_some();
        if changed {
            changed = file::chown(path, owner, group).map_err(|error| match error.code.as_str() {
                "file.denied" => Error {
                    hint: Some(
                        "only root gives files away; others can give theirs to their own groups".into(),
                    ),
                    ..error
                },
                _ => error,
            })?;
        }
        // A symlink has no mode.
        if let Some(mode) = self.mode.as_ref().filter(|_| !is_symlink(stat)) {
            let now = octal(&stat.mode);
            let wanted = mode.of(now, is_dir(stat));
            if wanted != now || changed {
                changed |= file::chmod(path, wanted)?;
            }
        }
        Ok(changed)
    }

    /// What a file that replaces the one at `path` gets: what is asked for, and of the rest what the other had.
    pub fn or_of(&self, path: &str, stat: &Stat) -> Result<Attributes, Error> {
        let now = octal(&stat.mode);
        let mode = self.mode.as_ref().map_or(now, |mode| mode.of(now, is_dir(stat)));
        if mode & SET_ID != 0 {
            let text = format!(
                "the file that replaces {path} would have mode {mode:04o}, and no grant of files gives set-uid or set-gid to a file"
            );
            let hint = format!("give `mode` without these bits, as \"{:04o}\"", mode & !SET_ID);
            return Err(Error { hint: Some(hint), ..Error::new("files.setid", text) });
        }
        Ok(Attributes {
            mode: Some(Mode(Form::Octal(mode))),
            owner: Some(self.owner.clone().unwrap_or_else(|| stat.uid.to_string())),
            group: Some(self.group.clone().unwrap_or_else(|| stat.gid.to_string())),
        })
    }
}

fn is(wanted: &str, id: u32, name: Option<&str>) -> bool {
    Some(wanted) == name || wanted.parse() == Ok(id)
}

/// As `stat` tells it.
fn octal(mode: &str) -> u32 {
    u32::from_str_radix(mode, 8).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use waft_sdk::testing::{Fake, with_host};

    #[test]
    fn modes_are_those_of_chmod() {
        for (mode, now, file, dir) in [
            ("0644", 0o777, 0o644, 0o644),
            ("755", 0, 0o755, 0o755),
            ("u=rwX,g=rX,o=", 0o666, 0o640, 0o750),
            ("a+X", 0o744, 0o755, 0o755),
            ("a+X", 0o644, 0o644, 0o755),
            ("go-rwx", 0o755, 0o700, 0o700),
            ("+x", 0o644, 0o755, 0o755),
            ("+w", 0o444, 0o644, 0o644),
            ("=r", 0o777, 0o466, 0o466),
            ("g=u", 0o640, 0o660, 0o660),
            ("o=g-w", 0o660, 0o664, 0o664),
            ("u+x-w", 0o644, 0o544, 0o544),
            ("+t", 0o755, 0o1755, 0o1755),
            ("g+s", 0o755, 0o2755, 0o2755),
            ("g=rx", 0o2777, 0o757, 0o2757),
            ("ug-s,o=", 0o6755, 0o750, 0o750),
        ] {
            let parsed = Mode::parse(mode).unwrap();
            assert_eq!((parsed.of(now, false), parsed.of(now, true)), (file, dir), "{mode} of {now:o}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for mode in ["", "u", "u=rwz", "rw", "0888", "77777", "u=r,", "u=ru", "z+x", "-1", "0644 "] {
            let error = Mode::parse(mode).map(|mode| format!("{mode:?}")).unwrap_err();
            assert_eq!(error.code, "params.mode", "{mode}");
        }
    }

    #[test]
    fn a_mode_with_set_uid_is_not_dropped_without_a_word() {
        let host = Fake::new();
        let path = host.dir().join("f");
        fs::write(&path, "").unwrap();
        let path = path.to_str().unwrap();
        let of = |old: u32, mode: Option<&str>| {
            fs::set_permissions(path, Permissions::from_mode(old)).unwrap();
            let stat = with_host(host.clone(), || file::stat(path)).unwrap();
            Attributes::new(mode, None, None).unwrap().or_of(path, &stat)
        };
        let mode = |attributes: Attributes| attributes.mode.unwrap();
        assert_eq!(mode(of(0o1640, None).unwrap()), Mode(Form::Octal(0o1640)));
        assert_eq!(mode(of(0o4755, Some("0750")).unwrap()), Mode(Form::Octal(0o750)));
        assert_eq!(mode(of(0o4755, Some("u-s")).unwrap()), Mode(Form::Octal(0o755)));
        for (old, mode, instead) in
            [(0o4755, None, "0755"), (0o2750, None, "0750"), (0o4755, Some("g+w"), "0775")]
        {
            let error = of(old, mode).unwrap_err();
            assert!(error.code == "files.setid" && error.message.contains(path), "{error}");
            assert!(error.hint.is_some_and(|hint| hint.contains(instead)), "{old:o} {mode:?}");
        }
    }

    #[test]
    fn owners_are_names_or_numbers() {
        assert!(is("root", 0, Some("root")) && is("0", 0, Some("root")) && is("1000", 1000, None));
        assert!(!is("app", 0, Some("root")) && !is("1", 0, None));
    }
}
