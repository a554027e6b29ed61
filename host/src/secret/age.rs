//! Values from files of `age`, by the program of that name.

use super::command;
use std::fs::File;
use std::path::Path;
use waft_proto::run::Problem;
use zeroize::Zeroizing;

const PROGRAM: &str = "age";

/// What the program makes of a file. It says on our standard error what is wrong, and asks for a passphrase by itself.
pub(super) async fn decrypted(
    name: &str,
    path: &Path,
    identity: Option<&Path>,
    bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let failed = |what: String| Problem::new("secret.age", format!("the secret `{name}`: {what}"));
    let files = [("the age file", Some(path)), ("the identity", identity)];
    for (what, path) in files.into_iter().filter_map(|(what, path)| Some((what, path?))) {
        File::open(path).map_err(|error| {
            failed(format!("{what} {} cannot be read: {}", path.display(), crate::files::plain(&error)))
        })?;
    }
    let mut argv = vec![PROGRAM.to_owned(), "--decrypt".to_owned()];
    if let Some(identity) = identity {
        argv.extend(["--identity".to_owned(), identity.display().to_string()]);
    }
    // As a file, also when it begins with `-`.
    argv.extend(["--".to_owned(), path.display().to_string()]);
    command::run(&argv, bytes_max).await.map_err(|failure| match failure {
        command::Failure::Missing => {
            failed(format!("the program `{PROGRAM}`, which decrypts {}, is not there", path.display()))
                .hint("install it (Debian, Fedora, Homebrew: the package `age`), or take the value from elsewhere")
        }
        command::Failure::Other(what) => {
            let problem = failed(format!("`{PROGRAM}` cannot decrypt {}: it {what}", path.display()));
            problem.hint(match identity {
                Some(identity) => format!(
                    "its own words are above; is the file whole, and {} the identity of one it was encrypted to?",
                    identity.display()
                ),
                None => "its own words are above; name the identity that it was encrypted to: --age-identity FILE"
                    .to_owned(),
            })
        }
    })
}
