//! `waft sign`: SSH signatures over a module or an approval, beside it.

use super::approval::page;
use super::{Done, Failure, print};
use crate::compile::MODULE_BYTES_MAX;
use crate::files;
use crate::report::escape;
use crate::ssh::keys::{Places, Ring};
use clap::{Args, ValueEnum};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::ssh_key::{HashAlg, Signature};
use russh::keys::{Certificate, PublicKey};
use serde_json::{Value, json};
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use waft_proto::run::Problem;
use waft_trust::approval::{Approval, DOCUMENT_BYTES_MAX};
use waft_trust::{
    APPROVAL_NAMESPACE, HASH_BYTES, Signer, TASK_NAMESPACE, armour, sealed, signer, task_message,
    to_be_signed,
};

/// Bytes of a key file that are read; the longest RSA keys have some 13 KB.
const KEY_FILE_BYTES_MAX: usize = 64 << 10;
/// Where ssh has a key when it is told nothing, best first.
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
/// What is hashed at once.
const PORTION_BYTES: usize = 64 << 10;
/// How a WebAssembly module or component begins.
const WASM_MAGIC: &[u8] = b"\0asm";

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft sign ./task.wasm --key ~/.ssh/id_ed25519          # makes ./task.wasm.sig
  waft sign ./task.wasm --key release.pub                # the private half is in the agent
  waft sign ./task.wasm --key second.pub --append        # keeps the signatures that are there
  waft sign ./restart.approval                           # says what is approved, and adds to ./restart.approval.sig

Of an approval (`waft run --approval-request`) the file itself is signed, in the namespace waft-approval. Of a module it is the text `waft-task-v1\\nblake3:HASH\\n` in the namespace waft-task. `ssh-keygen -Y sign` and `-Y verify` \
with `-n waft-task` make and verify the same over that text.")]
pub(crate) struct Sign {
    /// The module or the approval
    #[arg(value_name = "FILE")]
    task: PathBuf,
    /// Private key, or a public key or certificate whose private key is in the agent or beside it; may be repeated
    /// [default: the first of ~/.ssh/id_ed25519, id_ecdsa, id_rsa]
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Where the signatures go; - is stdout [default: FILE.sig]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Keep the signatures by other keys that are in that file; those on an approval are always kept
    #[arg(long)]
    append: bool,
    /// How it is told what was signed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
}

/// Where a signature is when nothing else is said.
pub(super) fn beside(task: &Path) -> PathBuf {
    task.with_added_extension("sig")
}

pub(super) async fn sign(args: Sign) -> Done {
    let (subject, is_module) = Subject::read(&args.task)?;
    if !is_module && matches!(subject, Subject::Task(_)) {
        let text = format!("{} is no WebAssembly module, and no approval", args.task.display());
        return Err(Problem::new("sign.task", text).into());
    }
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    if to_stdout && args.format == Format::Json {
        return Err(Problem::new("usage.format", "signatures on stdout leave no place for JSON").into());
    }
    let output = args.output.clone().unwrap_or_else(|| beside(&args.task));
    if let (Subject::Approval(approval, _), false) = (&subject, to_stdout || args.format == Format::Json) {
        print::out(&page(approval))?;
    }
    // Before anybody is asked for a passphrase.
    let there = if to_stdout { None } else { existing(&output)? };
    let keys = if args.key.is_empty() { vec![default_key()?] } else { args.key };
    let mut made: Vec<Made> = Vec::new();
    for file in &keys {
        let new = seal(file, subject.namespace(), &subject.message()).await?;
        if made.iter().any(|made| made.key == new.key) {
            return Err(Problem::new("sign.key", format!("{} is given twice", file.display())).into());
        }
        made.push(new);
    }
    let text: String = made.iter().map(|made| made.armoured.as_str()).collect();
    if to_stdout {
        return print::out(&text).map(|()| 0);
    }
    let before = there.as_deref().unwrap_or_default();
    let kept = if args.append || matches!(subject, Subject::Approval(..)) {
        kept(before, &made)
    } else {
        String::new()
    };
    write(&output, &(kept + &text), there.is_some()).map_err(|error| {
        Problem::new(
            "sign.write",
            format!("{} cannot be written: {}", output.display(), crate::files::plain(&error)),
        )
    })?;
    tell(&args.task, &subject, &output, &made, args.format)?;
    Ok(0)
}

/// What is signed.
pub(super) enum Subject {
    /// blake3 of a module.
    Task([u8; HASH_BYTES]),
    Approval(Approval, Vec<u8>),
}

impl Subject {
    /// And whether it begins as a module; signatures can be asked for over anything.
    pub(super) fn read(file: &Path) -> Result<(Subject, bool), Problem> {
        let (hash, head) = hash(file)?;
        if !head.starts_with(b"{") {
            return Ok((Subject::Task(hash), head == WASM_MAGIC));
        }
        let failed = |error: io::Error| {
            let text = format!("{} cannot be read: {}", file.display(), files::plain(&error));
            Problem::new("task.read", text)
        };
        let document = read(file, DOCUMENT_BYTES_MAX).map_err(failed)?;
        let approval = Approval::parse(&document).map_err(|problem| Problem {
            message: format!("{}: {}", file.display(), problem.message),
            ..problem
        })?;
        Ok((Subject::Approval(approval, document), false))
    }

