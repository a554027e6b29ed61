//! What went wrong with TLS: with whom, what was expected, and what to do.

use crate::provider::{RSA_BITS_MIN, RSA_BITS_MIN_OF_ANYBODY};
use crate::trust::BadHandshake;
use rustls::{AlertDescription as Alert, CertificateError, Error as Tls, OtherError};
use std::io;
use waft_sdk::Error;

const DAY_SECONDS: u64 = 86_400;
/// Names of a certificate that are shown; a server may have as many as it likes.
const NAMES_MAX: usize = 10;
/// Of a name that is shown, characters: as many as one of DNS may have.
const NAME_CHARS_MAX: usize = 253;

/// Whom this is about, and what the task was told.
pub struct About<'a> {
    /// HOST:PORT.
    pub who: &'a str,
    /// The file of authorities; none when everybody is believed.
    pub authorities: Option<&'a str>,
    /// Whether there is a certificate of this side.
    pub has_client_cert: bool,
}

/// Of a connection, at whatever point of it. What the host said stays as it is.
pub fn of_io(about: &About<'_>, why: io::Error) -> io::Error {
    match why.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(tls) => io::Error::new(why.kind(), of(about, tls)),
        None if why.kind() == io::ErrorKind::UnexpectedEof => {
            let text = format!(
                "{} ended the connection without the word of TLS that says so: something may be missing",
                about.who
            );
            io::Error::new(io::ErrorKind::UnexpectedEof, Error::new("tls.cut", text))
        }
        None => why,
    }
}

pub fn of(about: &About<'_>, why: &Tls) -> Error {
    match why {
        Tls::InvalidCertificate(why) => certificate(about, why),
        Tls::AlertReceived(alert) => alerted(about, *alert),
        Tls::InvalidMessage(_) => {
            let text = format!("{} does not speak TLS: what it says is no record of it", about.who);
            Error::new("tls.none", text).hint("it may be http:// without TLS, or another port that was meant")
        }
        Tls::PeerIncompatible(_) => {
            let text = format!("{} has no form of TLS in common with this task ({why})", about.who);
            Error::new("tls.version", text).hint(VERSIONS)
        }
        why => other(about.who, why),
    }
}

const VERSIONS: &str =
    "expected: TLS 1.2 or 1.3, with ECDHE (X25519, P-256, P-384) and AES-GCM or ChaCha20-Poly1305";

pub fn other(who: &str, why: &Tls) -> Error {
    Error::new("tls.broken", format!("TLS with {who} failed: {why}"))
}

fn certificate(about: &About<'_>, why: &CertificateError) -> Error {
    let who = about.who;
    let (code, text, hint) = match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let by = about.authorities.unwrap_or("the authorities");
            (
                "tls.unknown_issuer",
                format!("{who} shows a certificate that nobody in {by} has signed"),
                "`ca_path` names a file of the target with the certificate of who signed it (PEM); a server also has to show those in between",
            )
        }
        CertificateError::Other(OtherError(why)) if why.is::<BadHandshake>() => {
            let bits = if about.authorities.is_some() { RSA_BITS_MIN } else { RSA_BITS_MIN_OF_ANYBODY };
            let text = format!(
                "{who} has not signed with the key of its certificate, or that is an RSA key of fewer than {bits} bits"
            );
            (
                "tls.signature",
                text,
                "the server needs a certificate of its own key, and a longer key if it is short",
            )
        }
        CertificateError::NotValidForName => {
            ("tls.name", format!("{who} shows a certificate for another name"), NAME)
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let text = format!(
                "{who} shows a certificate for another name: expected {}, and it is for {}",
                expected.to_str(),
                names(presented)
            );
            ("tls.name", text, NAME)
        }
        CertificateError::Expired => {
            ("tls.expired", format!("{who} shows a certificate that has ended"), CLOCK)
        }
        CertificateError::ExpiredContext { time, not_after } => {
            let text = format!(
                "{who} shows a certificate that ended at {}; now it is {} on the target",
                date(not_after.as_secs()),
                date(time.as_secs())
            );
            ("tls.expired", text, CLOCK)
        }
        CertificateError::NotValidYet => {
            ("tls.not_yet_valid", format!("{who} shows a certificate that is not valid yet"), CLOCK)
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let text = format!(
                "{who} shows a certificate that begins at {}; now it is {} on the target",
                date(not_before.as_secs()),
                date(time.as_secs())
            );
            ("tls.not_yet_valid", text, CLOCK)
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            let text = format!(
                "{who} shows a certificate with a key or a signature of a kind that this task does not know"
            );
            ("tls.certificate", text, SIGNATURES)
        }
        why => {
            let text = format!("{who} shows a certificate that is not good for a server: {}", flaw(why));
            ("tls.certificate", text, "cert_check says what is in it")
        }
    };
    Error::new(code, text).hint(hint)
}

