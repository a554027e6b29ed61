//! Reads values. Nothing of a value is in any problem.

use super::{Kind, Source, age, command};
use crate::operator::{self, Echo};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use waft_proto::run::Problem;
use waft_proto::secret::{SECRET_BYTES_MAX, Secret};
use zeroize::Zeroizing;

/// A file may be a pipe that somebody writes to.
const FILE_DEADLINE: Duration = Duration::from_secs(60);
/// Read of a source, bytes: the longest secret, a line end, and one byte that is too much.
const READ_BYTES_MAX: usize = SECRET_BYTES_MAX + 2;

pub(super) async fn read(
    name: &str,
    source: &Source,
    kind: Kind,
    age_identity: Option<&Path>,
) -> Result<Secret, Problem> {
    let mut value = match source {
        Source::Prompt => prompt(name).await?,
        Source::Env(variable) => env(name, variable)?,
        Source::File(path) => {
            let (name, path) = (name.to_owned(), path.clone());
            let what = path.display().to_string();
            let late =
                format!("the secret `{name}`: {what} gave no end within {} s", FILE_DEADLINE.as_secs());
            let reading = tokio::task::spawn_blocking(move || file(&name, &path));
            match tokio::time::timeout(FILE_DEADLINE, reading).await {
                Ok(Ok(value)) => value?,
                _ => return Err(Problem::new("secret.file", late)),
            }
        }
        Source::Command(argv) => command::output(name, argv, READ_BYTES_MAX).await?,
        Source::Age(path) => age::decrypted(name, path, age_identity, READ_BYTES_MAX).await?,
    };
    if kind == Kind::Text && value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    let from = source.said();
    if value.is_empty() || value.len() > SECRET_BYTES_MAX {
        let found = if value.is_empty() { "nothing" } else { "more" };
        let text =
            format!("the secret `{name}`: {from} gave {found}; expected are 1 to {SECRET_BYTES_MAX} bytes");
        return Err(Problem::new("secret.size", text)
            .hint("of a long secret, send the key that it is encrypted with"));
    }
    let no_text = |what: &str| {
        Problem::new("secret.type", format!("the secret `{name}`: {from} gave {what}"))
            .hint(format!("say that it is bytes: --secret {name}:bytes=SOURCE, or type = \"bytes\""))
    };
    // Neither an argument nor a variable can hold one; UTF-16 is full of them.
    if kind == Kind::Text && value.contains(&0) {
        return Err(no_text("a NUL byte, which no text has"));
    }
    Secret::new(value, kind == Kind::Text).ok_or_else(|| no_text("bytes that are no UTF-8 text"))
}

async fn prompt(name: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let answer = operator::ask(&format!("Secret {name}: "), Echo::Hidden).await;
    answer.map(|text| Zeroizing::new(text.into_bytes())).ok_or_else(|| {
        Problem::new(
            "secret.prompt",
            format!("the secret `{name}` is to be asked for, and there is no terminal"),
        )
        .hint(format!("take it from elsewhere: --secret {name}=file:PATH, env:VARIABLE, cmd:.. or age:FILE"))
    })
}

fn env(name: &str, variable: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    use std::os::unix::ffi::OsStringExt;
    let value = std::env::var_os(variable).ok_or_else(|| {
        Problem::new("secret.env", format!("the secret `{name}`: the variable {variable} is not set"))
            .hint("export it, or take the value from a file: file:PATH")
    })?;
    Ok(Zeroizing::new(value.into_vec()))
}

/// As ssh does with keys: a file of our own must be closed to everybody else. One that is somebody else's (a mounted
/// secret of root's) is that one's business.
fn file(name: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let failed = |what: String| {
        Problem::new("secret.file", format!("the secret `{name}`: the file {} {what}", path.display()))
    };
    let opened = File::open(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    let meta = opened.metadata().map_err(|error| failed(format!("cannot be read: {error}")))?;
    if meta.is_dir() {
        return Err(failed("is a directory".to_owned()));
    }
    let mode = meta.mode() & 0o7777;
    if meta.uid() == rustix::process::geteuid().as_raw() && meta.is_file() && mode & 0o077 != 0 {
        return Err(failed(format!("is open to others (mode {mode:04o})"))
            .hint(format!("close it: chmod 600 {}", path.display())));
    }
    let mut value = Zeroizing::new(Vec::with_capacity(READ_BYTES_MAX));
    let mut part = Zeroizing::new([0; 512]);
    loop {
        let room = part.len().min(READ_BYTES_MAX - value.len());
        let read = (&opened)
            .read(part.get_mut(..room).unwrap_or_default())
            .map_err(|error| failed(format!("cannot be read: {error}")))?;
        if read == 0 {
            return Ok(value);
        }
        value.extend_from_slice(part.get(..read).unwrap_or_default());
    }
}
