//! `known_hosts` files: which keys, and which authorities, are good for a name.

use hmac::{Hmac, Mac};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, KnownHosts, Marker};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey, PublicKeyBase64};
use sha1::Sha1;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use waft_hop::ssh::fingerprint;
use waft_proto::run::Problem;

/// What the files say about one name. All keys in SSH wire form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    pub keys: Vec<Vec<u8>>,
    pub authorities: Vec<Vec<u8>>,
    pub revoked: Vec<Vec<u8>>,
}

impl Known {
    /// Whether a shown key is revoked; of a certificate, its key or the authority that signed it.
    pub fn is_revoked(&self, shown: &[u8]) -> bool {
        let revoked = |key: KeyData| self.revoked.contains(&PublicKey::from(key).public_key_bytes());
        self.revoked.iter().any(|key| key == shown)
            || Certificate::from_bytes(shown).is_ok_and(|certificate| {
                revoked(certificate.public_key().clone()) || revoked(certificate.signature_key().clone())
            })
    }
}

/// What is to be done with a key that is in no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strict {
    Yes,
    /// The operator is asked; refused where there is none.
    #[default]
    Ask,
    AcceptNew,
    /// `StrictHostKeyChecking no`: also a changed key is accepted, as ssh does it.
    No,
}

/// The name as the files write it: `host`, or `[host]:port` when the port is not 22.
fn written(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Reads all files; a missing one is empty, a line that cannot be read is skipped, as ssh does.
pub fn lookup(files: &[PathBuf], host: &str, port: u16) -> Known {
    let name = written(host, port);
    let mut known = Known::default();
    for file in files {
        // A comment need not be UTF-8, and hides no line.
        let Ok(bytes) = fs::read(file) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        // Line by line, so that one bad line does not hide the others. Words may stand any blanks apart.
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let entries =
            lines.filter(|line| !is_deep(line)).filter_map(|line| KnownHosts::new(&line).next()?.ok());
        for entry in entries {
            if !matches(&entry, &name) {
                continue;
            }
            let key = entry.public_key().public_key_bytes();
            match entry.marker() {
                None => known.keys.push(key),
                Some(Marker::CertAuthority) => known.authorities.push(key),
                Some(Marker::Revoked) => known.revoked.push(key),
            }
        }
    }
    known
}

/// Whether the key of a line would take a decoder too deep: such a line is none that can be read.
fn is_deep(line: &str) -> bool {
    let decoded = line.split(' ').filter_map(|word| data_encoding::BASE64.decode(word.as_bytes()).ok());
    decoded.into_iter().any(|bytes| waft_trust::is_deep(&bytes))
}

fn matches(entry: &Entry, name: &str) -> bool {
    match entry.host_patterns() {
        HostPatterns::Patterns(patterns) => {
            let mut found = false;
            for pattern in patterns {
                match pattern.strip_prefix('!') {
                    Some(not) if glob(&not.to_ascii_lowercase(), name) => return false,
                    Some(_) => {}
                    None => found |= glob(&pattern.to_ascii_lowercase(), name),
                }
            }
            found
        }
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
    }
}

/// `*` and `?`, as in ssh's patterns.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, t));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// The verdict on a key or certificate that a host showed.
pub fn judge(
    known: &Known,
    shown: &[u8],
    name: &str,
    host: &str,
    strict: Strict,
) -> Result<Verdict, Problem> {
    // Before anything decodes it: this comes from whoever answered.
    if waft_trust::is_deep(shown) {
        let text =
            format!("{name} showed a host key that cannot be read: it has certificates within certificates");
        return Err(Problem::new("ssh.host_key", text));
    }
    if known.is_revoked(shown) {
        return Err(Problem::new(
            "ssh.host_key",
            format!("{name} showed a host key that is marked as revoked: {}", fingerprint(shown)),
        ));
    }
    if known.keys.iter().any(|key| key == shown)
        || waft_hop::ssh::is_host_certificate(shown, host, &known.authorities)
    {
        return Ok(Verdict::Known);
    }
    if !known.keys.is_empty() && strict != Strict::No {
        return Err(Problem::new(
            "ssh.host_key",
            format!("{name} showed another host key than the one known for it: {}", fingerprint(shown)),
        )
        .hint("somebody may be in between; if the host was reinstalled, remove its old line with `ssh-keygen -R`"));
    }
    match strict {
        Strict::Yes => Err(unknown(shown, name)),
        Strict::Ask => Ok(Verdict::Ask),
        Strict::AcceptNew | Strict::No => Ok(Verdict::New),
    }
}

/// The refusal of a key that nobody vouched for.
pub fn unknown(shown: &[u8], name: &str) -> Problem {
    let message = format!("the host key of {name} is not known: {}", fingerprint(shown));
    Problem::new("ssh.host_key", message)
        .hint("check it and add it to known_hosts (`ssh-keyscan` shows it), or set StrictHostKeyChecking to accept-new")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Known,
    /// The operator is to say.
    Ask,
    /// To be written down with [`learn`].
    New,
}

/// Appends a key for a host, as ssh does under `accept-new`.
pub fn learn(file: &Path, host: &str, port: u16, key: &[u8]) -> io::Result<()> {
    let key = PublicKey::from_bytes(key).map_err(io::Error::other)?;
    let text = key.to_openssh().map_err(io::Error::other)?;
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    // Somebody's editor may have left the last line without its end.
    let unended = fs::read(file).is_ok_and(|before| before.last().is_some_and(|byte| *byte != b'\n'));
    let end = if unended { "\n" } else { "" };
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
    file.write_all(format!("{end}{} {text}\n", written(host, port)).as_bytes())
}

#[cfg(test)]
pub(super) mod tests;