const NAME: &str = "ask for it by a name that is in the certificate, or give the server one with this name";
const CLOCK: &str = "the server needs another certificate, or the clock of the target is wrong";
const SIGNATURES: &str = "expected: ECDSA with P-256 or P-384, Ed25519, or RSA of at least 2048 bits, each with SHA-256 or a longer one";

/// The names of hosts in a certificate, of many the first.
fn names(presented: &[String]) -> String {
    let hosts: Vec<&str> = presented.iter().filter_map(|name| host(name)).collect();
    if hosts.is_empty() {
        return "no host at all".to_owned();
    }
    let short = |name: &&str| name.chars().take(NAME_CHARS_MAX).collect::<String>();
    let shown: Vec<String> = hosts.iter().take(NAMES_MAX).map(short).collect();
    let more = match hosts.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

/// Of `DnsName("a.example")` or `IpAddress(192.0.2.1)`, as webpki writes them, what is in it; `None` of what names no host.
fn host(name: &str) -> Option<&str> {
    let within = |begin: &str, end: &str| name.strip_prefix(begin)?.strip_suffix(end);
    within("DnsName(\"", "\")").or_else(|| within("IpAddress(", ")"))
}

/// What is wrong with a certificate that nothing else can be said of.
fn flaw(why: &CertificateError) -> &'static str {
    use webpki::Error as Flaw;
    let other = match why {
        CertificateError::BadEncoding => return "it cannot be read",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            return "by its extended key usage it is for something else";
        }
        CertificateError::UnhandledCriticalExtension => Some(&Flaw::UnsupportedCriticalExtension),
        CertificateError::Other(OtherError(why)) => why.downcast_ref(),
        _ => None,
    };
    match other {
        Some(Flaw::UnsupportedCertVersion) => "it is not of version 3 of X.509",
        Some(Flaw::UnsupportedCriticalExtension) => {
            "it has an extension that is marked as critical and not known here"
        }
        Some(Flaw::EndEntityUsedAsCa) => "it is signed with a certificate that is not one of an authority",
        Some(Flaw::NameConstraintViolation) => "it has a name for which its authority may not sign",
        Some(Flaw::PathLenConstraintViolated | Flaw::MaximumPathDepthExceeded) => {
            "too many authorities are between it and one that is believed"
        }
        _ => "it breaks a rule of X.509",
    }
}

fn alerted(about: &About<'_>, alert: Alert) -> Error {
    let number = u8::from(alert);
    let (why, hint) = match alert {
        Alert::ProtocolVersion
        | Alert::HandshakeFailure
        | Alert::InsufficientSecurity
        | Alert::InappropriateFallback => {
            ("has no form of TLS in common with this task, or wants a certificate of it", VERSIONS)
        }
        Alert::UnrecognisedName => {
            ("does not know the name that it is asked for", "ask for it by a name that it has")
        }
        Alert::CertificateRequired | Alert::NoCertificate => (
            "wants a certificate of whom it talks with",
            "`client_cert` and `client_key` name files of the target; what they hold is not shown where a redirect leads",
        ),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError
        | Alert::DecodeError
            if about.has_client_cert =>
        {
            (
                "does not take the certificate in `client_cert`",
                "it needs one of an authority that it believes",
            )
        }
        _ => ("broke off", "its log may say why"),
    };
    let text = format!("{} {why} (alert {number}, {alert:?})", about.who);
    Error::new("tls.alert", text).hint(hint)
}