    pub(super) fn namespace(&self) -> &'static str {
        match self {
            Subject::Task(_) => TASK_NAMESPACE,
            Subject::Approval(..) => APPROVAL_NAMESPACE,
        }
    }

    pub(super) fn message(&self) -> Vec<u8> {
        match self {
            Subject::Task(hash) => task_message(hash).into_bytes(),
            Subject::Approval(_, document) => document.clone(),
        }
    }

    /// blake3 of the module that it is about.
    pub(super) fn module(&self) -> [u8; HASH_BYTES] {
        match self {
            Subject::Task(hash) => *hash,
            Subject::Approval(approval, _) => approval.module.0,
        }
    }

    /// The document as JSON; `null` for a module.
    pub(super) fn json(&self) -> Value {
        match self {
            Subject::Task(_) => Value::Null,
            Subject::Approval(_, document) => serde_json::from_slice(document).unwrap_or_default(),
        }
    }
}

fn tell(task: &Path, subject: &Subject, output: &Path, made: &[Made], format: Format) -> Result<(), Failure> {
    let signers: Vec<(Signer, &Path)> =
        made.iter().map(|made| (signer(&made.key), made.file.as_path())).collect();
    if format == Format::Json {
        let signatures: Vec<Value> = signers
            .iter()
            .map(|(signer, file)| {
                let mut value = signer_json(signer);
                value["key"] = json!(file.to_string_lossy());
                value
            })
            .collect();
        return print::json(&json!({
            "task": task.to_string_lossy(),
            "hash": format!("blake3:{}", hex(&subject.module())),
            "approval": subject.json(),
            "output": output.to_string_lossy(),
            "signatures": signatures,
        }));
    }
    let name = escape::cell(&task.to_string_lossy());
    let mut text = match subject {
        Subject::Task(hash) => format!("{name} blake3:{}\n", hex(hash)),
        Subject::Approval(..) => format!("{name}\n"),
    };
    for (signer, _) in &signers {
        text += &format!("signed by {}\n", signer_text(signer));
    }
    text += &format!("in {}\n", escape::cell(&output.to_string_lossy()));
    print::out(&text)
}

pub(super) fn signer_json(signer: &Signer) -> Value {
    let certificate = signer.certificate.as_ref().map(|certificate| {
        json!({ "id": certificate.id, "serial": certificate.serial, "authority": certificate.authority })
    });
    json!({ "key_type": signer.key_type, "fingerprint": signer.fingerprint, "certificate": certificate })
}

/// One line.
pub(super) fn signer_text(signer: &Signer) -> String {
    let mut text = format!("{} {}", signer.key_type, signer.fingerprint);
    if let Some(certificate) = &signer.certificate {
        text += &format!(
            " (certificate `{}`, serial {}, by {})",
            escape::cell(&certificate.id),
            certificate.serial,
            certificate.authority
        );
    }
    text
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// A file of at most so many bytes.
pub(super) fn read(file: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// blake3 of a module, and its first bytes.
pub(super) fn hash(task: &Path) -> Result<([u8; HASH_BYTES], Vec<u8>), Problem> {
    let failed =
        |why: String| Problem::new("task.read", format!("the task {} cannot be read: {why}", task.display()));
    let mut file = File::open(task).map_err(|error| failed(files::plain(&error)))?;
    let mut hasher = blake3::Hasher::new();
    let mut head: Vec<u8> = Vec::new();
    let mut portion = vec![0; PORTION_BYTES];
    let mut bytes = 0;
    loop {
        let read = match file.read(&mut portion) {
            Ok(0) => return Ok((*hasher.finalize().as_bytes(), head)),
            Ok(read) => portion.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error.to_string())),
        };
        head.extend(read.iter().take(WASM_MAGIC.len().saturating_sub(head.len())));
        hasher.update(read);
        bytes += read.len();
        if bytes > MODULE_BYTES_MAX {
            return Err(failed(format!("a module has at most {MODULE_BYTES_MAX} bytes")));
        }
    }
}

/// What ssh would take first.
fn default_key() -> Result<PathBuf, Problem> {
    let ssh = std::env::home_dir().map(|home| home.join(".ssh"));
    let found =
        ssh.and_then(|ssh| DEFAULT_KEYS.iter().map(|name| ssh.join(name)).find(|file| file.is_file()));
    found.ok_or_else(|| {
        Problem::new("sign.key", "there is no key to sign with in ~/.ssh")
            .hint("name one with --key: a private key, or a public key whose private half is in the agent")
    })
}

/// A signature, and what made it.
struct Made {
    file: PathBuf,
    key: KeyData,
    armoured: String,
}

