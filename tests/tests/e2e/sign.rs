//! `waft sign` and `waft verify`, side by side with `ssh-keygen -Y`.

mod approvals;
mod rules;

use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use waft_tests::agent::Agent;
use waft_tests::keys::{KeyKind, KeyPair};
use waft_tests::process::run_tool;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Result};

const NAMESPACE: &str = "waft-task";
const KINDS: [KeyKind; 3] = [KeyKind::Ed25519, KeyKind::Rsa, KeyKind::Ecdsa];

/// A directory with a module and whoever signs it.
struct Desk {
    dir: TempDir,
    task: PathBuf,
}

impl Desk {
    fn new() -> Result<Desk> {
        let dir = tempfile::Builder::new().prefix("waft-sign-").tempdir();
        let dir = dir.context(|| "cannot make a directory".to_owned())?;
        let task = dir.path().join("task.wasm");
        fs::write(&task, b"\0asm\x01\0\0\0").expect("written");
        Ok(Desk { dir, task })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).expect("written");
        self.path(name)
    }

    fn key(&self, kind: KeyKind, name: &str) -> Result<KeyPair> {
        KeyPair::generate(kind, &self.path(name))
    }

    fn signature(&self) -> PathBuf {
        self.path("task.wasm.sig")
    }

    /// What is signed, told without waft.
    fn message(&self) -> String {
        let module = fs::read(&self.task).expect("the module");
        format!("waft-task-v1\nblake3:{}\n", blake3::hash(&module).to_hex())
    }

    /// `waft sign TASK`, with these arguments.
    fn sign(&self, arguments: &[&Path]) -> Result<Output> {
        Waft::new("sign")?.arg(&self.task).args(arguments).run()
    }

    fn sign_with(&self, key: &Path) -> Result<Output> {
        self.sign(&["--key".as_ref(), key])?.expect_code(0)
    }

    /// `waft verify TASK`, by a file `signers`.
    fn verify(&self, arguments: &[&str]) -> Result<Output> {
        let signers = self.path("signers");
        Waft::new("verify")?.arg(&self.task).arg("--allowed-signers").arg(signers).args(arguments).run()
    }

    /// Refused, and what was said.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.verify(arguments)?.expect_code(5)?;
        assert_eq!(output.stdout(), "", "{output}");
        Ok(output.stderr())
    }

    fn json(&self, arguments: &[&str], code: i32) -> Result<Value> {
        let output = self.verify(arguments)?.expect_code(code)?;
        Ok(serde_json::from_str(&output.stdout()).expect("one document"))
    }

    /// `ssh-keygen -Y verify`, which says yes.
    fn keygen_verify(&self, principal: &str) -> Result<String> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-Y", "verify", "-n", NAMESPACE, "-I", principal, "-f"]).arg(self.path("signers"));
        keygen.arg("-s").arg(self.signature());
        run_tool(keygen, self.message().as_bytes())
    }

    fn keygen_sign(&self, key: &Path, namespace: &str, message: &str) -> Result<String> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key);
        run_tool(keygen, message.as_bytes())
    }

    /// `ssh-keygen -k`: a revocation list from a specification or keys.
    fn krl(&self, name: &str, options: &[&Path], specification: &str) -> Result<PathBuf> {
        let from = self.file(&format!("{name}.spec"), specification);
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-k", "-f"]).arg(self.path(name)).args(options).arg(from);
        run_tool(keygen, b"")?;
        Ok(self.path(name))
    }
}

fn fingerprint(key: &Path) -> Result<String> {
    let mut keygen = Command::new("ssh-keygen");
    keygen.arg("-lf").arg(key);
    let text = run_tool(keygen, b"")?;
    Ok(text.split(' ').nth(1).expect("a fingerprint").to_owned())
}

fn certify(desk: &Desk, authority: &KeyPair, subject: &KeyPair, options: &[&str]) -> Result<PathBuf> {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-s"]).arg(&authority.path).args(["-I", "laptop of amy", "-n", "amy,root"]);
    keygen.args(options).arg(subject.public_path());
    run_tool(keygen, b"")?;
    let name = subject.path.file_name().expect("a name").to_string_lossy().into_owned();
    Ok(desk.path(&format!("{name}-cert.pub")))
}

