//! The bytes of version 1, which never change. `v1.txt` says what each entry means; the second reader
//! (tests/reader) checks that part.

mod samples;

use samples::{KINDS, Sample, kind_of, samples};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use waft_proto::envelope::Envelope;
use waft_proto::frame::{Decoder, encode};
use waft_proto::msg::Msg;

const GOLDEN: &str = include_str!("v1.txt");

fn bytes_of(sample: &Sample) -> Vec<u8> {
    match sample {
        Sample::Msg(msg) => msg.encode(),
        // Sealing encodes; the signature is of no interest here.
        Sample::Envelope(envelope) => {
            let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
            envelope.seal(&key).expect("an envelope of ordinary size").0
        }
        Sample::Frame(lane, messages) => {
            let mut out = Vec::new();
            encode(*lane, &messages.iter().flat_map(Msg::encode).collect::<Vec<u8>>(), &mut out)
                .expect("a frame");
            out
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("two digits"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect()
}

/// Name and bytes of each entry.
fn golden() -> Vec<(&'static str, Vec<u8>)> {
    let mut lines = GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut entries = Vec::new();
    while let Some(name) = lines.next() {
        let bytes = lines.next().and_then(|line| line.strip_prefix("  hex ")).expect("a line of hex");
        lines.next().and_then(|line| line.strip_prefix("  means ")).expect("a line of meaning");
        entries.push((name, unhex(bytes)));
    }
    entries
}

#[test]
fn encoding_gives_the_golden_bytes() {
    let now: Vec<(String, String)> =
        samples().iter().map(|(name, sample)| (name.clone(), hex(&bytes_of(sample)))).collect();
    let then: Vec<(String, String)> =
        golden().into_iter().map(|(name, bytes)| (name.to_owned(), hex(&bytes))).collect();
    for (now, then) in now.iter().zip(&then) {
        assert_eq!(now, then);
    }
    assert_eq!(now.len(), then.len(), "each sample has an entry");
}

#[test]
fn decoding_the_golden_bytes_gives_the_messages() {
    for ((name, bytes), (_, sample)) in golden().into_iter().zip(samples()) {
        match sample {
            Sample::Msg(msg) => assert_eq!(Msg::decode_all(&bytes), Ok(vec![(msg, bytes.len())]), "{name}"),
            Sample::Envelope(envelope) => assert_eq!(Envelope::decode(&bytes), Ok(*envelope), "{name}"),
            Sample::Frame(lane, messages) => {
                let mut rest = bytes.as_slice();
                let frame = Decoder::default().next(&mut rest).expect("a frame").expect("a whole one");
                assert_eq!((frame.lane, rest.len()), (lane, 0), "{name}");
                let decoded = Msg::decode_all(&frame.body).expect("messages");
                assert_eq!(decoded.into_iter().map(|(msg, _)| msg).collect::<Vec<_>>(), messages, "{name}");
            }
        }
    }
}

#[test]
fn every_message_is_among_them() {
    let seen: BTreeSet<&str> = samples()
        .iter()
        .filter_map(|(_, sample)| match sample {
            Sample::Msg(msg) => Some(kind_of(msg)),
            _ => None,
        })
        .collect();
    assert_eq!(seen, BTreeSet::from(KINDS));
}

#[test]
fn the_file_asks_not_to_be_changed() {
    assert!(GOLDEN.starts_with("# Do not change this file"));
}

#[test]
fn cut_short_or_with_a_wrong_variant_nothing_decodes() {
    for (name, bytes) in golden().into_iter().filter(|(name, _)| !name.starts_with("frame")) {
        for length in 1..bytes.len() {
            let whole = match name {
                "envelope" => Envelope::decode(&bytes[..length]).is_ok(),
                _ => Msg::decode_all(&bytes[..length]).is_ok(),
            };
            assert!(!whole, "{name} decodes from {length} of {} bytes", bytes.len());
        }
    }
    assert!(Msg::decode_all(&[15]).is_err());
    assert!(Msg::decode_all(&[255, 255, 255, 255, 15]).is_err());
}
