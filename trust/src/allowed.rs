//! `allowed_signers`: whose signatures count, in the words of ssh-keygen(1), ALLOWED SIGNERS.

use ssh_key::Algorithm;
use ssh_key::public::KeyData;
use waft_proto::run::Problem;

use super::time::{self, Zone};
use super::{key, pattern};

/// Bytes of an allowed signers file that are read.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Problems that are told; a file with more is something else.
const PROBLEMS_MAX: usize = 20;

/// Whose signatures count.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AllowedSigners {
    pub(crate) lines: Vec<Allowed>,
}

/// One line.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Allowed {
    /// Counted from 1.
    pub(crate) line: usize,
    /// A list of patterns.
    pub(crate) principals: String,
    pub(crate) key: KeyData,
    options: Options,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Options {
    is_authority: bool,
    namespaces: Option<String>,
    /// First and last second (UTC, since 1970) at which it counts.
    after: Option<u64>,
    before: Option<u64>,
}

impl AllowedSigners {
    /// `name` is that of the file, for what is wrong with it. Times without a Z are those of `zone`.
    pub fn parse(name: &str, file: &[u8], zone: Zone<'_>) -> Result<AllowedSigners, Vec<Problem>> {
        let problem = |place: &str, why: String| {
            Problem::new("signature.allowed_signers", format!("{name}{place}: {why}"))
                .hint("a line is: PRINCIPALS [OPTIONS] KEYTYPE KEY, see ALLOWED SIGNERS in ssh-keygen(1)")
        };
        if file.len() > FILE_BYTES_MAX {
            return Err(vec![problem("", format!("it has more than {FILE_BYTES_MAX} bytes"))]);
        }
        let mut problems = Vec::new();
        let mut lines = Vec::new();
        for (line, bytes) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            let text = bytes.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let read = match str::from_utf8(text) {
                Ok(text) => Allowed::parse(line, text, zone),
                Err(_) => Err("it is no UTF-8".to_owned()),
            };
            match read {
                Ok(read) => lines.push(read),
                Err(why) => problems.push(problem(&format!(":{line}"), why)),
            }
            if problems.len() >= PROBLEMS_MAX {
                break;
            }
        }
        if problems.is_empty() { Ok(AllowedSigners { lines }) } else { Err(problems) }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl Allowed {
    fn parse(line: usize, text: &str, zone: Zone<'_>) -> Result<Allowed, String> {
        let (principals, rest) = principals(text)?;
        let word = first_word(rest);
        let (options, rest) = match is_key_type(word) {
            true => (Options::default(), rest),
            false => {
                let (options, rest) = split_options(rest)?;
                (Options::parse(options, zone)?, rest)
            }
        };
        let mut words = rest.split_ascii_whitespace();
        let (Some(kind), Some(base64)) = (words.next(), words.next()) else {
            return Err("there is no key".to_owned());
        };
        let key = key::read(kind, base64)?;
        if matches!(key, KeyData::Certificate(_)) {
            return Err("it is a certificate; list the key of its authority with cert-authority".to_owned());
        }
        key::is_usable(&key)?;
        Ok(Allowed { line, principals: principals.to_owned(), key, options })
    }

    pub(crate) fn is_authority(&self) -> bool {
        self.options.is_authority
    }

    /// What the options say against a signature in a namespace, at a time.
    pub(crate) fn objection(&self, namespace: &str, now: u64) -> Option<Problem> {
        let Options { namespaces, after, before, .. } = &self.options;
        if namespaces.as_ref().is_some_and(|list| !pattern::list(list, namespace)) {
            return Some(Problem::new(
                "signature.signer_namespace",
                format!("its signer is allowed for other namespaces than {namespace} (line {})", self.line),
            ));
        }
        let time = |why: String| Some(Problem::new("signature.time", why));
        match (after, before) {
            (Some(after), _) if now < *after => {
                time(format!("its signer is not allowed yet (valid-after in line {})", self.line))
            }
            (_, Some(before)) if now > *before => {
                time(format!("its signer is not allowed any more (valid-before in line {})", self.line))
            }
            _ => None,
        }
    }
}

/// The list of principals, which may stand in quotes, and what comes behind it.
fn principals(text: &str) -> Result<(&str, &str), String> {
    let (principals, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("the quote around the principals has no end")?,
        None => text.split_at(text.find(is_blank).unwrap_or(text.len())),
    };
    if principals.is_empty() || principals.contains('"') {
        return Err("the principals are a list without quotes, or one within quotes".to_owned());
    }
    if !rest.starts_with(is_blank) {
        return Err("there is no key behind the principals".to_owned());
    }
    Ok((principals, rest.trim_start_matches(is_blank)))
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn first_word(text: &str) -> &str {
    text.split(is_blank).next().unwrap_or_default()
}

/// Any type counts whose name could be one; its key tells whether it can be used.
fn is_key_type(word: &str) -> bool {
    !word.contains(['=', ',', '"']) && (Algorithm::new(word).is_ok() || word.contains("-cert-v01@"))
}

/// Options end at the first blank that is not within quotes.
fn split_options(text: &str) -> Result<(&str, &str), String> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => is_quoted = !is_quoted,
            c if is_blank(c) && !is_quoted => return Ok(text.split_at(at)),
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    match is_quoted {
        true => Err("a quote in the options has no end".to_owned()),
        false => Err(format!("`{text}` is neither an option nor the type of a key with a key behind it")),
    }
}

impl Options {
    fn parse(text: &str, zone: Zone<'_>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut rest = text;
        loop {
            rest = options.take(rest, zone)?;
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None if rest.is_empty() => break,
                None => return Err(format!("there is no comma before `{rest}`")),
            }
        }
        match (options.after, options.before) {
            (Some(after), Some(before)) if before <= after => {
                Err("valid-before is not after valid-after".to_owned())
            }
            _ => Ok(options),
        }
    }

