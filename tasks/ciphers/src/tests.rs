use super::*;
use rustls::crypto::cipher::OutboundChunks;

const KEY: [u8; 32] = [7; 32];
const IV: [u8; NONCE_LEN] = [9; NONCE_LEN];

/// Both directions, with the same key. AES-128 is shown by real servers: a key of that length is only made by rustls.
fn pairs() -> Vec<(&'static str, Records, Records)> {
    let mut pairs = Vec::new();
    for (name, algorithm) in [("AES-256", Algorithm::Aes256), ("ChaCha20", Algorithm::ChaCha20)] {
        let key = AeadKey::from(KEY);
        for form in [Form::Tls13, Form::Tls12 { explicit: algorithm != Algorithm::ChaCha20 }] {
            let make = || Records { cipher: algorithm.cipher(&key), iv: Iv::from(IV), form };
            pairs.push((name, make(), make()));
        }
    }
    pairs
}

fn sealed(records: &mut Records, plain: &[u8], number: u64) -> OutboundOpaqueMessage {
    let payload = OutboundChunks::Single(plain);
    let message = OutboundPlainMessage {
        typ: ContentType::ApplicationData,
        version: ProtocolVersion::TLSv1_2,
        payload,
    };
    records.encrypt(message, number).unwrap()
}

fn opened(records: &mut Records, sealed: &[u8], number: u64) -> Option<Vec<u8>> {
    let mut bytes = sealed.to_vec();
    let message =
        InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, &mut bytes);
    records.decrypt(message, number).ok().map(|plain| plain.payload.to_vec())
}

#[test]
fn a_record_is_what_was_said_and_no_other() {
    for (name, mut one, mut two) in pairs() {
        for plain in [&b""[..], b"x", &[3; PLAIN_BYTES_MAX]] {
            let sealed = sealed(&mut one, plain, 5);
            let sealed = sealed.payload.as_ref();
            assert_eq!(sealed.len(), one.encrypted_payload_len(plain.len()), "{name}");
            assert_eq!(opened(&mut two, sealed, 5).as_deref(), Some(plain), "{name}");
            // Another place in the order.
            assert_eq!(opened(&mut two, sealed, 6), None, "{name}");
        }
        let sealed = sealed(&mut one, b"some text", 0);
        let sealed = sealed.payload.as_ref();
        for at in 0..sealed.len() {
            let mut other = sealed.to_vec();
            other[at] ^= 1;
            assert_eq!(opened(&mut two, &other, 0), None, "{name} {at}");
            assert_eq!(opened(&mut two, &sealed[..at], 0), None, "{name} {at}");
        }
    }
}

#[test]
fn a_key_of_another_length_encrypts_nothing() {
    let key = AeadKey::from(KEY);
    let mut records = Records { cipher: Algorithm::Aes128.cipher(&key), iv: Iv::from(IV), form: Form::Tls13 };
    let message = OutboundPlainMessage {
        typ: ContentType::ApplicationData,
        version: ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(b"x"),
    };
    assert!(records.encrypt(message, 0).is_err());
    assert_eq!(opened(&mut records, &[0; 40], 0), None);
}

#[test]
fn no_two_records_have_the_same_nonce() {
    // Of AES-GCM in TLS 1.2 it is seen: the part of it in front.
    let mut records = Records {
        cipher: Algorithm::Aes256.cipher(&AeadKey::from(KEY)),
        iv: Iv::from(IV),
        form: Form::Tls12 { explicit: true },
    };
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for number in [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX] {
        let sealed = sealed(&mut records, b"x", number);
        let front = sealed.payload.as_ref()[..EXPLICIT_BYTES].to_vec();
        assert!(!seen.contains(&front), "{number}");
        seen.push(front);
    }
}
