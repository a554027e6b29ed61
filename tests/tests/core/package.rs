//! apt is the real one, with packages that the test builds and an empty database. In the place of the other managers are
//! small programs that keep what they were asked to do.

use crate::whole::Whole;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use waft_tests::process::run_tool;
use waft_tests::{Result, need_root};

/// That apt gets its packages from where [`publish`] puts them.
pub(crate) fn source(whole: &Whole) {
    whole.write("/etc/apt/sources.list", "deb [trusted=yes] copy:/srv/repo ./\n");
    // There is no account _apt.
    whole.write("/etc/apt/apt.conf.d/00test", "APT::Sandbox::User \"root\";\n");
}

/// Builds a package with one file, and adds it to the repository of the target.
pub(crate) fn publish(whole: &Whole, name: &str, version: &str, depends: &str) -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("DEBIAN")).expect("a directory");
    fs::create_dir_all(root.join(format!("opt/{name}"))).expect("a directory");
    fs::write(root.join(format!("opt/{name}/version")), version).expect("a file");
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A Test <test@localhost>\n{depends}\
         Description: a package of a test\n"
    );
    fs::write(root.join("DEBIAN/control"), &control).expect("a file");
    let file = format!("{name}_{version}.deb");
    let deb = dir.path().join(&file);
    let mut build = Command::new("dpkg-deb");
    build.args(["--build", "--root-owner-group", "-Znone"]).args([&root, &deb]);
    run_tool(build, b"")?;
    let mut sum = Command::new("sha256sum");
    sum.arg(&deb);
    let sum = run_tool(sum, b"")?;
    let (sum, _) = sum.split_once(' ').expect("a sum");
    let bytes = fs::read(&deb).expect("a package");
    fs::create_dir_all(whole.path("/srv/repo")).expect("a directory");
    fs::write(whole.path("/srv/repo").join(&file), &bytes).expect("a file");
    let known = whole.read("/srv/repo/Packages");
    let entry = format!("{control}Filename: ./{file}\nSize: {}\nSHA256: {sum}\n\n", bytes.len());
    whole.write("/srv/repo/Packages", &(known + &entry));
    Ok(())
}

fn params(name: &str, state: &str) -> Value {
    json!({"name": name, "state": state})
}

