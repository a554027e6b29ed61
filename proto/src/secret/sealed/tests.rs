use super::*;
use alloc::format;
use alloc::string::String;

const PRIVATE: [u8; 32] = [7; 32];
const BOUND: Bound = Bound { run: RunId([1; 16]), node: NodeId(5), order: Hash([2; 32]) };

fn secrets(values: &[(&str, &[u8])]) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, value) in values {
        let text = core::str::from_utf8(value).is_ok();
        let secret = Secret::new(Zeroizing::new(value.to_vec()), text).expect("a value");
        secrets.insert(name, secret).expect("a secret");
    }
    secrets
}

fn sealed(secrets: &Secrets) -> Vec<u8> {
    seal(secrets, &public(&PRIVATE), &Zeroizing::new([9; 32]), &BOUND).expect("sealed")
}

fn opened(sealed: &[u8], private: [u8; 32], bound: &Bound) -> Result<Secrets, String> {
    open(sealed, &Zeroizing::new(private), bound).map_err(|problem| problem.code)
}

fn key_of(hex: &str) -> [u8; 32] {
    core::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
}

/// RFC 7748, section 5.2.
#[test]
fn keys_are_those_of_x25519() {
    let base: [u8; 32] = core::array::from_fn(|at| if at == 0 { 9 } else { 0 });
    let once = key_of("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    assert_eq!(public(&base), once);
    let scalar = key_of("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let u = key_of("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let product = key_of("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    assert_eq!(MontgomeryPoint(u).mul_clamped(scalar).to_bytes(), product);
}

#[test]
fn what_is_sealed_opens_for_its_node_run_and_order_only() {
    let values = secrets(&[("db/password", b"hunter22"), ("key", &[0, 255, 3]), ("token", b"t")]);
    let sealed = sealed(&values);
    assert_eq!(opened(&sealed, PRIVATE, &BOUND), Ok(values));
    let refused = Err("secret.sealed".into());
    assert_eq!(opened(&sealed, [8; 32], &BOUND), refused, "another key");
    assert_eq!(opened(&sealed, PRIVATE, &Bound { run: RunId([3; 16]), ..BOUND }), refused, "another run");
    assert_eq!(opened(&sealed, PRIVATE, &Bound { node: NodeId(6), ..BOUND }), refused, "another node");
    assert_eq!(opened(&sealed, PRIVATE, &Bound { order: Hash([3; 32]), ..BOUND }), refused, "another order");
    assert!(!sealed.windows(8).any(|part| part == b"hunter22" || part == b"password"));
}

#[test]
fn every_bit_counts_and_so_does_every_byte() {
    let sealed = sealed(&secrets(&[("a", b"hunter22")]));
    for bit in 0..sealed.len() * 8 {
        let mut other = sealed.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        // The highest bit of a public key is no part of it; the derived key knows it all the same.
        assert!(opened(&other, PRIVATE, &BOUND).is_err(), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert!(opened(&sealed[..len], PRIVATE, &BOUND).is_err(), "cut to {len}");
    }
    assert!(opened(&[&sealed[..], b"x"].concat(), PRIVATE, &BOUND).is_err(), "one more");
}

#[test]
fn lengths_show_in_steps_only() {
    let length = |value: &[u8]| sealed(&secrets(&[("a", value)])).len();
    assert_eq!(length(b"1"), length(&[b'x'; 40]));
    assert_eq!((length(&[b'x'; 100]) - length(b"1")) % PAD_BYTES, 0);
}

#[test]
fn the_most_that_is_taken_fits() {
    let mut secrets = Secrets::default();
    for at in 0..SECRETS_MAX {
        let name = format!("{at:0>width$}", width = SECRET_NAME_BYTES_MAX);
        let value = Zeroizing::new(alloc::vec![at as u8; SECRETS_BYTES_MAX / SECRETS_MAX]);
        secrets.insert(&name, Secret::new(value, false).expect("bytes")).expect("within the limits");
    }
    let sealed = sealed(&secrets);
    assert!(sealed.len() <= SEALED_BYTES_MAX);
    assert_eq!(opened(&sealed, PRIVATE, &BOUND), Ok(secrets));
    let long = alloc::vec![0; SEALED_BYTES_MAX + 1];
    assert_eq!(opened(&long, PRIVATE, &BOUND), Err("secret.sealed".into()));
}

#[test]
fn a_key_that_makes_the_shared_secret_zero_is_refused() {
    let zero = [0; 32];
    assert!(seal(&secrets(&[("a", b"b")]), &zero, &Zeroizing::new([9; 32]), &BOUND).is_err());
    let mut low = sealed(&secrets(&[("a", b"b")]));
    low[..32].fill(0);
    assert_eq!(opened(&low, PRIVATE, &BOUND), Err("secret.sealed".into()));
}
