//! Who stands for what is done: SSH signatures (`ssh-keygen -Y sign`) over tasks and approvals, and the rules by which
//! they count.
//!
//! | module | what it gives |
//! |---|---|
//! | [`armour`] | a signature file: armoured signatures, one after the other; and one without armour |
//! | [`allowed`] | `allowed_signers`: who may sign, for which names, from when until when |
//! | [`revoked`], `krl` | keys and certificates that do not count any more |
//! | [`check`] | the verdict on each signature |
//! | [`approval`] | what several people agree to, and whether enough of them did |
//! | `key`, `pattern`, [`time`], `wire` | keys, ssh's patterns, dates, SSH's binary encoding |
//!
//! All of it is values: bytes in, verdicts or all problems out. It reads no file, no clock and no environment, and takes
//! nothing on trust: signature files and revocation lists may come from an enemy, sizes are limited before they are
//! allocated, and nothing here panics.

pub mod allowed;
pub mod approval;
pub mod armour;
pub mod check;
mod key;
mod krl;
mod pattern;
pub mod revoked;
pub mod time;
mod wire;

#[cfg(test)]
mod testing;

pub use allowed::AllowedSigners;
pub use approval::{Approval, Approver, approved};
pub use check::{Accepted, Certified, Question, Rules, Signer, Verdict, signer};
pub use key::is_deep;
pub use revoked::Revocations;
pub use ssh_key;

use ssh_key::{HashAlg, Signature, SshSig, public::KeyData};
use std::fmt::Write as _;
use waft_proto::run::Problem;

/// What a signature over a task says that it is for, so that one made for something else never counts.
pub const TASK_NAMESPACE: &str = "waft-task";
/// What a signature over an approval says that it is for.
pub const APPROVAL_NAMESPACE: &str = "waft-approval";

/// Bytes of a module's blake3.
pub const HASH_BYTES: usize = 32;

/// Exactly what is signed for a module, in [`TASK_NAMESPACE`].
pub fn task_message(hash: &[u8; HASH_BYTES]) -> String {
    let mut text = String::from("waft-task-v1\nblake3:");
    for byte in hash {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// The bytes that a private key signs for a message.
pub fn to_be_signed(namespace: &str, message: &[u8], digest: HashAlg) -> Result<Vec<u8>, Problem> {
    SshSig::signed_data(namespace, digest, message).map_err(own)
}

/// The armoured signature, from what a private key made of [`to_be_signed`]. It is verified before it is given out.
pub fn sealed(
    key: KeyData,
    (namespace, message): (&str, &[u8]),
    digest: HashAlg,
    signature: Signature,
) -> Result<String, Problem> {
    key::is_signed(&key, &to_be_signed(namespace, message, digest)?, &signature)?;
    let made = SshSig::new(key, namespace, digest, signature).map_err(own)?;
    made.to_pem(ssh_key::LineEnding::LF).map_err(own)
}

fn own(error: ssh_key::Error) -> Problem {
    Problem::new("signature.encode", format!("the signature cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::task_message;

    #[test]
    fn the_message_is_what_the_words_say() {
        let mut hash = [0; 32];
        hash[0] = 0xAB;
        hash[31] = 1;
        let zeros = "0".repeat(60);
        assert_eq!(task_message(&hash), format!("waft-task-v1\nblake3:ab{zeros}01\n"));
    }
}
