use super::*;
use alloc::vec;

fn secret(bytes: &[u8]) -> Secret {
    Secret::new(Zeroizing::new(bytes.to_vec()), false).expect("bytes")
}

fn code(name: &str, secrets: &mut Secrets, bytes: &[u8]) -> String {
    secrets.insert(name, secret(bytes)).map_or_else(|problem| problem.code, |()| "good".into())
}

#[test]
fn a_run_takes_a_bounded_number_of_bounded_secrets() {
    let mut secrets = Secrets::default();
    assert_eq!(code("a", &mut secrets, b"x"), "good");
    assert_eq!(code("a", &mut secrets, &[7; SECRET_BYTES_MAX]), "good");
    assert_eq!(code("a", &mut secrets, &[7; SECRET_BYTES_MAX + 1]), "secret.size");
    assert_eq!(code("a", &mut secrets, b""), "secret.size");
    for name in ["", "-a", "a b", "a\n", "ä"] {
        assert_eq!(code(name, &mut secrets, b"value"), "secret.name", "{name}");
    }
    assert_eq!(code(&"n".repeat(SECRET_NAME_BYTES_MAX), &mut secrets, b"value"), "good");
    assert_eq!(code(&"n".repeat(SECRET_NAME_BYTES_MAX + 1), &mut secrets, b"value"), "secret.name");
    for name in ["b", "c"] {
        assert_eq!(code(name, &mut secrets, &[7; SECRET_BYTES_MAX]), "good");
    }
    assert_eq!(code("d", &mut secrets, &[7; SECRET_BYTES_MAX]), "secret.size", "too much in all");
    // One of them again is not one more.
    assert_eq!(code("c", &mut secrets, &[8; SECRET_BYTES_MAX]), "good");
    let mut many = Secrets::default();
    for at in 0..SECRETS_MAX {
        assert_eq!(code(&format!("s{at}"), &mut many, b"value"), "good");
    }
    assert_eq!(code("more", &mut many, b"value"), "secret.size");
}

#[test]
fn only_names_are_printed() {
    let mut secrets = Secrets::default();
    secrets.insert("db/password", secret(b"hunter22")).expect("a secret");
    assert_eq!(format!("{secrets:?}"), r#"{"db/password"}"#);
    assert_eq!(format!("{:?}", secrets.get("db/password")), "Some(secret)");
    assert!(secrets.only(|name| name == "other").is_empty());
}

#[test]
fn text_is_utf_8_and_bytes_are_handed_out_as_bytes() {
    assert!(Secret::new(Zeroizing::new(vec![0xff]), true).is_none());
    assert_eq!(secret(b"abc").text(), None);
    let text = Secret::new(Zeroizing::new(b"abc".to_vec()), true).expect("text");
    assert_eq!((text.text(), text.bytes()), (Some("abc"), &b"abc"[..]));
}