    /// Takes one option; gives what comes behind it.
    fn take<'a>(&mut self, text: &'a str, zone: Zone<'_>) -> Result<&'a str, String> {
        let end = text.find(['=', ',']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let twice = || format!("{} stands there twice", name.to_ascii_lowercase());
        let value = || match rest.strip_prefix('=') {
            Some(quoted) => dequote(quoted),
            None => Err(format!("{name} needs a value: {name}=\"...\"")),
        };
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" if !rest.starts_with('=') => {
                self.is_authority = true;
                Ok(rest)
            }
            "namespaces" => {
                let (value, rest) = value()?;
                self.namespaces.replace(value).map_or(Ok(rest), |_| Err(twice()))
            }
            "valid-after" => {
                let (value, rest) = value()?;
                self.after.replace(time::parse(&value, zone)?).map_or(Ok(rest), |_| Err(twice()))
            }
            "valid-before" => {
                let (value, rest) = value()?;
                self.before.replace(time::parse(&value, zone)?).map_or(Ok(rest), |_| Err(twice()))
            }
            _ => Err(format!(
                "unknown option `{name}`; known are cert-authority, namespaces=\"...\", valid-after=\"...\" and valid-before=\"...\""
            )),
        }
    }
}

/// The value in quotes, in which `\"` is a quote; and what comes behind it.
fn dequote(text: &str) -> Result<(String, &str), String> {
    let quoted = text.strip_prefix('"').ok_or("the value of an option stands in quotes")?;
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' if chars.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            c => value.push(c),
        }
    }
    Err("a quote in the options has no end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ed25519, public, utc};

    fn parse(text: &str) -> Result<AllowedSigners, Vec<String>> {
        AllowedSigners::parse("signers", text.as_bytes(), &utc)
            .map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn lines_as_the_manual_has_them() {
        let key = public(&ed25519(1));
        let text = format!(
            "# comment\n\n\
             amy@example.com,*@ops.example.com {key} her laptop\r\n\
             \t\"carol smith,dave\" Cert-Authority,namespaces=\"a,waft-*\",VALID-AFTER=\"20200101Z\",valid-before=\"20300101\"  {key}\n\
             erin namespaces=\"with \\\"quotes\\\" and blanks\"\t{key}"
        );
        let read = parse(&text).expect("good lines");
        let lines: Vec<_> = read.lines.iter().map(|line| (line.line, line.principals.as_str())).collect();
        assert_eq!(lines, [(3, "amy@example.com,*@ops.example.com"), (4, "carol smith,dave"), (5, "erin")]);
        assert_eq!(read.lines[0].options, Options::default());
        let all = Options {
            is_authority: true,
            namespaces: Some("a,waft-*".to_owned()),
            after: Some(1_577_836_800),
            before: Some(1_893_456_000),
        };
        assert_eq!(read.lines[1].options, all);
        assert_eq!(read.lines[2].options.namespaces.as_deref(), Some("with \"quotes\" and blanks"));
        assert!(parse("").expect("an empty file").is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line() {
        let key = public(&ed25519(1));
        let base64 = key.split(' ').nth(1).expect("base64");
        let cases = [
            ("amy".to_owned(), "there is no key behind the principals"),
            (format!("\"amy {key}"), "the quote around the principals has no end"),
            (format!("\"\" {key}"), "the principals are a list"),
            (format!("amy ssh-rsa {base64}"), "it is called ssh-rsa and says of itself ssh-ed25519"),
            (format!("amy {}", key.replace("AAAA", "AAA")), "the key is unreadable"),
            ("amy ssh-ed25519 AAAA".to_owned(), "the key is unreadable"),
            ("amy ssh-ed25519".to_owned(), "there is no key"),
            (format!("amy no-touch {key}"), "unknown option `no-touch`"),
            (format!("amy cert-authority,zone=\"x\" {key}"), "unknown option `zone`"),
            (format!("amy namespaces=waft-task {key}"), "stands in quotes"),
            (format!("amy namespaces {key}"), "namespaces needs a value"),
            (format!("amy namespaces=\"a {key}"), "a quote in the options has no end"),
            (format!("amy namespaces=\"a\"namespaces=\"b\" {key}"), "there is no comma"),
            (format!("amy namespaces=\"a\",NAMESPACES=\"b\" {key}"), "namespaces stands there twice"),
            (format!("amy valid-after=\"2024\" {key}"), "`2024` is no time"),
            (format!("amy valid-after=\"20240101Z\",valid-before=\"20230101Z\" {key}"), "is not after"),
            (
                "amy ssh-dss AAAAB3NzaC1kc3MAAAABAQAAAAEBAAAAAQEAAAABAQ==".to_owned(),
                "type ssh-dss are not supported",
            ),
        ];
        for (line, why) in cases {
            let said = parse(&format!("# first\n{line}\n")).expect_err(&line);
            assert_eq!(said.len(), 1, "{line}");
            assert!(said[0].starts_with("signers:2: ") && said[0].contains(why), "{line}: {said:?}");
        }
        let both = parse("one\ntwo\n").expect_err("two bad lines");
        assert!(both[0].starts_with("signers:1: ") && both[1].starts_with("signers:2: "), "{both:?}");
        let not_text = AllowedSigners::parse("signers", b"amy \xff", &utc).expect_err("no UTF-8");
        assert_eq!(not_text[0].message, "signers:1: it is no UTF-8");
        assert_eq!(parse(&"x\n".repeat(1000)).expect_err("something else").len(), PROBLEMS_MAX);
        assert!(parse(&"#".repeat(FILE_BYTES_MAX + 1)).expect_err("huge")[0].contains("more than"));
    }

    #[test]
    fn a_line_counts_in_its_namespaces_from_its_first_to_its_last_second() {
        let key = public(&ed25519(1));
        let options = "namespaces=\"waft-*,!waft-x\",valid-after=\"20200101Z\",valid-before=\"20200102Z\"";
        let read = parse(&format!("amy {options} {key}")).expect("a good line");
        let code =
            |namespace: &str, now: u64| read.lines[0].objection(namespace, now).map(|problem| problem.code);
        let (first, last) = (1_577_836_800, 1_577_923_200);
        assert_eq!(code("waft-task", first), None);
        assert_eq!(code("waft-task", last), None);
        assert_eq!(code("waft-task", first - 1).as_deref(), Some("signature.time"));
        assert_eq!(code("waft-task", last + 1).as_deref(), Some("signature.time"));
        assert_eq!(code("waft-x", first).as_deref(), Some("signature.signer_namespace"));
        assert_eq!(code("file", first).as_deref(), Some("signature.signer_namespace"));
    }
}