/// A time since 1970 as `2026-01-31T00:00:00Z`.
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let (mut year, mut left) = (1970_u64, days);
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use std::sync::Arc;

    #[test]
    fn what_a_server_says_of_a_key_is_said() {
        for alert in [Alert::DecryptError, Alert::DecodeError, Alert::UnknownCA] {
            let said = |has_client_cert| {
                let about = About { who: "a:1", authorities: None, has_client_cert };
                of(&about, &Tls::AlertReceived(alert)).message
            };
            assert!(said(true).contains("`client_cert`") && !said(false).contains("`client_cert`"));
        }
    }

    /// What is said of a certificate, hint included.
    fn said(why: CertificateError) -> String {
        let about = About { who: "a:1", authorities: None, has_client_cert: false };
        let said = of(&about, &Tls::InvalidCertificate(why));
        format!("{} {} {}", said.code, said.message, said.hint.unwrap_or_default())
    }

    #[test]
    fn of_the_names_of_a_certificate_the_first_are_shown() {
        let shown = |presented: &[&str]| {
            let expected = ServerName::try_from("a.example").expect("a name");
            let presented = presented.iter().map(|name| (*name).to_owned()).collect();
            said(CertificateError::NotValidForNameContext { expected, presented })
        };
        let mixed = ["DnsName(\"b.example\")", "DirectoryName", "IpAddress(192.0.2.1)", "Unsupported(0x81)"];
        assert!(shown(&mixed).contains("expected a.example, and it is for b.example, 192.0.2.1 "));
        for none in [&[][..], &["DirectoryName"]] {
            assert!(shown(none).contains("and it is for no host at all "), "{}", shown(none));
        }
        let many = shown(&["DnsName(\"b.example\")"; 1000]);
        assert_eq!(many.matches("b.example").count(), NAMES_MAX, "{many}");
        assert!(many.contains("b.example and 990 more "), "{many}");
        let long = format!("DnsName(\"{}\")", "b".repeat(100_000));
        assert!(shown(&[&long]).len() < 1000);
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_words() {
        use webpki::Error as Flaw;
        let other = |flaw: Flaw| CertificateError::Other(OtherError(Arc::new(flaw)));
        for (why, words) in [
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: vec![6, 9],
                    supported_algorithms: Vec::new(),
                },
                "of a kind that this task does not know",
            ),
            (
                CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                    signature_algorithm_id: vec![6, 9],
                    public_key_algorithm_id: vec![6, 9],
                },
                "of a kind that this task does not know",
            ),
            (CertificateError::BadEncoding, "it cannot be read"),
            (CertificateError::InvalidPurpose, "for something else"),
            (CertificateError::UnhandledCriticalExtension, "marked as critical"),
            (CertificateError::ApplicationVerificationFailure, "a rule of X.509"),
            (other(Flaw::UnsupportedCertVersion), "version 3"),
            (other(Flaw::UnsupportedCriticalExtension), "marked as critical"),
            (other(Flaw::EndEntityUsedAsCa), "not one of an authority"),
            (other(Flaw::NameConstraintViolation), "may not sign"),
            (other(Flaw::PathLenConstraintViolated), "too many authorities"),
            (other(Flaw::MalformedExtensions), "a rule of X.509"),
        ] {
            let debug = format!("{why:?}");
            let said = said(why);
            assert!(said.starts_with("tls.certificate a:1 ") && said.contains(words), "{debug}: {said}");
            // Not by the names that rustls and webpki have for it.
            let names = |word: &str| word.len() > 10 && said.contains(word);
            assert!(!debug.split(|c: char| !c.is_alphanumeric()).any(names), "{debug}: {said}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
