//! Where values come from: what a task is told, and what an operator is told when there is none. Nothing is dialled.

use super::{attacks, fresh, parameters, private};
use crate::LIMIT;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use waft_tests::keys::{KeyKind, KeyPair};
use waft_tests::process::run_tool;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Result};

/// A directory with the task that reads secrets, and says them backwards.
struct Desk {
    dir: TempDir,
    task: PathBuf,
}

impl Desk {
    fn new() -> Result<Desk> {
        let dir = tempfile::tempdir().context(|| "a directory".to_owned())?;
        let task = attacks(dir.path())?;
        Ok(Desk { dir, task })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Asks for these on this machine.
    fn waft(&self, names: &[&str], more: &[&str]) -> Result<Waft> {
        let params = parameters(self.dir.path(), &json!({"attack": "secrets-told", "names": names}))?;
        let waft = Waft::new("run")?.arg(&self.task).args(["-t", "local", "--params"]).arg(params);
        let waft = names.iter().fold(waft, |waft, name| waft.args(["--allow", &format!("secret:{name}")]));
        Ok(waft.args(more).env("XDG_CACHE_HOME", self.dir.path()).limit(LIMIT))
    }

    /// What the task was told, field by field.
    fn told(&self, names: &[&str], more: &[&str]) -> Result<Value> {
        told(&self.waft(names, &[&["--format", "jsonl"], more].concat())?.run()?.expect_code(0)?)
    }

    /// It ends before anything runs, and says this.
    fn refused(&self, waft: &Waft, words: &[&str]) -> Result<()> {
        let output = waft.run()?.expect_code(2)?;
        for word in words {
            assert!(output.stderr().contains(word), "{word} in {output}");
        }
        assert_eq!(output.stdout(), "", "{output}");
        Ok(())
    }
}

fn told(output: &Output) -> Result<Value> {
    let mut told = output.result_of("local")?["result"]["told"].take();
    let forward = |text: &mut Value| {
        if let Some(backwards) = text.as_str() {
            *text = backwards.chars().rev().collect::<String>().into();
        }
    };
    for answer in told.as_object_mut().into_iter().flat_map(|answers| answers.values_mut()) {
        forward(&mut answer["value"]);
        forward(&mut answer["base64"]);
    }
    Ok(told)
}

/// `age` of a file to a recipient.
fn encrypt(value: &[u8], to: &[&str], file: &Path) -> Result<String> {
    let mut age = Command::new("age");
    age.args(to).arg("-o").arg(file);
    run_tool(age, value).context(|| "age, which `scripts/setup.sh test` installs".to_owned())
}

#[test]
fn a_value_comes_from_an_age_file_by_an_identity_file_and_by_an_ssh_key() -> Result<()> {
    let desk = Desk::new()?;
    let value = fresh("value");
    let (identity, ssh) = (desk.path("identity"), KeyPair::generate(KeyKind::Ed25519, &desk.path("ssh"))?);
    let mut keygen = Command::new("age-keygen");
    keygen.arg("-o").arg(&identity);
    run_tool(keygen, b"").context(|| "age-keygen, of the package `age`".to_owned())?;
    let mut keygen = Command::new("age-keygen");
    keygen.arg("-y").arg(&identity);
    let recipient = run_tool(keygen, b"")?;
    let (native, by_ssh) = (desk.path("native.age"), desk.path("-ssh.age"));
    encrypt(format!("{value}\n").as_bytes(), &["-r", recipient.trim()], &native)?;
    encrypt(&[0xff, 0, 0xfe, 1, 2, 3], &["-R", &ssh.public_path().to_string_lossy()], &by_ssh)?;
    let said = |path: &Path| path.display().to_string();

    let from = format!("pw=age:{}", said(&native));
    let told = desk.told(&["pw"], &["--secret", &from, "--age-identity", &said(&identity)])?;
    assert_eq!(told["pw"]["value"], value.as_str(), "one line end is cut");
    let waft =
        desk.waft(&["pw"], &["--secret", &from, "--format", "jsonl"])?.env("WAFT_AGE_IDENTITY", &identity);
    assert_eq!(self::told(&waft.run()?.expect_code(0)?)?["pw"]["value"], value.as_str());
    let from_ssh = format!("key:bytes=age:{}", said(&by_ssh));
    let told = desk.told(&["key"], &["--secret", &from_ssh, "--age-identity", &said(&ssh.path)])?;
    assert_eq!(told["key"]["base64"], "/wD+AQID");

    // Each thing that can be wrong is said, with the file that it is about and what to do.
    let mut bytes = fs::read(&native).expect("it");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let damaged = private(desk.path("damaged.age"), &bytes)?;
    let cut = private(desk.path("cut.age"), &bytes[..40])?;
    let refused = |file: &Path, identity: Option<&Path>, words: &[&str]| -> Result<()> {
        let identity = identity.map(said);
        let mut more = vec!["--secret".to_owned(), format!("pw=age:{}", said(file))];
        more.extend(identity.into_iter().flat_map(|path| ["--age-identity".to_owned(), path]));
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        desk.refused(&desk.waft(&["pw"], &more)?, &[&["secret `pw`", &said(file)], words].concat())
    };
    refused(
        &native,
        Some(&ssh.path),
        &["age: error:", "the identity of one it was encrypted to", &said(&ssh.path)],
    )?;
    refused(&native, None, &["age: error:", "--age-identity FILE"])?;
    refused(&damaged, Some(&identity), &["age: error:", "is the file whole"])?;
    refused(&cut, Some(&identity), &["age: error:", "is the file whole"])?;
    refused(&desk.path("none.age"), Some(&identity), &["cannot be read: No such file"])?;
    let missing = desk.path("no-identity");
    let output = desk.waft(&["pw"], &["--secret", &from, "--age-identity", &said(&missing)])?;
    desk.refused(&output, &["secret `pw`", "the identity", &said(&missing), "cannot be read"])?;
    let empty = desk.path("no-programs");
    fs::create_dir(&empty).expect("made");
    let output =
        desk.waft(&["pw"], &["--secret", &from, "--age-identity", &said(&identity)])?.env("PATH", &empty);
    desk.refused(&output, &["the program `age`", &said(&native), "is not there", "the package `age`"])?;
    Ok(())
}

#[test]
fn a_command_prints_a_value_or_it_is_said_why_there_is_none() -> Result<()> {
    let desk = Desk::new()?;
    let value = fresh("value");
    let file = private(desk.path("value"), format!("{value}\n\n").as_bytes())?;
    let from = |line: &str| format!("pw=cmd:{line}");
    let cat = from(&format!("cat {}", file.display()));
    assert_eq!(desk.told(&["pw"], &["--secret", &cat])?["pw"]["value"], format!("{value}\n"), "one is cut");
    let script = |name: &str, text: &str| -> Result<String> {
        let path = desk.path(name);
        fs::write(&path, text).context(|| name.to_owned())?;
        Ok(format!("pw=cmd:sh {}", path.display()))
    };
    let kept = "kept-to-itself";
    for (what, source, words) in [
        (
            "its own words",
            script("words", "echo 'the vault is shut' >&2; echo kept-to-itself; exit 3")?,
            &["the vault is shut", "`sh` failed (exit status: 3)", "end with 0"][..],
        ),
        ("no output", script("nothing", "exit 0")?, &["the command sh gave nothing", "1 to 4096 bytes"]),
        ("a line end alone", script("line", "echo")?, &["the command sh gave nothing"]),
        ("too much", script("much", "yes kept-to-itself")?, &["the command sh gave more", "1 to 4096 bytes"]),
        (
            "a NUL byte",
            script("nul", "printf 'kept-to-itself\\000b'")?,
            &["a NUL byte", "--secret pw:bytes=SOURCE"],
        ),
        (
            "no text",
            script("latin", "printf 'kept-to-itself\\377b'")?,
            &["no UTF-8 text", "--secret pw:bytes=SOURCE"],
        ),
        (
            "a short one",
            script("short", "echo 12345")?,
            &["secret `pw` is shorter than 6 bytes", "--allow-short-secrets"],
        ),
        ("no program", from("/no/such/program x"), &["`/no/such/program` is not there"]),
        ("a signal", script("signal", "kill -9 $$")?, &["signal: 9"]),
    ] {
        let waft = desk.waft(&["pw"], &["--secret", &source])?;
        desk.refused(&waft, &[words, &["secret `pw`"]].concat()).context(|| what.to_owned())?;
        let said = waft.run()?.stderr();
        assert!(!said.contains(kept) && !said.contains("12345"), "{what}: {said}");
    }
    let nul = script("nul", "printf 'a\\000bcdef'")?.replace("pw=", "pw:bytes=");
    assert_eq!(desk.told(&["pw"], &["--secret", &nul])?["pw"]["base64"], "YQBiY2RlZg==");
    // A short one is sent when it is wanted, with a warning, and is not taken out.
    let short = script("short", "echo 12345")?;
    let short = ["--secret", &short, "--allow-short-secrets", "--format", "jsonl"];
    let output = desk.waft(&["pw"], &short)?.run()?.expect_code(0)?;
    assert_eq!(told(&output)?["pw"]["value"], "12345");
    assert!(output.stderr().contains("the secret pw is short: it is not taken out of output"), "{output}");
    Ok(())
}

#[test]
fn what_is_given_and_what_is_asked_for_have_to_fit() -> Result<()> {
    let desk = Desk::new()?;
    let file = private(desk.path("value"), b"correct horse")?;
    let from = |name: &str| format!("{name}=file:{}", file.display());
    let refused =
        |names: &[&str], more: &[&str], words: &[&str]| desk.refused(&desk.waft(names, more)?, words);
    refused(&["pw"], &["--secret", &from("pw"), "--secret", &from("pw")], &["--secret pw is given twice"])?;
    refused(&["pw"], &[], &["`secret:pw` is granted, and there is no value for it", "--secret pw=SOURCE"])?;
    refused(&[], &["--secret", &from("pw")], &["--secret pw is given", "--allow secret:pw"])?;
    refused(&["pw"], &["--secret", "pw=correct horse"], &["never given on the command line"])?;
    let open = desk.path("open");
    fs::write(&open, "correct horse").expect("written");
    refused(
        &["pw"],
        &["--secret", &format!("pw=file:{}", open.display())],
        &["open to others", "chmod 600"],
    )?;
    refused(&["pw"], &["--secret", "pw=prompt"], &["there is no terminal", "file:PATH"])?;
    refused(&["pw"], &["--secret", "pw=env:NO_SUCH"], &["the variable NO_SUCH is not set"])?;
    // What the manifest does not ask for is no use to the task, and what it asks for is named.
    fs::write(desk.path("attacks.toml"), "grants = ['secret:pw']\n").expect("written");
    let both = ["--secret", &from("pw"), "--allow", "secret:more", "--secret", &from("more")];
    refused(&["pw"], &both, &["more"])?;
    assert_eq!(desk.told(&["pw"], &["--secret", &from("pw")])?["pw"]["value"], "correct horse");
    // In an inventory a source that no task asks for is not read, and of two with one name the file is wrong.
    let inventory = |text: &str| {
        fs::write(desk.path("hosts.toml"), text).expect("written");
        desk.path("hosts.toml").display().to_string()
    };
    let unused = format!("[secrets]\npw = 'file:{}'\nother = 'cmd:/no/such/program'\n", file.display());
    let unused = inventory(&unused);
    assert_eq!(desk.told(&["pw"], &["-i", &unused])?["pw"]["value"], "correct horse");
    let twice = inventory("[secrets]\npw = 'prompt'\npw = 'env:PW'\n");
    refused(&["pw"], &["-i", &twice], &["hosts.toml:3:1: duplicate key"])
}

#[test]
fn at_a_terminal_it_is_asked_for_without_echo() -> Result<()> {
    let desk = Desk::new()?;
    let value = fresh("value").replace(['\'', '"', '\\'], "-");
    fs::write(desk.path("attacks.toml"), "grants = ['secret:pw', 'secret:other']\n").expect("written");
    let waft = |more: &[&str]| -> Result<Waft> {
        let params = json!({"attack": "secrets-told", "names": ["pw", "other"]});
        let params = parameters(desk.dir.path(), &params)?;
        let waft = Waft::new("run")?.arg(&desk.task).args(["-t", "local", "--params"]).arg(params).args(more);
        Ok(waft.env("XDG_CACHE_HOME", desk.dir.path()).limit(LIMIT))
    };
    let both = ["--secret", "pw=prompt", "--secret", "other=prompt", "--allow", "asked"];
    let mut terminal = waft(&both)?.on_terminal()?;
    for (name, value) in [("other", "another one"), ("pw", &value)] {
        terminal.wait_for(&format!("Secret {name}: "), 1)?;
        terminal.types(&format!("{value}\n"))?;
    }
    assert_eq!(terminal.end()?, Some(0), "{}", terminal.text());
    let shown = terminal.text();
    let backwards: String = value.chars().rev().collect();
    assert!(shown.contains(&backwards) && shown.contains("eno rehtona"), "the task got them: {shown}");
    assert!(!shown.contains(&value) && !shown.contains("another one"), "{shown}");
    // A question beside it is answered with echo, on the same terminal.
    let mut terminal = waft(&both[..4])?.on_terminal()?;
    terminal.wait_for("[y/N] ", 1)?;
    terminal.types("y\n")?;
    for name in ["other", "pw"] {
        terminal.wait_for(&format!("Secret {name}: "), 1)?;
        terminal.types("hidden-words\n")?;
    }
    assert_eq!(terminal.end()?, Some(0), "{}", terminal.text());
    let shown = terminal.text();
    assert!(shown.contains("[y/N] y") && !shown.contains("hidden-words"), "{shown}");
    // Nothing is no value.
    let mut terminal = waft(&both)?.on_terminal()?;
    terminal.wait_for("Secret other: ", 1)?;
    terminal.types("\n")?;
    terminal.wait_for("Secret pw: ", 1)?;
    terminal.types("hidden-words\n")?;
    assert_eq!(terminal.end()?, Some(2), "{}", terminal.text());
    assert!(terminal.text().contains("the terminal gave nothing"), "{}", terminal.text());
    Ok(())
}