#[test]
fn packages_by_a_real_apt() -> Result<()> {
    need_root!("a target with packages of its own");
    if Command::new("apt-get").arg("--version").output().is_err() {
        eprintln!("SKIPPED (needs apt): packages by a real apt");
        return Ok(());
    }
    let whole = Whole::root()?;
    source(&whole);
    publish(&whole, "waft-hello", "1.0", "Depends: waft-data\n")?;
    publish(&whole, "waft-data", "1.0", "")?;
    publish(&whole, "waft-other", "1.0", "Provides: waft-other-1.0\n")?;
    let version = || whole.read("/opt/waft-hello/version");

    // Unknown as long as the lists were not fetched; a dry run does not fetch them.
    let unknown = whole.failure("package", &params("waft-hello", "present"), &[])?;
    assert_eq!(unknown["code"], "package.failed", "{unknown}");
    assert!(unknown["message"].as_str().is_some_and(|said| said.contains("Unable to locate")), "{unknown}");
    assert_eq!(whole.answer("package", &json!({"update_cache": true}), false)?["cache_updated"], true);
    // A name that it does not know is no regular expression; one that another package provides is known.
    for words in [&[][..], &["--check"]] {
        let unknown = whole.failure("package", &params("waft.hello", "present"), words)?;
        assert_eq!(unknown["code"], "package.failed", "{unknown}");
        assert!(
            unknown["message"].as_str().is_some_and(|said| said.contains("find any package")),
            "{unknown}"
        );
    }
    let provided = whole.would("package", &params("waft-other-1.0", "present"), true)?;
    assert_eq!(provided["packages"], json!(["waft-other"]), "{provided}");
    let would = whole.would("package", &params("waft-hello", "present"), true)?;
    assert_eq!(would["packages"], json!(["waft-data", "waft-hello"]), "{would}");
    assert_eq!(version(), "");
    let done = whole.answer("package", &params("waft-hello,waft-data", "present"), true)?;
    assert_eq!((&done["manager"], version().as_str()), (&json!("apt"), "1.0"), "{done}");
    whole.answer("package", &params("waft-hello", "present"), false)?;
    whole.would("package", &params("waft-hello", "latest"), false)?;

    publish(&whole, "waft-hello", "2.0", "")?;
    let latest = json!({"name": ["waft-hello"], "state": "latest", "update_cache": true});
    whole.would("package", &latest, false)?;
    let done = whole.answer("package", &latest, true)?;
    assert_eq!((&done["packages"], version().as_str()), (&json!(["waft-hello"]), "2.0"), "{done}");
    whole.answer("package", &params("waft-hello", "present"), false)?;
    whole.answer("package", &latest, false)?;

    let away = params("waft-hello", "absent");
    assert_eq!(whole.would("package", &away, true)?["msg"], "would remove waft-hello");
    whole.answer("package", &away, true)?;
    assert_eq!(version(), "");
    whole.answer("package", &away, false)?;

    for bad in [
        json!({}),
        json!({"name": [""]}),
        params("-y", "present"),
        params("waft-data-", "present"),
        params("waft*", "absent"),
        params("waft-hello$", "present"),
        params("waft-hello|waft-data", "present"),
    ] {
        assert_eq!(whole.failure("package", &bad, &[])?["code"], "params.invalid", "{bad}");
    }
    // To look is not to install.
    let look =
        ["exec:apt-get --version:probe", "exec:apt-get -s **:probe", "exec:dpkg-query **", "exec:id -u"];
    let refused = whole.result("package", &params("waft-hello", "present"), &look, &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    Ok(())
}

#[test]
fn an_ordinary_account_installs_nothing() -> Result<()> {
    need_root!("a target with packages of its own");
    let whole = Whole::ordinary()?;
    whole.program("/usr/local/bin/apt-get", "[ \"$1\" != -s ] || echo 'Inst hello (1.0 repo [all])'\n");
    for words in [&[][..], &["--check"]] {
        let denied = whole.failure("package", &params("hello", "present"), words)?;
        assert_eq!(denied["message"], "only root can change packages", "{denied}");
    }
    Ok(())
}

/// What is installed is a file in /run/packages; `PROGRAM` and `VERBS` differ.
const MANAGER: &str = r#"
[ "$1" = --version ] && exit 0
echo "${0##*/} $*" >>/var/log/orders
for last in "$@"; do :; done
case "$*" in
"#;

const ASKS: &str = "[ -e /run/packages/$last ]";
const ADDS: &str = "touch /run/packages/$last";
const REMOVES: &str = "rm /run/packages/$last";

/// A manager: its program, its verbs, and how it installs, upgrades and removes.
type Stand<'a> = (&'a str, String, [&'a str; 3]);

fn come_and_go(managers: &[Stand<'_>]) -> Result<()> {
    let whole = Whole::root()?;
    fs::create_dir_all(whole.path("/run/packages")).expect("a directory");
    // This machine's own is in the way.
    whole.program("/usr/local/sbin/apt-get", "exit 1\n");
    whole.program("/usr/local/sbin/rpm", &format!("for last in \"$@\"; do :; done\n{ASKS}\n"));
    for (manager, verbs, expected) in managers {
        let program = format!("/usr/local/sbin/{manager}");
        whole.program(&program, &format!("{MANAGER}{verbs}\nesac\n"));
        whole.write("/var/log/orders", "");
        whole.would("package", &params("web", "present"), true)?;
        let done = whole.answer("package", &params("web", "present"), true)?;
        assert_eq!((&done["manager"], &done["packages"]), (&json!(manager), &json!(["web"])), "{done}");
        whole.answer("package", &params("web", "present"), false)?;
        whole.answer("package", &params("web", "latest"), false)?;
        whole.write("/run/newer", "");
        whole.answer("package", &params("web", "latest"), true)?;
        whole.answer("package", &params("web", "absent"), true)?;
        whole.answer("package", &params("web", "absent"), false)?;
        let orders = whole.read("/var/log/orders");
        let done: Vec<&str> = orders.lines().filter(|line| expected.contains(line)).collect();
        assert_eq!(done, *expected, "{orders}");
        fs::remove_file(whole.path(&program)).expect("a program");
    }
    let none = whole.failure("package", &params("web", "present"), &[])?;
    assert_eq!(none["code"], "package.no_manager", "{none}");
    Ok(())
}

#[test]
fn packages_by_programs_that_stand_for_dnf_and_zypper() -> Result<()> {
    need_root!("a target with packages of its own");
    come_and_go(&[
        (
            "dnf",
            format!(
                "check-update*) [ -e /run/newer ] || exit 0; echo 'web.noarch 2 base'; exit 100;;
                     install*) {ADDS};; upgrade*) rm /run/newer;; remove*) {REMOVES};;"
            ),
            ["dnf install -y web", "dnf upgrade -y web", "dnf remove -y web"],
        ),
        (
            "zypper",
            format!(
                "*list-updates) [ ! -e /run/newer ] || echo 'v | base | web | 1 | 2 | noarch';;
                     *install*) {ADDS};; *update*) rm /run/newer;; *remove*) {REMOVES};;"
            ),
            ["zypper -n install web", "zypper -n update web", "zypper -n remove web"],
        ),
    ])
}

