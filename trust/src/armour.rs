//! A signature file: `-----BEGIN SSH SIGNATURE-----` blocks, one after the other.

use ssh_key::SshSig;
use ssh_key::encoding::Decode;
use waft_proto::run::Problem;

use super::key;

const BEGIN: &[u8] = b"-----BEGIN SSH SIGNATURE-----";
const END: &[u8] = b"-----END SSH SIGNATURE-----";

/// Bytes of a signature file that are read.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Signatures of one file: each costs a verification.
pub const SIGNATURES_MAX: usize = 64;
/// Bytes of one signature, its key or certificate included.
const SIGNATURE_BYTES_MAX: usize = 2 * key::KEY_BYTES_MAX;
const BASE64_BYTES_MAX: usize = SIGNATURE_BYTES_MAX.div_ceil(3) * 4;

/// One block of a file, or something else that stands there.
#[derive(Clone, Debug)]
pub struct Block {
    /// Line at which it begins, counted from 1.
    pub line: usize,
    /// The block as it can be written again; empty when it is none.
    pub text: String,
    pub signature: Result<SshSig, Problem>,
}

impl Block {
    /// The signature without armour, as it travels with an order.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let lines = self.text.lines().filter(|line| !line.starts_with('-'));
        let base64: String = lines.collect();
        self.signature.is_ok().then(|| data_encoding::BASE64.decode(base64.as_bytes()).ok())?
    }
}

/// All blocks, those included that are none.
pub fn parse(file: &[u8]) -> Vec<Block> {
    let mut reader = Reader::default();
    if file.len() > FILE_BYTES_MAX {
        reader.not_one(1, &format!("the file has more than {FILE_BYTES_MAX} bytes"));
        return reader.blocks;
    }
    for (line, text) in (1..).zip(file.split(|byte| *byte == b'\n')) {
        let text = text.trim_ascii();
        if reader.blocks.len() >= SIGNATURES_MAX && !text.is_empty() {
            reader.not_one(line, &format!("more than {SIGNATURES_MAX} signatures are not read"));
            return reader.blocks;
        }
        reader.line(line, text);
    }
    reader.cut_off();
    reader.blocks
}

#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    /// First line and base64 of the block that is being read.
    open: Option<(usize, Vec<u8>)>,
    /// Lines that belong to nothing are told once, not each.
    is_astray: bool,
}

impl Reader {
    fn line(&mut self, line: usize, text: &[u8]) {
        if text == BEGIN {
            self.cut_off();
            self.is_astray = false;
            self.open = Some((line, Vec::new()));
        } else if text == END
            && let Some((first, base64)) = self.open.take()
        {
            let signature = decode_base64(&base64).map_err(|why| malformed(first, &why));
            self.blocks.push(Block { line: first, text: written(&base64), signature });
        } else if let Some((_, base64)) = &mut self.open {
            // One byte too many is enough to be told as too long.
            let room = (BASE64_BYTES_MAX + 1).saturating_sub(base64.len());
            base64.extend(text.iter().take(room));
        } else if !text.is_empty() && !self.is_astray {
            self.is_astray = true;
            self.not_one(line, "there is text outside of signatures");
        }
    }

    /// What was begun has no end.
    fn cut_off(&mut self) {
        if let Some((line, _)) = self.open.take() {
            self.not_one(line, "it is cut off: its END line is missing");
        }
    }

    fn not_one(&mut self, line: usize, why: &str) {
        self.blocks.push(Block { line, text: String::new(), signature: Err(malformed(line, why)) });
    }
}

fn malformed(line: usize, why: &str) -> Problem {
    Problem::new("signature.malformed", format!("line {line}: {why}"))
}

fn decode_base64(base64: &[u8]) -> Result<SshSig, String> {
    if base64.len() > BASE64_BYTES_MAX {
        return Err(too_long());
    }
    let bytes = data_encoding::BASE64.decode(base64).map_err(|error| format!("it is no base64: {error}"))?;
    decode(&bytes)
}

fn too_long() -> String {
    format!("it has more than {SIGNATURE_BYTES_MAX} bytes")
}

/// A signature without armour.
pub fn decode(bytes: &[u8]) -> Result<SshSig, String> {
    if bytes.len() > SIGNATURE_BYTES_MAX {
        return Err(too_long());
    }
    if key::is_deep(bytes) {
        return Err("it has certificates within certificates".to_owned());
    }
    let mut rest = bytes;
    let signature = SshSig::decode(&mut rest).map_err(|error| format!("it is no SSH signature: {error}"))?;
    if signature.version() != SshSig::VERSION {
        return Err(format!(
            "it is of version {} of the format; {} is known",
            signature.version(),
            SshSig::VERSION
        ));
    }
    match rest.is_empty() {
        true => Ok(signature),
        false => Err(format!("{} bytes stand behind its end", rest.len())),
    }
}