#[test]
fn ssh_keygen_accepts_what_waft_signs() -> Result<()> {
    let desk = Desk::new()?;
    let long = desk.path("long");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-t", "ecdsa", "-b", "521", "-f"]).arg(&long);
    run_tool(keygen, b"")?;
    let mut keys = vec![(long.clone(), fs::read_to_string(long.with_added_extension("pub")).expect("a key"))];
    for kind in KINDS {
        let key = desk.key(kind, &format!("{kind:?}"))?;
        keys.push((key.path, key.public));
    }
    for (path, public) in keys {
        desk.file("signers", format!("amy {public}\n"));
        let said = desk.sign_with(&path)?.stdout();
        assert!(said.contains(&fingerprint(&path)?), "{said}");
        assert!(said.contains(desk.message().lines().nth(1).expect("a hash")), "{said}");
        assert!(desk.keygen_verify("amy")?.contains("Good"));
        let said = desk.verify(&["-I", "amy"])?.expect_code(0)?.stdout();
        let kind = public.split(' ').next().expect("a type");
        assert_eq!(said, format!("good: amy {kind} {}\n", fingerprint(&path)?));
    }
    let left: Vec<_> = fs::read_dir(desk.dir.path()).expect("a directory").flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with('.')), "{left:?}");
    assert_eq!(fs::metadata(desk.signature()).expect("a file").permissions().mode() & 0o444, 0o444);
    Ok(())
}

#[test]
fn waft_accepts_what_ssh_keygen_signs_and_one_good_one_of_several_is_enough() -> Result<()> {
    let desk = Desk::new()?;
    let mut all = String::new();
    for kind in KINDS {
        let key = desk.key(kind, &format!("{kind:?}"))?;
        desk.file("signers", format!("amy@example.com namespaces=\"waft-*\" {}\n", key.public));
        let signature = desk.keygen_sign(&key.path, NAMESPACE, &desk.message())?;
        all += &signature;
        desk.file("task.wasm.sig", &signature);
        let said = desk.verify(&[])?.expect_code(0)?.stdout();
        assert!(
            said.starts_with("good: amy@example.com ") && said.contains(&fingerprint(&key.path)?),
            "{said}"
        );
    }
    // Only the last of them is allowed by now; the others are named.
    let several = desk.file("several", all);
    let output = desk.verify(&["--signature", &several.to_string_lossy()])?.expect_code(0)?;
    assert_eq!(output.stdout().lines().count(), 1, "{output}");
    assert_eq!(output.stderr().matches("not among the allowed signers").count(), 2, "{output}");
    Ok(())
}

#[test]
fn keys_in_an_agent_sign_by_their_public_half() -> Result<()> {
    let desk = Desk::new()?;
    let keys = KINDS.map(|kind| desk.key(kind, &format!("{kind:?}")));
    let keys = keys.into_iter().collect::<Result<Vec<_>>>()?;
    let paths: Vec<&Path> = keys.iter().map(|key| key.path.as_path()).collect();
    let agent = Agent::start(&paths)?;
    paths.iter().for_each(|path| fs::remove_file(path).expect("gone"));
    for key in &keys {
        desk.file("signers", format!("amy {}\n", key.public));
        let sign = Waft::new("sign")?.agent(&agent).arg(&desk.task).arg("--key").arg(key.public_path());
        sign.run()?.expect_code(0)?;
        desk.keygen_verify("amy")?;
        desk.verify(&[])?.expect_code(0)?;
    }
    // Without the agent, and with one that has another key, it is said what is missing.
    fs::remove_file(desk.signature()).expect("gone");
    let said = desk.sign(&["--key".as_ref(), &keys[0].public_path()])?.expect_code(2)?.stderr();
    assert!(said.contains("neither in the agent nor beside it") && said.contains("SSH_AUTH_SOCK"), "{said}");
    let other = desk.key(KeyKind::Ed25519, "other")?;
    fs::remove_file(&other.path).expect("gone");
    let sign = Waft::new("sign")?.agent(&agent).arg(&desk.task).arg("--key").arg(other.public_path());
    let said = sign.run()?.expect_code(2)?.stderr();
    assert!(said.contains("neither in the agent nor beside it") && said.contains("ssh-add"), "{said}");
    assert!(!desk.signature().exists());
    Ok(())
}

