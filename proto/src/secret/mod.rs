//! Secrets of a run: values that a task may read by name. They are sealed for the way to a node ([`sealed`]), and
//! taken out of everything that comes back ([`redact`]), on the node and once more on the controller.
//!
//! Values are overwritten when they are dropped. Nothing keeps the kernel from writing them to swap before.

mod forms;
pub mod redact;
pub mod sealed;

use crate::grant::Grant;
use crate::run::Problem;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use zeroize::Zeroizing;

/// Secrets of one run.
pub const SECRETS_MAX: usize = 16;
/// One secret, bytes.
pub const SECRET_BYTES_MAX: usize = 4 * 1024;
/// All secrets of a run, bytes.
pub const SECRETS_BYTES_MAX: usize = 16 * 1024;
/// Shorter ones stand in any output by chance: they are not redacted. Bytes.
pub const SECRET_BYTES_MIN: usize = 6;
/// The name of one, bytes.
pub const SECRET_NAME_BYTES_MAX: usize = 128;

/// One value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    bytes: Zeroizing<Vec<u8>>,
    text: bool,
}

impl Secret {
    /// `text` is for UTF-8: `None` when it is none.
    pub fn new(bytes: Zeroizing<Vec<u8>>, text: bool) -> Option<Secret> {
        (!text || core::str::from_utf8(&bytes).is_ok()).then_some(Secret { bytes, text })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `None`: it is to be handed out as bytes.
    pub fn text(&self) -> Option<&str> {
        if self.text { core::str::from_utf8(&self.bytes).ok() } else { None }
    }

    /// Whether it is taken out of output.
    pub fn is_redacted(&self) -> bool {
        self.bytes.len() >= SECRET_BYTES_MIN
    }
}

/// The secrets of one run, within the limits, sorted by name. A list: a map would be more code in the stub.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(Vec<(String, Secret)>);

impl Secrets {
    /// A later value takes the place of an earlier one of that name.
    pub fn insert(&mut self, name: &str, secret: Secret) -> Result<(), Problem> {
        let wrong = |text: String, hint: &str| Err(Problem::new("secret.size", text).hint(hint));
        if name.len() > SECRET_NAME_BYTES_MAX || Grant::parse(&format!("secret:{name}")).is_err() {
            let text = format!("`{}` is no name of a secret", name.escape_debug());
            return Err(Problem::new("secret.name", text).hint(format!(
                "a name is letters, digits and `_` `-` `.` `/` `@`, at most {SECRET_NAME_BYTES_MAX} of them"
            )));
        }
        let bytes = secret.bytes.len();
        if bytes == 0 || bytes > SECRET_BYTES_MAX {
            return wrong(
                format!("the secret `{name}` has {bytes} bytes; expected are 1 to {SECRET_BYTES_MAX}"),
                "of a long secret, send the key that it is encrypted with",
            );
        }
        if !self.put(name, secret) {
            let others = self.0.iter().filter(|(other, _)| *other != name);
            let (count, sum) =
                others.fold((1, bytes), |(n, sum), (_, secret)| (n + 1, sum + secret.bytes.len()));
            return wrong(
                format!(
                    "with `{name}` this run has {count} secrets of {sum} bytes; at most {SECRETS_MAX} of {SECRETS_BYTES_MAX} bytes together go with one"
                ),
                "split the run",
            );
        }
        Ok(())
    }

    /// False, and nothing is done, when it is too much.
    pub(crate) fn put(&mut self, name: &str, secret: Secret) -> bool {
        let others = self.0.iter().filter(|(other, _)| *other != name);
        let sum: usize = others.clone().map(|(_, secret)| secret.bytes.len()).sum();
        if others.count() >= SECRETS_MAX || sum + secret.bytes.len() > SECRETS_BYTES_MAX {
            return false;
        }
        let at = self.0.iter().take_while(|(other, _)| other.as_str() < name).count();
        match self.0.get_mut(at).filter(|(other, _)| *other == name) {
            Some((_, old)) => *old = secret,
            None => self.0.insert(at, (name.into(), secret)),
        }
        true
    }

    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, secret)| secret)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those with these names.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Secrets {
        Secrets(self.0.iter().filter(|(name, _)| wanted(name)).cloned().collect())
    }
}

/// Names only.
impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("secret")
    }
}

#[cfg(test)]
mod tests;
