use super::*;

use rustls::crypto::hmac::Hmac as _;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn hmac_is_that_of_rfc_4231() {
    // Its test cases 2 (a short key) and 6 (one that is longer than a block).
    let short = hash::Sha256Hmac.with_key(b"Jefe").sign(&[b"what do ya want ", b"for nothing?"]);
    assert_eq!(hex(short.as_ref()), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    let long: &[u8] = b"Test Using Larger Than Block-Size Key - Hash Key First";
    let tag = hash::Sha256Hmac.with_key(&[0xaa; 131]).sign(&[long]);
    assert_eq!(hex(tag.as_ref()), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    let tag = hash::Sha384Hmac.with_key(&[0xaa; 131]).sign(&[long]);
    assert_eq!(
        hex(tag.as_ref()),
        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"
    );
}

#[test]
fn both_sides_agree_on_a_key_and_odd_ones_are_refused() {
    for group in kx::ALL {
        let (one, two) = (group.start().unwrap(), group.start().unwrap());
        let (of_one, of_two) = (one.pub_key().to_vec(), two.pub_key().to_vec());
        assert_ne!(of_one, of_two);
        let (one, two) = (one.complete(&of_two).unwrap(), two.complete(&of_one).unwrap());
        assert_eq!(one.secret_bytes(), two.secret_bytes(), "{:?}", group.name());
        // Too short, a point that is not on the curve, and the one that makes each secret the same.
        let mut off = of_one.clone();
        off[of_one.len() - 1] ^= 1;
        for odd in [&of_one[1..], &[], &vec![0; of_one.len()]] {
            assert!(group.start().unwrap().complete(odd).is_err(), "{:?} {odd:?}", group.name());
        }
        let is_x25519 = group.name() == rustls::NamedGroup::X25519;
        assert_eq!(group.start().unwrap().complete(&off).is_ok(), is_x25519, "{:?}", group.name());
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    use rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
    for bytes in [vec![], vec![0; 40], vec![0x30, 0x80], vec![0x30, 0x03, 2, 1, 1]] {
        assert!(Keys.load_private_key(PrivatePkcs1KeyDer::from(bytes.clone()).into()).is_err());
        assert!(Keys.load_private_key(PrivatePkcs8KeyDer::from(bytes.clone()).into()).is_err());
        assert!(Keys.load_private_key(PrivateSec1KeyDer::from(bytes).into()).is_err());
    }
}

#[test]
fn signatures_that_are_none_are_refused() {
    for algorithm in verify::ALGORITHMS.all {
        for bytes in [vec![], vec![0; 64], vec![4; 65], vec![0x30; 256]] {
            assert!(algorithm.verify_signature(&bytes, b"message", &bytes).is_err(), "{algorithm:?}");
        }
    }
}

#[test]
fn a_key_has_the_public_key_of_its_certificate() {
    use p256::pkcs8::EncodePrivateKey;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    let curve = |secret: p256::SecretKey| secret.to_pkcs8_der().unwrap().as_bytes().to_vec();
    let one = curve(p256::SecretKey::from_slice(&[1; 32]).unwrap());
    let two = curve(p256::SecretKey::from_slice(&[2; 32]).unwrap());
    let three = p384::SecretKey::from_slice(&[1; 48]).unwrap().to_pkcs8_der().unwrap().as_bytes().to_vec();
    let four = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).to_pkcs8_der().unwrap().as_bytes().to_vec();
    let all = [one, two, three, four];
    let load = |der: &[u8]| Keys.load_private_key(PrivatePkcs8KeyDer::from(der.to_vec()).into()).unwrap();
    for (at, one) in all.iter().enumerate() {
        for (other_at, other) in all.iter().enumerate() {
            let (one, other) = (load(one), load(other));
            let is_same = crate::spki::is_same(&one.public_key().unwrap(), &other.public_key().unwrap());
            assert_eq!(is_same, at == other_at, "{at} {other_at}");
        }
    }
}
