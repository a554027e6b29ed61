//! Keys and certificates whose signatures do not count any more: lists of keys and fingerprints, and OpenSSH's binary
//! ones.

use sha1::{Digest, Sha1};
use ssh_key::public::KeyData;
use ssh_key::{Certificate, Fingerprint};
use waft_proto::run::Problem;

use super::key;
use super::krl::{Krl, MAGIC};

/// Bytes of a revocation list that are read.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Problems that are told; a file with more is something else.
const PROBLEMS_MAX: usize = 20;

/// All that is revoked, by any number of lists.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Revocations {
    lists: Vec<Krl>,
}

impl Revocations {
    /// Adds a list: binary (`ssh-keygen -k`), or text with one public key or `SHA256:` fingerprint a line. `name` is that
    /// of the file, for what is wrong with it.
    pub fn add(&mut self, name: &str, file: &[u8]) -> Result<(), Vec<Problem>> {
        let problem = |place: &str, why: String| {
            Problem::new("signature.revoked_file", format!("{name}{place}: {why}"))
                .hint("a list is made by `ssh-keygen -k`, or has a public key or a SHA256: fingerprint on each line")
        };
        if file.len() > FILE_BYTES_MAX {
            return Err(vec![problem("", format!("it has more than {FILE_BYTES_MAX} bytes"))]);
        }
        if file.starts_with(MAGIC) {
            let list = Krl::parse(file).map_err(|why| vec![problem("", why)])?;
            self.lists.push(list);
            return Ok(());
        }
        let mut list = Krl::default();
        let mut problems = Vec::new();
        for (line, bytes) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            let text = bytes.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            // A comment behind a key need not be UTF-8.
            if let Err(why) = add_line(&mut list, &String::from_utf8_lossy(text)) {
                problems.push(problem(&format!(":{line}"), why));
            }
            if problems.len() >= PROBLEMS_MAX {
                break;
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        self.lists.push(list);
        Ok(())
    }

    /// What is said against a key or certificate: that it, its key or its authority is revoked.
    pub fn objection(&self, key: &KeyData) -> Option<Problem> {
        let revoked = |what: &str, key: &KeyData| {
            Some(Problem::new("signature.revoked", format!("{what} {} is revoked", key::fingerprint(key))))
        };
        if self.has_key(key::plain(key)) {
            return revoked("its key", key);
        }
        let KeyData::Certificate(certificate) = key else { return None };
        if self.has_key(certificate.signature_key()) {
            return revoked("the authority of its certificate", certificate.signature_key());
        }
        self.has_certificate(certificate).then(|| {
            let (id, serial) = (certificate.key_id(), certificate.serial());
            Problem::new("signature.revoked", format!("its certificate `{id}`, serial {serial}, is revoked"))
        })
    }

    /// What cannot be encoded cannot be looked up either, and counts as revoked.
    fn has_key(&self, key: &KeyData) -> bool {
        let Some(wire) = key::wire(key) else { return true };
        let sha1: [u8; 20] = Sha1::digest(&wire).into();
        let sha256 = key::fingerprint(key).sha256();
        self.lists.iter().any(|list| {
            list.keys.contains(&wire)
                || list.sha1.contains(&sha1)
                || sha256.is_none_or(|hash| list.sha256.contains(&hash))
        })
    }

    fn has_certificate(&self, certificate: &Certificate) -> bool {
        let Some(authority) = key::wire(certificate.signature_key()) else { return true };
        let (serial, id) = (certificate.serial(), certificate.key_id().as_bytes());
        let mut listed = self.lists.iter().flat_map(|list| &list.certificates);
        listed.any(|certificates| certificates.has(&authority, serial, id))
    }
}

fn add_line(list: &mut Krl, text: &str) -> Result<(), String> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    if let Some((kind, _)) = first.split_once(':') {
        let hash = first.parse::<Fingerprint>().ok().and_then(Fingerprint::sha256);
        let hash = match (kind, hash) {
            ("SHA256", Some(hash)) => hash,
            ("SHA256", None) => {
                return Err(format!("`{first}` is no fingerprint: 43 characters of base64 follow SHA256:"));
            }
            _ => return Err(format!("`{first}` is no SHA256: fingerprint; `ssh-keygen -lf KEY` prints one")),
        };
        list.sha256.insert(hash);
        return Ok(());
    }
    let base64 =
        words.next().ok_or_else(|| format!("`{first}` is neither a public key nor a fingerprint"))?;
    // A certificate stands for its key, as it does for OpenSSH.
    let key = key::read(first, base64)?;
    let wire = key::wire(key::plain(&key)).ok_or("the key cannot be written again")?;
    list.keys.insert(wire);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ed25519, public};

    fn data(seed: u8) -> KeyData {
        KeyData::from(ed25519(seed).public_key())
    }

    fn revocations(files: &[&[u8]]) -> Revocations {
        let mut all = Revocations::default();
        files.iter().for_each(|file| all.add("list", file).expect("a good list"));
        all
    }

    #[test]
    fn keys_and_fingerprints_stand_in_text() {
        let by_key = format!("# lost\n\n {} amy \u{fffd}\r\n", public(&ed25519(1)));
        let by_hash = format!("{} the laptop of dave\n", key::fingerprint(&data(2)));
        let all = revocations(&[by_key.as_bytes(), by_hash.as_bytes(), b""]);
        for seed in [1, 2] {
            let problem = all.objection(&data(seed)).expect("revoked");
            assert_eq!(problem.code, "signature.revoked");
            assert!(problem.message.contains(&key::fingerprint(&data(seed)).to_string()), "{problem}");
        }
        assert_eq!(all.objection(&data(3)), None);
        assert_eq!(Revocations::default().objection(&data(1)), None);
    }

    #[test]
    fn binary_lists_have_keys_and_both_fingerprints() {
        let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
        let wire = |seed: u8| key::wire(&data(seed)).expect("bytes");
        let sha256 = key::fingerprint(&data(3));
        let list = super::super::krl::tests::list(&[
            (2, string(&wire(1))),
            (3, string(&Sha1::digest(wire(2)))),
            (5, string(sha256.as_bytes())),
        ]);
        let all = revocations(&[&list]);
        let revoked: Vec<u8> = (1..=5).filter(|seed| all.objection(&data(*seed)).is_some()).collect();
        assert_eq!(revoked, [1, 2, 3]);
    }

    #[test]
    fn what_is_no_list_is_told_with_its_line_and_adds_nothing() {
        let mut all = Revocations::default();
        let text = format!("{}\nMD5:aa:bb\nSHA256:short\nword\nssh-ed25519 AAAA\n", public(&ed25519(1)));
        let problems = all.add("list", text.as_bytes()).expect_err("bad lines");
        let places: Vec<_> = problems.iter().map(|problem| problem.message.split(": ").next()).collect();
        assert_eq!(places, ["list:2", "list:3", "list:4", "list:5"].map(Some));
        // A binary list that lost its first bytes, or its last.
        let list = super::super::krl::tests::list(&[(2, vec![0, 0, 0, 1, 7])]);
        assert!(all.add("list", &list[3..]).is_err());
        assert!(all.add("list", &list[..list.len() - 1]).is_err());
        assert!(
            all.add("list", &vec![b'#'; FILE_BYTES_MAX + 1]).expect_err("huge")[0]
                .message
                .contains("more than")
        );
        assert_eq!(all, Revocations::default());
    }
}
