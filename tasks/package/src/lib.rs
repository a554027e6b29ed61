//! What managers of packages take and print. A library of its own, so that its tests run on the machine that builds it.

use serde::Deserialize;
use waft_tasks_common::{Words, Yes};

/// How long apt waits for another one that works, seconds.
const LOCK: &str = "DPkg::Lock::Timeout=60";
/// Without it apt reads an unknown name such as `lib.c6` as a regular expression, and installs all that matches. apt has
/// it since 2.0. What is an expression even with it, [`is_package`] refuses.
const NAMES_ONLY: &str = "APT::Cmd::Pattern-Only=true";

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    #[serde(alias = "installed")]
    Present,
    Latest,
    #[serde(alias = "removed")]
    Absent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    #[serde(default, alias = "pkg")]
    pub name: Words,
    #[serde(default)]
    pub state: State,
    #[serde(default, alias = "update-cache")]
    pub update_cache: Yes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manager {
    Apt,
    /// dnf5, dnf or yum.
    Dnf(&'static str),
    Zypper,
    Apk,
    Pacman,
}

/// In the order in which they are looked for, with the program that says that it is there.
pub const MANAGERS: [(&str, Manager); 7] = [
    ("apt-get", Manager::Apt),
    ("dnf5", Manager::Dnf("dnf5")),
    ("dnf", Manager::Dnf("dnf")),
    ("yum", Manager::Dnf("yum")),
    ("zypper", Manager::Zypper),
    ("apk", Manager::Apk),
    ("pacman", Manager::Pacman),
];

fn with<'a>(words: &[&'a str], names: &[&'a str]) -> Vec<&'a str> {
    [words, names].concat()
}

impl Manager {
    pub fn name(self) -> &'static str {
        match self {
            Manager::Apt => "apt",
            Manager::Dnf(name) => name,
            Manager::Zypper => "zypper",
            Manager::Apk => "apk",
            Manager::Pacman => "pacman",
        }
    }

    /// A name as the program takes it: of dnf a version comes behind a `-`.
    pub fn spelled(self, name: &str) -> String {
        match self {
            Manager::Dnf(_) => name.replacen('=', "-", 1),
            _ => name.to_owned(),
        }
    }

    pub fn refresh(self) -> Vec<&'static str> {
        match self {
            Manager::Apt => vec!["apt-get", "update", "-q"],
            Manager::Dnf(dnf) => vec![dnf, "makecache"],
            Manager::Zypper => vec!["zypper", "-n", "refresh"],
            Manager::Apk => vec!["apk", "update"],
            Manager::Pacman => vec!["pacman", "-Sy"],
        }
    }

    pub fn install<'a>(self, names: &[&'a str]) -> Vec<&'a str> {
        match self {
            Manager::Apt => {
                // Settings that somebody changed stay, and nobody is asked.
                let options =
                    ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"];
                let words = ["apt-get", "install", "-y", "-q", "-o", LOCK, "-o", NAMES_ONLY];
                with(&[&words[..], &options].concat(), names)
            }
            Manager::Dnf(dnf) => with(&[dnf, "install", "-y"], names),
            Manager::Zypper => with(&["zypper", "-n", "install"], names),
            Manager::Apk => with(&["apk", "add"], names),
            Manager::Pacman => with(&["pacman", "-S", "--noconfirm", "--needed"], names),
        }
    }

    /// Of packages that are there.
    pub fn upgrade<'a>(self, names: &[&'a str]) -> Vec<&'a str> {
        match self {
            Manager::Dnf(dnf) => with(&[dnf, "upgrade", "-y"], names),
            Manager::Zypper => with(&["zypper", "-n", "update"], names),
            Manager::Apk => with(&["apk", "add", "--upgrade"], names),
            Manager::Apt | Manager::Pacman => self.install(names),
        }
    }

    pub fn remove<'a>(self, names: &[&'a str]) -> Vec<&'a str> {
        match self {
            Manager::Apt => with(&["apt-get", "remove", "-y", "-q", "-o", LOCK], names),
            Manager::Dnf(dnf) => with(&[dnf, "remove", "-y"], names),
            Manager::Zypper => with(&["zypper", "-n", "remove"], names),
            Manager::Apk => with(&["apk", "del"], names),
            Manager::Pacman => with(&["pacman", "-R", "--noconfirm"], names),
        }
    }

    /// The program that says what would be done, where there is one.
    pub fn simulate(self, state: State, name: &str) -> Option<Vec<&str>> {
        Some(match (self, state) {
            (Manager::Apt, State::Absent) => vec!["apt-get", "-s", "remove", name],
            (Manager::Apt, _) => vec!["apt-get", "-s", "-o", NAMES_ONLY, "install", name],
            (Manager::Apk, State::Absent) => vec!["apk", "del", "--simulate", name],
            (Manager::Apk, State::Latest) => vec!["apk", "add", "--simulate", "--upgrade", name],
            (Manager::Apk, State::Present) => vec!["apk", "add", "--simulate", name],
            _ => return None,
        })
    }

    /// What it says: the packages.
    pub fn simulated(self, stdout: &str) -> Vec<String> {
        stdout.lines().filter_map(if self == Manager::Apk { apk_step } else { apt_step }).collect()
    }
}

