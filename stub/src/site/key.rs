//! The key of a node: made at its first start, or by `waft-stub --node-key`, and kept.

use super::state::{Make, State};
use ed25519_dalek::{Signer, SigningKey};
use rustix::fs::{OFlags, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use waft_policy::Site;
use waft_policy::site::{key_text, parse_key};
use waft_proto::run::Problem;

const FILE: &str = "node.key";
/// Begins the file.
const MARK: &str = "waft-node-key-v1 ";
/// The file, bytes: mark, 44 digits, a line end, and some room.
const FILE_BYTES_MAX: u64 = 256;

/// ed25519.
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key of an account, made when it is to be and is not there yet.
    pub fn load(state: &State, settings: &Site, make: Make) -> Result<NodeKey, Problem> {
        if let Some(path) = &settings.node_key {
            return NodeKey::named(Path::new(path), state.owner);
        }
        if let Some(file) = state.file(FILE, OFlags::RDONLY, Make::No)? {
            return read(File::from(file), &state.path.join(FILE));
        }
        match make {
            Make::IfMissing => NodeKey::make(state),
            Make::No => {
                Err(Problem::new("node.key", "this node has no key yet").hint("waft-stub --node-key"))
            }
        }
    }

    /// One that the policy names: nobody else may have written it, nor read it.
    fn named(path: &Path, owner: u32) -> Result<NodeKey, Problem> {
        const WHAT: &str = "the key of this node";
        let missing = || Problem::new("node.key", format!("{WHAT} is not there: {}", path.display()));
        let file = waft_policy::file::open_safe(WHAT, path, owner)?.ok_or_else(missing)?;
        let stat = rustix::fs::fstat(&file).map_err(|_| missing())?;
        if stat.st_mode & 0o077 != 0 {
            let message = format!("{WHAT} can be read by others: {}", path.display());
            return Err(Problem::new("node.key", message).hint(format!("chmod 600 {}", path.display())));
        }
        read(file, path)
    }

    /// Beside the others of several that make one at once, the first stays.
    fn make(state: &State) -> Result<NodeKey, Problem> {
        let mut seed = [0; 32];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| state.failed(FILE, error))?;
        let beside = format!("{FILE}.{}", std::process::id());
        let failed = |_: std::io::Error| state.failed(FILE, Errno::IO);
        let file = state.file(&beside, OFlags::WRONLY | OFlags::EXCL, Make::IfMissing)?;
        let mut file = File::from(file.ok_or_else(|| state.failed(FILE, Errno::NOENT))?);
        let written = writeln!(file, "{MARK}{}", key_text(&seed)).and_then(|()| file.sync_all());
        let named = written.map_err(failed).and_then(|()| {
            match renameat_with(&state.dir, &beside, &state.dir, FILE, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::EXIST) => state.sync().map_err(|error| state.failed(FILE, error)),
                Err(error) => Err(state.failed(FILE, error)),
            }
        });
        // There still when another was first.
        let _ = unlinkat(&state.dir, &beside, rustix::fs::AtFlags::empty());
        named?;
        let file = state.file(FILE, OFlags::RDONLY, Make::No)?;
        let file = file.ok_or_else(|| state.failed(FILE, Errno::NOENT))?;
        read(File::from(file), &state.path.join(FILE))
    }

    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).to_bytes().to_vec()
    }
}

fn read(file: File, path: &Path) -> Result<NodeKey, Problem> {
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    let seed = text.trim_end().strip_prefix(MARK).and_then(parse_key);
    match (read, seed) {
        (Ok(_), Some(seed)) => Ok(NodeKey(SigningKey::from_bytes(&seed))),
        _ => Err(Problem::new("node.key", format!("{} is no key of a node", path.display()))
            .hint("move it away: a new one is made, which every controller that pins it has to be told")),
    }
}

/// `waft-stub --node-key [ACCOUNT]`: the public half, of this account or, for root, of another.
pub fn public_of(account: Option<&str>, settings: &Site) -> Result<String, Problem> {
    let state = match account {
        None => super::state::open(settings, Make::IfMissing)?,
        Some(account) => {
            let unknown = || {
                Problem::new("node.account", format!("/etc/passwd has no account `{account}`"))
                    .hint("the account that controllers log in as")
            };
            let uid = crate::files::user_number(account).ok_or_else(unknown)?;
            super::state::open_for(settings, uid, account, Make::IfMissing)?
        }
    };
    Ok(key_text(&NodeKey::load(&state, settings, Make::IfMissing)?.public()))
}
