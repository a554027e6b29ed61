//! What a certificate says.

use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;
use waft_sdk::Error;
use x509_cert::Certificate;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{DateTime, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

const DAY_SECONDS: i64 = 86_400;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct About {
    pub subject: String,
    pub issuer: String,
    pub serial_number: String,
    pub subject_alt_name: Vec<String>,
    pub not_before: String,
    pub not_after: String,
    pub days_left: i64,
    pub expired: bool,
    #[serde(skip)]
    pub begins_later: bool,
}

fn wrong(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new("cert_check.form", format!("{what} holds no certificate that can be read: {why}"))
}

/// Those of a text in PEM form, or the one in DER form. `what` names it.
pub fn read(what: &str, bytes: &[u8]) -> Result<Vec<Certificate>, Error> {
    const BEGIN: &[u8] = b"-----BEGIN";
    if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Ok(vec![of_der(what, bytes)?]);
    }
    // Private keys and comments may stand between them.
    let text = String::from_utf8_lossy(bytes);
    let (mut found, mut rest) = (Vec::new(), &*text);
    while let Some(at) = rest.find("-----BEGIN CERTIFICATE-----") {
        const END: &str = "-----END CERTIFICATE-----";
        let begun = rest.get(at..).unwrap_or_default();
        let end = begun.find(END).ok_or_else(|| wrong(what, "the end of one is missing"))? + END.len();
        let (one, after) = begun.split_at(end);
        let chain = Certificate::load_pem_chain(one.as_bytes()).map_err(|why| wrong(what, why))?;
        found.extend(chain);
        rest = after;
    }
    if found.is_empty() {
        return Err(wrong(what, "there is no `BEGIN CERTIFICATE` in it"));
    }
    Ok(found)
}

pub fn of_der(what: &str, bytes: &[u8]) -> Result<Certificate, Error> {
    Certificate::from_der(bytes).map_err(|why| wrong(what, why))
}

/// `now`: since 1970.
pub fn about(certificate: &Certificate, now: Duration) -> About {
    let inside = certificate.tbs_certificate();
    let (begin, end) =
        (inside.validity().not_before.to_unix_duration(), inside.validity().not_after.to_unix_duration());
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    About {
        subject: inside.subject().to_string(),
        issuer: inside.issuer().to_string(),
        serial_number: inside.serial_number().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
        subject_alt_name: names(certificate),
        not_before: time(begin),
        not_after: time(end),
        days_left: (seconds(end) - seconds(now)).div_euclid(DAY_SECONDS),
        expired: end < now,
        begins_later: begin > now,
    }
}

fn time(since: Duration) -> String {
    DateTime::from_unix_duration(since)
        .map_or_else(|_| "9999-12-31T23:59:59Z".to_owned(), |time| time.to_string())
}

fn names(certificate: &Certificate) -> Vec<String> {
    let extensions = certificate.tbs_certificate().extensions().into_iter().flatten();
    let own = extensions.filter(|extension| extension.extn_id == SubjectAltName::OID);
    let read = own.filter_map(|extension| SubjectAltName::from_der(extension.extn_value.as_bytes()).ok());
    read.flat_map(|names| names.0).map(|name| shown(&name)).collect()
}

fn shown(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(name) => format!("DNS:{}", name.as_str()),
        GeneralName::Rfc822Name(name) => format!("email:{}", name.as_str()),
        GeneralName::UniformResourceIdentifier(name) => format!("URI:{}", name.as_str()),
        GeneralName::IpAddress(bytes) => match *bytes.as_bytes() {
            [a, b, c, d] => format!("IP:{}", IpAddr::from([a, b, c, d])),
            ref bytes => <[u8; 16]>::try_from(bytes)
                .map_or_else(|_| "IP:?".to_owned(), |bytes| format!("IP:{}", IpAddr::from(bytes))),
        },
        GeneralName::DirectoryName(name) => format!("dirName:{name}"),
        _ => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ca -selfsign -startdate 20260101000000Z -enddate 20270101000000Z`.
    const PEM: &str = include_str!("../tests/one.pem");

    #[test]
    fn a_certificate_says_whose_it_is_and_until_when() {
        let text =
            format!("# mine\n{PEM}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n{PEM}");
        let found = read("x", text.as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        let day = |day: u64| Duration::from_secs(1_767_225_600 + day * 86_400);
        let about = about(&found[0], day(364));
        assert_eq!(
            (about.not_before.as_str(), about.not_after.as_str()),
            ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
        );
        assert_eq!((about.days_left, about.expired, about.begins_later), (1, false, false));
        assert!(about.subject.contains("CN=www.example.com") && about.subject.contains("Acme"), "{about:?}");
        assert_eq!(
            about.subject_alt_name,
            ["DNS:www.example.com", "DNS:*.example.org", "IP:10.0.0.5", "IP:2001:db8::1"]
        );
        let late = super::about(&found[0], day(366));
        assert_eq!((late.days_left, late.expired), (-1, true));
        assert!(super::about(&found[0], Duration::from_secs(1_767_225_599)).begins_later);
    }

    #[test]
    fn what_is_none_is_said() {
        for text in [
            "",
            "x",
            "-----BEGIN PRIVATE KEY-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let error = read("the file", text.as_bytes()).unwrap_err();
            assert!(error.code == "cert_check.form" && error.message.starts_with("the file "), "{error}");
        }
        let cut = &PEM.as_bytes()[..PEM.len() - 60];
        assert!(read("x", cut).is_err());
    }
}