/// Of `Inst hello [1.0] (2.0 repo [all])`, `Remv hello [1.0]`; the `Conf` of each `Inst` is not another.
fn apt_step(line: &str) -> Option<String> {
    let rest = line.strip_prefix("Inst ").or_else(|| line.strip_prefix("Remv "))?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// Of `(1/2) Installing nginx (1.26.2-r0)`.
fn apk_step(line: &str) -> Option<String> {
    let (count, rest) = line.strip_prefix('(')?.split_once(") ")?;
    let mut words = rest.split_whitespace();
    let is_change = matches!(
        words.next()?,
        "Installing" | "Upgrading" | "Downgrading" | "Replacing" | "Purging" | "Reinstalling"
    );
    (is_change && count.contains('/')).then(|| words.next().map(str::to_owned)).flatten()
}

/// What `dpkg-query` is asked to print.
pub const DPKG_FORMAT: &str = "-f=${Package}\\t${Architecture}\\t${db:Status-Status}\\t${Version}\\n";

/// Whether a package is among what it printed, in the version that is asked for.
pub fn dpkg_has(stdout: &str, wanted: &str) -> bool {
    let (name, version) =
        wanted.split_once('=').map_or((wanted, None), |(name, version)| (name, Some(version)));
    let (name, architecture) = name.split_once(':').map_or((name, None), |(name, arch)| (name, Some(arch)));
    stdout.lines().any(|line| {
        let mut fields = line.split('\t');
        let (package, arch, status, is) = (fields.next(), fields.next(), fields.next(), fields.next());
        package == Some(name)
            && status == Some("installed")
            && architecture.is_none_or(|wanted| arch == Some(wanted))
            && version.is_none_or(|wanted| is == Some(wanted))
    })
}

/// What `rpm -q` is asked to print.
pub const RPM_FORMAT: &str = "%{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n";

/// Whether a version is among what it printed; `1.20` is any release of it, and without an epoch any of these.
pub fn rpm_has(stdout: &str, wanted: &str) -> bool {
    stdout.lines().any(|line| {
        let is =
            if wanted.contains(':') { line } else { line.split_once(':').map_or(line, |(_, rest)| rest) };
        is == wanted || is.rsplit_once('-').is_some_and(|(version, _)| version == wanted)
    })
}

/// Whether a name stands for one package: no pattern, no group, and none of the marks by which managers are told to
/// remove what they are asked to install.
pub fn is_package(name: &str) -> bool {
    let is_mark = |c: char| matches!(c, '*' | '?' | '[' | ']' | '^' | '$' | '|');
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || is_mark(c);
    !(name.is_empty()
        || name.starts_with(['-', '@', '~', '!', '+'])
        || name.ends_with('-')
        || name.contains(is_bad))
}

/// The name without its version, as most programs ask for it.
pub fn bare(wanted: &str) -> &str {
    wanted.split_once('=').map_or(wanted, |(name, _)| name)
}

/// Names in the table of `zypper -n list-updates`: `v | repo | NAME | 1.0 | 1.1 | noarch`.
pub fn zypper_updates(stdout: &str) -> Vec<&str> {
    let rows = stdout.lines().filter(|line| line.starts_with('v'));
    rows.filter_map(|line| line.split('|').nth(2).map(str::trim)).collect()
}

/// Names in the list of `dnf check-update`: `nginx.x86_64  1:1.20.1-14  updates`, up to what is obsolete.
pub fn dnf_updates(stdout: &str) -> Vec<&str> {
    let lines = stdout.lines().take_while(|line| !line.starts_with("Obsoleting"));
    let named = lines.filter(|line| line.split_whitespace().count() == 3);
    named.filter_map(|line| line.split_whitespace().next()?.rsplit_once('.')).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dpkg_has() {
        let printed =
            "hello\tamd64\tinstalled\t2.10-3\nold\tall\tconfig-files\t1\nlibc6\ti386\tinstalled\t2.36\n";
        for yes in ["hello", "hello=2.10-3", "hello:amd64", "libc6:i386=2.36"] {
            assert!(dpkg_has(printed, yes), "{yes}");
        }
        for no in ["hello=2.10", "hello:i386", "old", "hell", "", "libc6:amd64"] {
            assert!(!dpkg_has(printed, no), "{no}");
        }
        assert_eq!((bare("a=1"), bare("a")), ("a", "a"));
    }

    #[test]
    fn what_rpm_has() {
        let printed = "0:1.22.1-3.el9\n2:1.24-1\n";
        for yes in ["1.22.1", "1.22.1-3.el9", "0:1.22.1", "2:1.24-1", "1.24"] {
            assert!(rpm_has(printed, yes), "{yes}");
        }
        for no in ["1.20", "1.22", "1.22.1-3", "1:1.24", "", "package nginx is not installed"] {
            assert!(!rpm_has(printed, no), "{no}");
        }
        assert!(!rpm_has("package nginx is not installed\n", "1.20"));
        assert_eq!(Manager::Dnf("yum").spelled("nginx=2:1.20-1"), "nginx-2:1.20-1");
        assert_eq!(Manager::Zypper.spelled("nginx=1.20"), "nginx=1.20");
    }

    #[test]
    fn what_is_one_package() {
        for name in ["nginx", "g++", "libc6:i386=2.36", "nginx=1:1.20~rc1", "nginx-1.20"] {
            assert!(is_package(name), "{name}");
        }
        for name in ["", "-x", "~x", "!x", "+x", "@x", "x-", "x*", "x$", "x|y", "a b"] {
            assert!(!is_package(name), "{name}");
        }
    }

    #[test]
    fn what_would_be_done() {
        let apt = "NOTE: This is only a simulation!\nReading package lists...\nInst hello [1.0] (2.0 local [all])\n\
                   Inst libx (1 Debian:12.5/stable [amd64])\nConf hello (2.0 local [all])\nRemv other [3]\n";
        assert_eq!(Manager::Apt.simulated(apt), ["hello", "libx", "other"]);
        let apk = "(1/3) Installing pcre (8.45-r3)\n(2/3) Upgrading nginx (1.24.0-r1 -> 1.26.2-r0)\n(3/3) Purging a (1)\n\
                   Executing busybox-1.36.1-r19.trigger\nOK: 11 MiB in 20 packages\n";
        assert_eq!(Manager::Apk.simulated(apk), ["pcre", "nginx", "a"]);
        assert!(Manager::Apk.simulated("OK: 7 MiB in 15 packages\n").is_empty());
    }

    #[test]
    fn what_is_newer() {
        let zypper = "Loading repository data...\nS | Repository | Name  | Current Version | Available Version | Arch\n\
                      --+------------+-------+-----------------+-------------------+-------\n\
                      v | Main       | nginx | 1.21-1.1        | 1.21-2.1          | x86_64\n";
        assert_eq!(zypper_updates(zypper), ["nginx"]);
        let dnf = "\nnginx.x86_64           1:1.20.1-14.el9    appstream\npython3.11.noarch  3.11.7-1  base\n\
                   Obsoleting Packages\nold.x86_64  2  base\n";
        assert_eq!(dnf_updates(dnf), ["nginx", "python3.11"]);
        assert!(dnf_updates("").is_empty());
    }

    #[test]
    fn words_of_each_manager() {
        let words = |manager: Manager| {
            [manager.install(&["a", "b"]), manager.upgrade(&["a"]), manager.remove(&["a"])]
                .map(|words| words.join(" "))
        };
        assert_eq!(
            words(Manager::Dnf("dnf5")),
            ["dnf5 install -y a b", "dnf5 upgrade -y a", "dnf5 remove -y a"]
        );
        assert_eq!(
            words(Manager::Zypper),
            ["zypper -n install a b", "zypper -n update a", "zypper -n remove a"]
        );
        assert_eq!(words(Manager::Apk), ["apk add a b", "apk add --upgrade a", "apk del a"]);
        let install = "pacman -S --noconfirm --needed";
        assert_eq!(
            words(Manager::Pacman),
            [&format!("{install} a b"), &format!("{install} a"), "pacman -R --noconfirm a"]
        );
        // To look and to install are by the same names.
        let names_only = "-o APT::Cmd::Pattern-Only=true";
        for state in [State::Present, State::Latest] {
            let words = Manager::Apt.simulate(state, "lib.c6").unwrap_or_default();
            assert_eq!(words.join(" "), format!("apt-get -s {names_only} install lib.c6"));
        }
        for words in [Manager::Apt.install(&["lib.c6"]), Manager::Apt.upgrade(&["lib.c6"])] {
            let words = words.join(" ");
            assert!(words.starts_with("apt-get install -y ") && words.contains(names_only), "{words}");
        }
        let read = |text: &str| serde_json::from_str::<Params>(text);
        assert_eq!(
            read(r#"{"pkg":"a, b","state":"removed"}"#).map(|p| (p.name.0, p.state)).unwrap(),
            (vec!["a".to_owned(), "b".to_owned()], State::Absent)
        );
        for bad in [r#"{"name":3}"#, r#"{"name":"a","state":"there"}"#, r#"{"names":"a"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
