//! What went wrong with TLS: with whom, what was expected, and what to do.

use crate::provider::{RSA_BITS_MIN, RSA_BITS_MIN_OF_ANYBODY};
use crate::trust::BadHandshake;
use rustls::{AlertDescription as Alert, CertificateError, Error as Tls, OtherError};
use std::io;
use waft_sdk::Error;

const DAY_SECONDS: u64 = 86_400;

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
            let shown = if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") };
            let text = format!(
                "{who} shows a certificate for another name: expected {}, and it is for {shown}",
                expected.to_str()
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
        why => {
            let text = format!("{who} shows a certificate that is not good for a server: {why}");
            ("tls.certificate", text, "cert_check says what is in it")
        }
    };
    Error::new(code, text).hint(hint)
}

const NAME: &str = "ask for it by a name that is in the certificate, or give the server one with this name";
const CLOCK: &str = "the server needs another certificate, or the clock of the target is wrong";

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
