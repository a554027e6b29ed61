//! OpenSSH's binary key revocation lists (PROTOCOL.krl). What is not understood is an error, except what the format
//! itself marks as not critical: a revocation that is overlooked is a signature too many.

use std::collections::BTreeSet;

use super::wire::Wire;

pub(crate) const MAGIC: &[u8; 8] = b"SSHKRL\n\0";
const FORMAT_VERSION: u32 = 1;

const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const FINGERPRINT_SHA256: u8 = 5;
const EXTENSION: u8 = 255;

const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;
const CERTIFICATE_EXTENSION: u8 = 0x39;

/// What a list has revoked. Its memory is a small multiple of the list's bytes.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Krl {
    /// SSH wire form.
    pub(crate) keys: BTreeSet<Vec<u8>>,
    pub(crate) sha1: BTreeSet<[u8; 20]>,
    pub(crate) sha256: BTreeSet<[u8; 32]>,
    pub(crate) certificates: Vec<Certificates>,
}

/// Certificates of one authority.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Certificates {
    /// SSH wire form; `None` for those of any.
    authority: Option<Vec<u8>>,
    serials: BTreeSet<u64>,
    /// First and last.
    ranges: Vec<(u64, u64)>,
    /// Serial of the lowest bit, and the bits, the highest byte first.
    bitmaps: Vec<(u64, Vec<u8>)>,
    ids: BTreeSet<Vec<u8>>,
}

impl Krl {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Krl, String> {
        let mut wire = Wire::new(bytes);
        header(&mut wire)?;
        let mut krl = Krl::default();
        while !wire.is_empty() {
            let (kind, body) = section(&mut wire).ok_or("it is cut off")?;
            krl.section(kind, body)?;
        }
        Ok(krl)
    }

    fn section(&mut self, kind: u8, body: &[u8]) -> Result<(), String> {
        let bad = |what: &str| format!("its list of {what} is malformed");
        match kind {
            CERTIFICATES => {
                self.certificates.push(Certificates::parse(body)?);
                Ok(())
            }
            EXPLICIT_KEY => strings(body, |key| {
                self.keys.insert(key.to_vec());
                !key.is_empty()
            })
            .ok_or_else(|| bad("keys")),
            FINGERPRINT_SHA1 => {
                strings(body, |hash| hash.try_into().map(|hash| self.sha1.insert(hash)).is_ok())
                    .ok_or_else(|| bad("SHA1 fingerprints"))
            }
            FINGERPRINT_SHA256 => {
                strings(body, |hash| hash.try_into().map(|hash| self.sha256.insert(hash)).is_ok())
                    .ok_or_else(|| bad("SHA256 fingerprints"))
            }
            SIGNATURE => Err("it is signed, and signatures of revocation lists are not verified here; \
                              give a list without"
                .to_owned()),
            EXTENSION => extension(body),
            other => Err(format!("it has a section of the unknown type {other}")),
        }
    }
}

/// Magic, versions, date, flags and comment. Flags are not defined, so that readers pass over them.
fn header(wire: &mut Wire<'_>) -> Result<(), String> {
    let cut_off = || "it is cut off".to_owned();
    if wire.take(MAGIC.len()).ok_or_else(cut_off)? != MAGIC {
        return Err("it does not begin as a revocation list".to_owned());
    }
    match wire.u32().ok_or_else(cut_off)? {
        FORMAT_VERSION => {}
        other => return Err(format!("it is of version {other} of the format; {FORMAT_VERSION} is known")),
    }
    let (_version, _date, _flags) =
        (wire.u64().ok_or_else(cut_off)?, wire.u64().ok_or_else(cut_off)?, wire.u64().ok_or_else(cut_off)?);
    let (_reserved, _comment) = (wire.string().ok_or_else(cut_off)?, wire.string().ok_or_else(cut_off)?);
    Ok(())
}

fn section<'a>(wire: &mut Wire<'a>) -> Option<(u8, &'a [u8])> {
    Some((wire.u8()?, wire.string()?))
}

/// Gives each string to `take`, which says whether it is good.
fn strings(body: &[u8], mut take: impl FnMut(&[u8]) -> bool) -> Option<()> {
    let mut wire = Wire::new(body);
    while !wire.is_empty() {
        take(wire.string()?).then_some(())?;
    }
    Some(())
}

fn extension(body: &[u8]) -> Result<(), String> {
    let mut wire = Wire::new(body);
    let mut parts = || Some((wire.string()?, wire.u8()?, wire.string()?));
    match parts() {
        None => Err("an extension is malformed".to_owned()),
        // By its own word it can be passed over.
        Some((_, 0, _)) => Ok(()),
        Some((name, ..)) => {
            Err(format!("it has the critical extension {}, which is unknown", String::from_utf8_lossy(name)))
        }
    }
}