#[test]
fn certificates_sign_and_count_by_their_authority() -> Result<()> {
    let desk = Desk::new()?;
    let (authority, key) = (desk.key(KeyKind::Rsa, "ca")?, desk.key(KeyKind::Ed25519, "key")?);
    let certificate = certify(&desk, &authority, &key, &["-V", "-1h:+1h", "-z", "7"])?;
    desk.file("signers", format!("*,!root cert-authority {}\n", authority.public));
    // A private key signs as itself also where a certificate lies beside it.
    desk.sign_with(&key.path)?;
    assert!(desk.refused(&[])?.contains("not among the allowed signers"));
    desk.sign_with(&certificate)?;
    desk.keygen_verify("amy")?;
    let told = desk.json(&["-I", "amy", "--format", "json"], 0)?;
    let signature = &told["signatures"][0];
    assert_eq!(signature["principals"], serde_json::json!(["amy"]));
    assert_eq!(signature["signer"]["certificate"]["id"], "laptop of amy");
    assert_eq!(signature["signer"]["certificate"]["serial"], 7);
    assert_eq!(signature["signer"]["certificate"]["authority"], fingerprint(&authority.path)?);
    for principal in ["root", "bob"] {
        assert!(desk.keygen_verify(principal).is_err());
        desk.refused(&["-I", principal])?;
    }
    // In the agent, with the private key gone.
    let agent = Agent::start(&[&key.path])?;
    fs::rename(&key.path, desk.path("away")).expect("moved");
    let sign = Waft::new("sign")?.agent(&agent).arg(&desk.task).arg("--key").arg(&certificate);
    sign.run()?.expect_code(0)?;
    desk.keygen_verify("amy")?;
    fs::rename(desk.path("away"), &key.path).expect("moved");
    // By ssh-keygen.
    let made = desk.keygen_sign(&certificate, NAMESPACE, &desk.message())?;
    desk.file("task.wasm.sig", made);
    assert!(desk.verify(&[])?.expect_code(0)?.stdout().starts_with("good: amy "));
    // Revoked by serial, by name, by its authority.
    let ca: &[&Path] = &["-s".as_ref(), &authority.public_path()];
    for (name, specification, revoked) in [
        ("serial", "serial: 5-9\nserial: 100\n", true),
        ("bitmap", "serial: 1\nserial: 3\nserial: 7\nserial: 9\nserial: 12\n", true),
        ("id", "id: laptop of amy\n", true),
        ("others", "serial: 8-9\nid: laptop of bob\n", false),
    ] {
        let list = desk.krl(name, ca, specification)?;
        let mut query = Command::new("ssh-keygen");
        query.arg("-Qf").arg(&list).arg(&certificate);
        assert_eq!(run_tool(query, b"").is_err(), revoked, "{name}");
        let output = desk.verify(&["--revoked", &list.to_string_lossy()])?;
        let output = output.expect_code(if revoked { 5 } else { 0 })?;
        assert_eq!(output.stderr().contains("serial 7, is revoked"), revoked, "{output}");
    }
    let list = desk.file("authority", &authority.public);
    let said = desk.refused(&["--revoked", &list.to_string_lossy()])?;
    assert!(said.contains("the authority of its certificate"), "{said}");
    Ok(())
}

#[test]
fn verdicts_are_one_json_document_and_names_cannot_move_the_cursor() -> Result<()> {
    let desk = Desk::new()?;
    let (key, stranger) = (desk.key(KeyKind::Ed25519, "key")?, desk.key(KeyKind::Ed25519, "stranger")?);
    desk.file("signers", format!("amy,\u{1b}[31mred {}\n", key.public));
    let output = desk.sign(&[
        "--key".as_ref(),
        &stranger.path,
        "--key".as_ref(),
        &key.path,
        "--format".as_ref(),
        "json".as_ref(),
    ])?;
    let made: Value = serde_json::from_str(&output.expect_code(0)?.stdout()).expect("one document");
    assert_eq!(made["signatures"][1]["fingerprint"], fingerprint(&key.path)?);
    let told = desk.json(&["--format", "json"], 0)?;
    assert_eq!(told["good"], true);
    assert_eq!(told["hash"], made["hash"]);
    assert_eq!(told["signatures"][0]["good"], false);
    assert_eq!(told["signatures"][0]["error"]["code"], "signature.unknown_signer");
    assert_eq!(told["signatures"][1]["signer"]["fingerprint"], fingerprint(&key.path)?);
    assert_eq!(told["signatures"][1]["principals"], serde_json::json!(["amy", "\u{1b}[31mred"]));
    assert_eq!(told["signatures"][1]["allowed_signers_lines"], serde_json::json!([1]));
    let output = desk.verify(&[])?.expect_code(0)?;
    assert!(output.stdout().contains("amy, \\x1b[31mred"), "{output}");
    fs::remove_file(desk.signature()).expect("gone");
    let told = desk.json(&["--format", "json"], 5)?;
    assert_eq!((&told["good"], &told["signatures"]), (&Value::Bool(false), &serde_json::json!([])));
    Ok(())
}

