//! Programs that print a secret.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use waft_proto::run::Problem;
use zeroize::Zeroizing;

/// How long a program may take to print a secret: it may ask somebody for a touch or a PIN.
const DEADLINE: Duration = Duration::from_secs(60);

/// Words as a shell would split them, and nothing else of a shell: blanks, '..', ".." and backslash.
pub(super) fn words(line: &str) -> Result<Vec<String>, Problem> {
    let open = |what: &str| {
        Problem::new("secret.source", format!("the command of a secret ends {what}"))
            .hint("quote words with '..' or \"..\"; no shell reads this line")
    };
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next().ok_or_else(|| open("with a backslash"))?),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(|| open("inside of '"))? {
                        '\'' => break,
                        char => word.push(char),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(|| open("inside of \""))? {
                        '"' => break,
                        '\\' => match chars.next().ok_or_else(|| open("inside of \""))? {
                            char @ ('"' | '\\' | '$' | '`') => word.push(char),
                            char => word.extend(['\\', char]),
                        },
                        char => word.push(char),
                    }
                }
            }
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Why a program gave no value.
pub(super) enum Failure {
    /// There is no such program.
    Missing,
    /// What it did.
    Other(String),
}

/// Standard output of a program, at most `bytes_max` and one byte. Its standard error is ours, so that it can say what
/// is wrong.
pub(super) async fn output(
    name: &str,
    argv: &[String],
    bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    run(argv, bytes_max).await.map_err(|failure| {
        let what = match failure {
            Failure::Missing => "is not there".to_owned(),
            Failure::Other(what) => what,
        };
        let program = argv.first().map(String::as_str).unwrap_or_default();
        Problem::new("secret.command", format!("the secret `{name}`: the program `{program}` {what}"))
            .hint("run it by itself: it has to print the value on its standard output and end with 0")
    })
}

pub(super) async fn run(argv: &[String], bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let Some((program, args)) = argv.split_first() else { return Err(Failure::Missing) };
    let failed = |what: String| Failure::Other(what);
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::Missing,
        _ => failed(format!("cannot be started: {}", crate::files::plain(&error))),
    })?;
    let mut value = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    let read = async {
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = stdout.take(bytes_max as u64 + 1);
            // Within its capacity, so that no copy stays behind from growing.
            while value.len() < value.capacity() && stdout.read_buf(&mut *value).await? > 0 {}
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(DEADLINE, read).await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(value),
        // It was not read to the end: then the length is what is wrong.
        Ok(Ok(_)) if value.len() > bytes_max => Ok(value),
        Ok(Ok(status)) => Err(failed(format!("failed ({status})"))),
        Ok(Err(error)) => Err(failed(format!("cannot be read: {}", crate::files::plain(&error)))),
        Err(_) => Err(failed(format!("did not end within {} s", DEADLINE.as_secs()))),
    }
}
