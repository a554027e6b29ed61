//! Keys and certificates, made by ssh-keygen as an administrator would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::run_tool;
use crate::{Context, Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    #[default]
    Ed25519,
    /// 2048 bits: the least that OpenSSH's clients accept without a setting, and by far the fastest to make.
    Rsa,
    /// NIST P-256.
    Ecdsa,
}

impl KeyKind {
    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Ed25519 => ["-t", "ed25519", "-a", "1"],
            Self::Rsa => ["-t", "rsa", "-b", "2048"],
            Self::Ecdsa => ["-t", "ecdsa", "-b", "256"],
        }
    }
}

/// A key pair on disk, without a passphrase.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The private key (mode 0600).
    pub path: PathBuf,
    /// The line of the public key: type, base64, comment.
    pub public: String,
}

impl KeyPair {
    /// Makes a key pair at `path` and `path.pub`.
    pub fn generate(kind: KeyKind, path: &Path) -> Result<Self> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", "", "-C", "waft-tests"]).args(kind.arguments()).arg("-f").arg(path);
        run_tool(keygen, b"")?;
        Ok(Self { path: path.to_owned(), public: read_line(&path.with_added_extension("pub"))? })
    }

    pub fn public_path(&self) -> PathBuf {
        self.path.with_added_extension("pub")
    }

    /// Type and base64, as a known_hosts line wants them.
    pub fn public_without_comment(&self) -> String {
        self.public.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// Signs `subject` as a user certificate for the given logins. OpenSSH finds it beside the private key.
    pub fn certify_user(&self, subject: &KeyPair, logins: &[&str]) -> Result<PathBuf> {
        self.certify(&[], subject, logins)
    }

    /// Signs `subject` as a host certificate for the given host names or addresses.
    pub fn certify_host(&self, subject: &KeyPair, names: &[&str]) -> Result<PathBuf> {
        self.certify(&["-h"], subject, names)
    }

    fn certify(&self, kind: &[&str], subject: &KeyPair, principals: &[&str]) -> Result<PathBuf> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.arg("-q").arg("-s").arg(&self.path).args(kind).args(["-I", "waft-tests", "-V", "-1h:+1d"]);
        keygen.arg("-n").arg(principals.join(",")).arg(subject.public_path());
        run_tool(keygen, b"")?;
        let name = subject.path.file_name().unwrap_or_default().to_string_lossy();
        Ok(subject.path.with_file_name(format!("{name}-cert.pub")))
    }
}

fn read_line(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    text.lines().next().map(str::to_owned).ok_or_else(|| {
        Error::new(format!("{} is empty; ssh-keygen should have written a public key", path.display()))
    })
}