#[test]
fn only_signature_files_are_overwritten() -> Result<()> {
    let desk = Desk::new()?;
    let (amy, bob) = (desk.key(KeyKind::Ed25519, "amy")?, desk.key(KeyKind::Ed25519, "bob")?);
    desk.file("signers", format!("amy {}\nbob {}\n", amy.public, bob.public));
    let good = |expected: &[&str]| -> Result<()> {
        let said = desk.verify(&[])?.expect_code(0)?.stdout();
        let names: Vec<_> = said.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(names, expected, "{said}");
        Ok(())
    };
    desk.sign(&["--key".as_ref(), &amy.path, "--key".as_ref(), &bob.path])?.expect_code(0)?;
    good(&["amy", "bob"])?;
    // ssh-keygen looks at the first.
    desk.keygen_verify("amy")?;
    desk.sign_with(&bob.path)?;
    good(&["bob"])?;
    for _ in 0..2 {
        desk.sign(&["--append".as_ref(), "--key".as_ref(), &amy.path])?.expect_code(0)?;
        good(&["bob", "amy"])?;
    }
    let notes = desk.file("notes", "dear diary\n");
    desk.file("empty", "");
    symlink(&notes, desk.path("link")).expect("a link");
    fs::create_dir(desk.path("folder")).expect("a directory");
    for name in ["notes", "empty", "link", "folder", "task.wasm", "amy"] {
        let before = fs::read(desk.path(name)).ok();
        let output =
            desk.sign(&["--key".as_ref(), &amy.path, "-o".as_ref(), &desk.path(name)])?.expect_code(2)?;
        assert!(output.stderr().contains("is not overwritten") && output.stdout().is_empty(), "{output}");
        assert_eq!(fs::read(desk.path(name)).ok(), before, "{name}");
    }
    let said = desk.sign(&["--key".as_ref(), &amy.path, "-o".as_ref(), &desk.path("no/where")])?;
    assert!(said.expect_code(2)?.stderr().contains("cannot be written"));
    // To stdout nothing is written but signatures.
    let output = desk.sign(&["--key".as_ref(), &bob.path, "-o".as_ref(), "-".as_ref()])?.expect_code(0)?;
    desk.file("task.wasm.sig", output.stdout());
    good(&["bob"])
}

#[test]
fn bad_keys_and_bad_tasks_are_told_before_anything_is_written() -> Result<()> {
    let desk = Desk::new()?;
    let key = desk.key(KeyKind::Ed25519, "key")?;
    let text = desk.file("text", "hello\n");
    let gone = desk.path("gone");
    let twice = ["--key".as_ref(), key.path.as_path(), "--key".as_ref(), &key.path];
    for (arguments, why) in [
        (&["--key".as_ref(), text.as_path()][..], "it has no key to sign with"),
        (&["--key".as_ref(), &gone], "No such file"),
        (&twice, "is given twice"),
        (&[], "there is no key to sign with in ~/.ssh"),
    ] {
        let said = desk.sign(arguments)?.expect_code(2)?.stderr();
        assert!(said.contains(why), "{said}");
    }
    // What is no module is not signed by a slip of the tab key.
    let said = Waft::new("sign")?.arg(&text).arg("--key").arg(&key.path).run()?.expect_code(2)?.stderr();
    assert!(said.contains("no WebAssembly"), "{said}");
    assert!(!desk.signature().exists() && !desk.path("text.sig").exists());
    // Without --key it is the key that ssh would take.
    let sign = Waft::new("sign")?.arg(&desk.task);
    fs::create_dir(sign.home().join(".ssh")).expect("a directory");
    fs::copy(&key.path, sign.home().join(".ssh/id_ed25519")).expect("copied");
    let said = sign.run()?.expect_code(0)?.stdout();
    assert!(said.contains(&fingerprint(&key.path)?), "{said}");
    Ok(())
}

#[test]
fn an_encrypted_key_is_opened_by_its_passphrase_at_the_terminal() -> Result<()> {
    let desk = Desk::new()?;
    let key = desk.key(KeyKind::Ed25519, "key")?;
    desk.file("signers", format!("amy {}\n", key.public));
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-p", "-P", "", "-N", "correct horse", "-a", "1", "-f"]).arg(&key.path);
    run_tool(keygen, b"")?;
    let sign = Waft::new("sign")?.arg(&desk.task).arg("--key").arg(&key.path);
    let said = sign.run()?.expect_code(2)?.stderr();
    assert!(said.contains("is encrypted") && said.contains("ssh-add"), "{said}");
    assert!(!desk.signature().exists());
    let mut terminal = sign.on_terminal()?;
    terminal.wait_for("Enter passphrase for key", 1)?;
    terminal.types("correct horse\n")?;
    assert_eq!(terminal.end()?, Some(0), "{}", terminal.text());
    desk.keygen_verify("amy")?;
    desk.verify(&[])?.expect_code(0)?;
    Ok(())
}