fn written(base64: &[u8]) -> String {
    const COLUMNS: usize = 70;
    let lines = base64.chunks(COLUMNS).map(String::from_utf8_lossy);
    let marks = [BEGIN, END].map(String::from_utf8_lossy);
    let [begin, end] = marks;
    std::iter::once(begin).chain(lines).chain([end]).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HASH, ed25519, seal};
    use ssh_key::public::KeyData;

    fn whys(file: &[u8]) -> Vec<String> {
        let why = |block: &Block| block.signature.as_ref().err().map(|problem| problem.message.clone());
        parse(file).iter().filter_map(why).collect()
    }

    #[test]
    fn several_signatures_stand_in_one_file() {
        let (first, second) = (seal(&ed25519(1), &HASH), seal(&ed25519(2), &HASH));
        let blocks = parse(format!("{first}\r\n\n  {second}").as_bytes());
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].line, 1);
        assert_eq!(blocks[1].line, first.lines().count() + 3);
        // They are written as they were read, and as ssh-key writes them.
        assert_eq!([&blocks[0].text, &blocks[1].text], [&first, &second]);
        let signature = blocks[1].signature.as_ref().expect("a signature");
        assert_eq!(signature.public_key(), &KeyData::from(ed25519(2).public_key()));
    }

    #[test]
    fn what_is_no_signature_is_told_with_its_line_and_hides_no_other() {
        let good = seal(&ed25519(1), &HASH);
        let cut = good.lines().take(3).collect::<Vec<_>>().join("\n");
        let file = format!("hello\nthere\n{good}{cut}\n{good}");
        assert_eq!(
            whys(file.as_bytes()),
            [
                "line 1: there is text outside of signatures".to_owned(),
                format!("line {}: it is cut off: its END line is missing", good.lines().count() + 3),
            ]
        );
        assert_eq!(parse(file.as_bytes()).iter().filter(|block| block.signature.is_ok()).count(), 2);
        assert_eq!(whys(cut.as_bytes()), ["line 1: it is cut off: its END line is missing"]);
        let (begin, end) = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----");
        assert!(whys(format!("{begin}\n????\n{end}\n").as_bytes())[0].contains("no base64"));
        assert!(whys(format!("{begin}\n{end}\n").as_bytes())[0].contains("no SSH signature"));
        assert!(whys(format!("{end}\n").as_bytes())[0].contains("text outside"));
        assert!(whys(b"\xff\xfe\n")[0].contains("text outside"));
        assert!(parse(b"").is_empty() && parse(b"\n\r\n  \n").is_empty());
    }

    fn armoured(bytes: &[u8]) -> String {
        written(data_encoding::BASE64.encode(bytes).as_bytes())
    }

    fn bytes_of(text: &str) -> Vec<u8> {
        let lines: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        data_encoding::BASE64.decode(lines.as_bytes()).expect("base64")
    }

    #[test]
    fn versions_and_trailing_bytes_are_refused() {
        let good = bytes_of(&seal(&ed25519(1), &HASH));
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(whys(armoured(&longer).as_bytes()), ["line 1: 1 bytes stand behind its end"]);
        for version in [0, 2] {
            let mut other = good.clone();
            other[9] = version;
            let whys = whys(armoured(&other).as_bytes());
            assert!(whys[0].contains("version"), "{whys:?}");
        }
        assert!(whys(armoured(&good).as_bytes()).is_empty());
    }

    #[test]
    fn sizes_are_limited() {
        let begin = "-----BEGIN SSH SIGNATURE-----\n";
        let long = format!("{begin}{}\n-----END SSH SIGNATURE-----\n", "A".repeat(BASE64_BYTES_MAX + 4));
        assert!(whys(long.as_bytes())[0].contains("more than 32768 bytes"));
        assert!(whys(&vec![b'A'; FILE_BYTES_MAX + 1])[0].contains("the file has more than"));
        let many = begin.repeat(SIGNATURES_MAX * 3);
        let blocks = parse(many.as_bytes());
        assert_eq!(blocks.len(), SIGNATURES_MAX + 1);
        let good = seal(&ed25519(1), &HASH).repeat(SIGNATURES_MAX + 1);
        let blocks = parse(good.as_bytes());
        assert_eq!(blocks.len(), SIGNATURES_MAX + 1);
        assert!(blocks.last().is_some_and(|block| block.signature.is_err()));
    }

    #[test]
    fn certificates_within_certificates_do_not_take_the_stack() {
        // Each says that its authority is the next; a decoder that trusts them calls itself for each.
        let mut nested: Vec<u8> = Vec::new();
        let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
        while nested.len() < SIGNATURE_BYTES_MAX - 400 {
            let head = [
                string(b"ssh-ed25519-cert-v01@openssh.com"),
                string(b""),
                string(&[0; 32]),
                vec![0; 8],
                vec![0, 0, 0, 1],
                string(b""),
                string(b""),
                vec![0; 16],
                string(b""),
                string(b""),
                string(b""),
            ];
            nested = [head.concat(), string(&nested)].concat();
        }
        let whole = [b"SSHSIG\0\0\0\x01".to_vec(), string(&nested)].concat();
        assert_eq!(whys(armoured(&whole).as_bytes()), ["line 1: it has certificates within certificates"]);
    }
}