impl Certificates {
    fn parse(body: &[u8]) -> Result<Certificates, String> {
        let bad = |what: &str| format!("its certificates are malformed: {what}");
        let mut wire = Wire::new(body);
        let mut head = || Some((wire.string()?, wire.string()?));
        let (authority, _reserved) = head().ok_or_else(|| bad("the authority is cut off"))?;
        let authority = (!authority.is_empty()).then(|| authority.to_vec());
        let mut found = Certificates { authority, ..Certificates::default() };
        while !wire.is_empty() {
            let (kind, body) = section(&mut wire).ok_or_else(|| bad("a section is cut off"))?;
            match kind {
                SERIAL_LIST => found.list(body).ok_or_else(|| bad("serials"))?,
                SERIAL_RANGE => found.range(body).ok_or_else(|| bad("a range of serials"))?,
                SERIAL_BITMAP => found.bitmap(body).ok_or_else(|| bad("a bitmap of serials"))?,
                KEY_ID => strings(body, |id| {
                    found.ids.insert(id.to_vec());
                    true
                })
                .ok_or_else(|| bad("key ids"))?,
                CERTIFICATE_EXTENSION => extension(body)?,
                other => return Err(bad(&format!("a section of the unknown type {other}"))),
            }
        }
        Ok(found)
    }

    fn list(&mut self, body: &[u8]) -> Option<()> {
        let mut wire = Wire::new(body);
        while !wire.is_empty() {
            self.serials.insert(wire.u64()?);
        }
        Some(())
    }

    fn range(&mut self, body: &[u8]) -> Option<()> {
        let mut wire = Wire::new(body);
        let (first, last) = (wire.u64()?, wire.u64()?);
        self.ranges.push((first, last));
        (wire.is_empty() && first <= last).then_some(())
    }

    fn bitmap(&mut self, body: &[u8]) -> Option<()> {
        let mut wire = Wire::new(body);
        let (lowest, bits) = (wire.u64()?, wire.string()?);
        // A number, and none below zero; its bits are serials, of which there are 2^64.
        let is_positive = bits.first().is_none_or(|byte| *byte < 0x80);
        let highest = u64::try_from(bits.len()).ok()?.checked_mul(8)?;
        lowest.checked_add(highest)?;
        self.bitmaps.push((lowest, bits.to_vec()));
        (wire.is_empty() && is_positive).then_some(())
    }

    /// Whether a certificate of that authority is meant. The serial 0 says that there is none.
    pub(crate) fn has(&self, authority: &[u8], serial: u64, id: &[u8]) -> bool {
        let is_ours = self.authority.as_ref().is_none_or(|ours| ours == authority);
        let has_serial = || {
            self.serials.contains(&serial)
                || self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&serial))
                || self.bitmaps.iter().any(|(lowest, bits)| is_set(*lowest, bits, serial))
        };
        is_ours && (self.ids.contains(id) || (serial != 0 && has_serial()))
    }
}