/// Signs with the key that the file has or names.
async fn seal(file: &Path, namespace: &str, message: &[u8]) -> Result<Made, Problem> {
    let named = |why: String| Problem::new("sign.key", format!("{}: {why}", file.display()));
    let bytes = read(file, KEY_FILE_BYTES_MAX).map_err(|error| named(files::plain(&error)))?;
    let text = String::from_utf8_lossy(&bytes);
    let agent =
        std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let mut places = Places { agent, ..Places::default() };
    let named_key = public(&text);
    match &named_key {
        // The agent's keys, and the private key if it lies beside.
        Some(_) => places.files.extend(private_beside(file)),
        None => {
            places.files.push(file.to_owned());
            places.only = true;
        }
    }
    let ring = Ring::load(&places).await;
    let key = match named_key {
        Some(key) => key,
        None => own_key(&ring).ok_or_else(|| {
            let why = ring.troubles.first().cloned();
            named("it has no key to sign with".to_owned())
                .hint(why.unwrap_or_else(|| "it must be a private key, or a public one".to_owned()))
        })?,
    };
    let wire = match &key {
        KeyData::Certificate(certificate) => PublicKey::from(certificate.public_key().clone()).to_bytes(),
        key => PublicKey::from(key.clone()).to_bytes(),
    };
    let wire = wire.map_err(|error| named(error.to_string()))?;
    if !ring.wires().contains(&wire) {
        let problem = named("its private key is neither in the agent nor beside it".to_owned());
        return Err(problem.hint(match (&places.agent, ring.troubles.first()) {
            (_, Some(trouble)) => trouble.clone(),
            (None, None) => "there is no agent: SSH_AUTH_SOCK is not set".to_owned(),
            (Some(_), None) => {
                "`ssh-add KEY` gives the agent a key, `ssh-add -l` shows those it has".to_owned()
            }
        }));
    }
    let blob = ring.sign(&wire, &to_be_signed(namespace, message, HashAlg::Sha512)?).await?;
    let signature = Signature::try_from(blob.as_slice()).map_err(|error| named(error.to_string()))?;
    let armoured = sealed(key.clone(), (namespace, message), HashAlg::Sha512, signature)
        .map_err(|problem| named(format!("its signature is not good: {}", problem.message)))?;
    Ok(Made { file: file.to_owned(), key, armoured })
}

/// What a `.pub` file has.
fn public(text: &str) -> Option<KeyData> {
    let line = text.trim();
    let key = PublicKey::from_openssh(line).map(KeyData::from);
    key.or_else(|_| Certificate::from_openssh(line).map(KeyData::from)).ok()
}

/// The private key beside `NAME.pub` or `NAME-cert.pub`.
fn private_beside(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?;
    let bare = name.strip_suffix("-cert.pub").or_else(|| name.strip_suffix(".pub"))?;
    let private = file.with_file_name(bare);
    private.is_file().then_some(private)
}

/// The key of a private key file. A certificate that lies beside it is not meant: who means it names it.
fn own_key(ring: &Ring) -> Option<KeyData> {
    let keys = ring.wires().into_iter().filter_map(|wire| PublicKey::from_bytes(&wire).ok());
    keys.map(KeyData::from).find(|key| !matches!(key, KeyData::Certificate(_)))
}

/// The signatures that a file has. What is no signature file stays as it is.
fn existing(output: &Path) -> Result<Option<Vec<u8>>, Problem> {
    let refused = |why: &str| {
        Problem::new("sign.output", format!("{} {why}, and is not overwritten", output.display()))
            .hint("name another file with -o")
    };
    match std::fs::metadata(output) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(file) if !file.is_file() => return Err(refused("is no regular file")),
        _ => {}
    }
    let bytes = read(output, armour::FILE_BYTES_MAX)
        .map_err(|error| refused(&format!("cannot be read ({})", crate::files::plain(&error))))?;
    match armour::parse(&bytes).iter().any(|block| block.signature.is_ok()) {
        true => Ok(Some(bytes)),
        false => Err(refused("is no signature file")),
    }
}

/// The signatures of others.
fn kept(before: &[u8], made: &[Made]) -> String {
    let is_other = |block: &armour::Block| {
        block
            .signature
            .as_ref()
            .is_ok_and(|signature| made.iter().all(|made| made.key != *signature.public_key()))
    };
    armour::parse(before).into_iter().filter(is_other).map(|block| block.text).collect()
}

/// Whole or not at all, for everybody to read. What came there meanwhile is not overwritten.
fn write(file: &Path, text: &str, is_there: bool) -> io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The umask takes away what it takes from every file.
    let mode = Permissions::from_mode(0o666);
    let mut beside = tempfile::Builder::new().prefix(".waft-").permissions(mode).tempfile_in(dir)?;
    beside.write_all(text.as_bytes())?;
    let done = if is_there { beside.persist(file) } else { beside.persist_noclobber(file) };
    done.map(drop).map_err(|error| error.error)
}