/// What is installed is a file with its version.
const RPM: &str = r#"
for last in "$@"; do :; done
[ -e /run/packages/$last ] || { echo "package $last is not installed"; exit 1; }
[ "$2" != --qf ] || echo "0:$(cat /run/packages/$last)-1.el9"
"#;
const DNF: &str = r#"
[ "$1" = install ] || exit 0
echo "dnf $*" >>/var/log/orders
echo ${3##*-} >/run/packages/${3%-*}
"#;

#[test]
fn versions_by_programs_that_stand_for_rpm_and_dnf() -> Result<()> {
    need_root!("a target with packages of its own");
    let whole = Whole::root()?;
    fs::create_dir_all(whole.path("/run/packages")).expect("a directory");
    whole.program("/usr/local/sbin/apt-get", "exit 1\n");
    whole.program("/usr/local/sbin/rpm", RPM);
    whole.program("/usr/local/sbin/dnf", DNF);
    whole.write("/run/packages/web", "1.22\n");
    whole.answer("package", &params("web", "present"), false)?;
    whole.answer("package", &params("web=1.22", "present"), false)?;
    whole.would("package", &params("web=1.20", "present"), true)?;
    whole.answer("package", &params("web=1.20", "present"), true)?;
    assert_eq!(whole.read("/var/log/orders"), "dnf install -y web-1.20\n");
    whole.answer("package", &params("web=1.20-1.el9", "present"), false)?;
    for mark in ["~web", "!web", "+web", "-web"] {
        let bad = whole.failure("package", &params(mark, "present"), &[])?;
        assert_eq!(bad["code"], "params.invalid", "{mark}");
    }
    Ok(())
}

#[test]
fn packages_by_programs_that_stand_for_apk_and_pacman() -> Result<()> {
    need_root!("a target with packages of its own");
    come_and_go(&[
        (
            "apk",
            format!("info*) {ASKS};; 'add --simulate --upgrade'*) [ ! -e /run/newer ] || echo '(1/1) Upgrading web (1 -> 2)';;
                     'add --simulate'*) {ASKS} || echo '(1/1) Installing web (1)';;
                     'del --simulate'*) echo '(1/1) Purging web (1)';; 'add --upgrade'*) rm /run/newer;;
                     add*) {ADDS};; del*) {REMOVES};;"),
            ["apk add web", "apk add --upgrade web", "apk del web"],
        ),
        (
            "pacman",
            format!("-T*) {ASKS};; -Qu*) [ -e /run/newer ] && echo 'web 1 -> 2';;
                     -S*) {ADDS}; rm -f /run/newer;; -R*) {REMOVES};;"),
            [
                "pacman -S --noconfirm --needed web",
                "pacman -S --noconfirm --needed web",
                "pacman -R --noconfirm web",
            ],
        ),
    ])
}