fn is_set(lowest: u64, bits: &[u8], serial: u64) -> bool {
    let Some(at) = serial.checked_sub(lowest) else { return false };
    let byte = usize::try_from(at / 8).ok().and_then(|from_end| bits.iter().rev().nth(from_end));
    byte.is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
    }

    pub(crate) fn list(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut whole = [&MAGIC[..], &[0, 0, 0, 1], &[0; 24], &string(b""), &string(b"of a test")].concat();
        for (kind, body) in sections {
            whole.push(*kind);
            whole.extend(string(body));
        }
        whole
    }

    /// A `certificates` section with sections of its own.
    pub(crate) fn certificates(authority: &[u8], sections: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
        let mut body = [string(authority), string(b"")].concat();
        for (kind, section) in sections {
            body.push(*kind);
            body.extend(string(section));
        }
        (CERTIFICATES, body)
    }

    fn serials(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn keys_and_fingerprints_are_read() {
        let sections = [
            (EXPLICIT_KEY, [string(b"one"), string(b"two")].concat()),
            (FINGERPRINT_SHA1, string(&[1; 20])),
            (FINGERPRINT_SHA256, string(&[2; 32])),
            (EXTENSION, [string(b"new@example.com"), vec![0], string(b"?")].concat()),
        ];
        let krl = Krl::parse(&list(&sections)).expect("a list");
        assert!(krl.keys.contains(&b"one"[..]) && krl.keys.contains(&b"two"[..]) && krl.keys.len() == 2);
        assert!(krl.sha1.contains(&[1; 20]) && krl.sha256.contains(&[2; 32]));
        assert_eq!(Krl::parse(&list(&[])), Ok(Krl::default()));
    }

    #[test]
    fn certificates_are_meant_by_serial_or_id_of_their_authority() {
        let sections = [
            (SERIAL_LIST, serials(&[5, u64::MAX])),
            (SERIAL_RANGE, serials(&[10, 20])),
            (SERIAL_BITMAP, [serials(&[100]), string(&[0x01, 0b1000_0001])].concat()),
            (KEY_ID, string(b"lost laptop")),
            (CERTIFICATE_EXTENSION, [string(b"new@example.com"), vec![0], string(b"")].concat()),
        ];
        let krl = Krl::parse(&list(&[certificates(b"ca", &sections)])).expect("a list");
        let has = |serial: u64, id: &[u8]| krl.certificates[0].has(b"ca", serial, id);
        let revoked = [5, u64::MAX, 10, 15, 20, 100, 107, 108];
        assert!(revoked.iter().all(|serial| has(*serial, b"x")));
        let good = [1, 4, 6, 9, 21, 99, 101, 106, 109, 116, u64::MAX - 1];
        assert!(good.iter().all(|serial| !has(*serial, b"x")));
        assert!(has(1, b"lost laptop") && has(0, b"lost laptop"));
        assert!(!krl.certificates[0].has(b"other", 5, b"lost laptop"));
        // No authority means any; no serial means no serial.
        let krl =
            Krl::parse(&list(&[certificates(b"", &[(SERIAL_RANGE, serials(&[0, 9]))])])).expect("a list");
        assert!(krl.certificates[0].has(b"other", 5, b"") && !krl.certificates[0].has(b"other", 0, b""));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let critical = [string(b"new@example.com"), vec![1], string(b"")].concat();
        let within = |kind: u8, body: Vec<u8>| list(&[certificates(b"", &[(kind, body)])]);
        let cases = [
            (b"SSHKRL\n\0\0\0\0\x02".to_vec(), "of version 2"),
            (b"SSHKRL\n\x01".to_vec(), "does not begin"),
            (list(&[])[..20].to_vec(), "cut off"),
            (list(&[(SIGNATURE, string(b"ca"))]), "it is signed"),
            (list(&[(9, Vec::new())]), "unknown type 9"),
            (list(&[(EXTENSION, critical.clone())]), "critical extension new@example.com"),
            (list(&[(EXTENSION, string(b"x"))]), "malformed"),
            (list(&[(EXPLICIT_KEY, string(b""))]), "list of keys is malformed"),
            (list(&[(EXPLICIT_KEY, vec![0, 0, 0, 9, 1])]), "list of keys is malformed"),
            (list(&[(FINGERPRINT_SHA1, string(&[1; 32]))]), "SHA1"),
            (list(&[(FINGERPRINT_SHA256, string(&[1; 20]))]), "SHA256"),
            (list(&[(CERTIFICATES, vec![0, 0])]), "the authority is cut off"),
            (within(SERIAL_LIST, vec![0; 9]), "serials"),
            (within(SERIAL_RANGE, serials(&[2, 1])), "range"),
            (within(SERIAL_RANGE, serials(&[1, 2, 3])), "range"),
            (within(SERIAL_BITMAP, [serials(&[1]), string(&[0x80])].concat()), "bitmap"),
            (within(SERIAL_BITMAP, [serials(&[u64::MAX]), string(&[1])].concat()), "bitmap"),
            (within(0x24, Vec::new()), "unknown type 36"),
            (within(CERTIFICATE_EXTENSION, critical), "critical extension"),
        ];
        for (bytes, why) in cases {
            let said = Krl::parse(&bytes).expect_err(why);
            assert!(said.contains(why), "{said} does not say {why}");
        }
    }

    #[test]
    fn no_damage_makes_it_panic_or_take_more_than_it_has() {
        let sections = [
            (EXPLICIT_KEY, string(b"one")),
            certificates(
                b"ca",
                &[(SERIAL_RANGE, serials(&[1, 9])), (SERIAL_BITMAP, [serials(&[1]), string(&[1])].concat())],
            ),
        ];
        let whole = list(&sections);
        let mut read = 0;
        for at in 0..whole.len() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let Ok(krl) = Krl::parse(&damaged) else { continue };
                read += 1;
                let bytes: usize = krl.keys.iter().map(Vec::len).sum();
                let bits: usize =
                    krl.certificates.iter().flat_map(|of| &of.bitmaps).map(|(_, bits)| bits.len()).sum();
                assert!(bytes + bits <= whole.len());
                assert!(krl.certificates.iter().all(|of| !of.has(b"another", u64::MAX, b"")), "byte {at}");
            }
        }
        assert!(read > 0);
    }

    #[test]
    fn every_beginning_of_a_list_is_an_error_or_a_smaller_list() {
        let sections = [
            (FINGERPRINT_SHA256, string(&[2; 32])),
            certificates(b"ca", &[(SERIAL_BITMAP, [serials(&[1]), string(&[1, 2])].concat())]),
        ];
        let whole = list(&sections);
        let ends = [list(&[]).len(), list(&sections[..1]).len(), whole.len()];
        for length in 0..=whole.len() {
            assert_eq!(Krl::parse(&whole[..length]).is_ok(), ends.contains(&length), "{length}");
        }
    }
}
