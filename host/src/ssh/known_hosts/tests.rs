//! The forms of lines that real files have, and the verdicts on what a host shows.

use super::*;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;

const HOST: &str = "web-1.example";
const PORT: u16 = 22;
/// As `ssh-keygen -H` wrote them, for `web-1.example` and for `[web-1.example]:2222`.
const HASHED: &str = "|1|hV8pVwRXRtzZoT5apK0sYlp7sMw=|iAc00pRBizkkkG4mXqEw28p1+Aw=";
const HASHED_2222: &str = "|1|oo928E3tw4lApOxYO/P8NXPeTQ4=|hJfdbjCoFV/+RDhD48im2ZSxkXI=";

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// A key as files have it.
fn text(seed: u8) -> String {
    private(seed).public_key().to_openssh().expect("a public key")
}

/// The same as hosts show it.
fn wire(seed: u8) -> Vec<u8> {
    private(seed).public_key().to_bytes().expect("a public key")
}

/// `known_hosts` with that text, and the directory that keeps it.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("known_hosts");
    fs::write(&file, text).expect("a file");
    (dir, file)
}

fn found(lines: &str, host: &str, port: u16) -> Known {
    let (_dir, file) = file(lines);
    lookup(&[file], host, port)
}

/// Whether a line of these names is one for that host.
fn names(names: &str, host: &str, port: u16) -> bool {
    let known = found(&format!("{names} {}\n", text(1)), host, port);
    assert!(known.authorities.is_empty() && known.revoked.is_empty());
    assert!(known.keys.is_empty() || known.keys == [wire(1)]);
    !known.keys.is_empty()
}

fn keys(seeds: &[u8]) -> Known {
    Known { keys: seeds.iter().map(|seed| wire(*seed)).collect(), ..Known::default() }
}

/// A certificate whose authority is a certificate whose authority is .., as deep as a frame has room for.
pub(in crate::ssh) fn nested() -> Vec<u8> {
    const BYTES: usize = 60_000;
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let mut nested: Vec<u8> = Vec::new();
    while nested.len() < BYTES {
        let head = [string(b"ssh-ed25519-cert-v01@openssh.com"), string(b""), string(&[0; 32]), vec![0; 8]];
        let middle = [vec![0, 0, 0, 2], string(b""), string(b""), vec![0; 16], vec![0; 12]];
        nested = [head.concat(), middle.concat(), string(&nested)].concat();
    }
    nested
}

#[test]
fn certificates_within_certificates_do_not_take_the_stack() {
    let base64 = data_encoding::BASE64.encode(&nested());
    let lines = format!("{HOST} ssh-ed25519-cert-v01@openssh.com {base64}\n{HOST} {}\n", text(1));
    assert_eq!(found(&lines, HOST, PORT), keys(&[1]));
    let problem = judge(&keys(&[1]), &nested(), "web-1", HOST, Strict::No).expect_err("refused");
    assert!(problem.message.contains("certificates within certificates"), "{problem}");
}

#[test]
fn a_plain_name() {
    assert!(names("web-1.example", HOST, PORT));
    assert!(names("web-2.example,web-1.example,10.0.0.1", HOST, PORT));
    assert!(names("10.0.0.1", "10.0.0.1", PORT));
    assert!(names("fe80::1", "fe80::1", PORT));
    assert!(!names("web-2.example", HOST, PORT));
    assert!(!names("web-1", HOST, PORT) && !names("web-1.example.org", HOST, PORT));
}

#[test]
fn letters_of_a_name_have_no_case() {
    assert!(names("WEB-1.Example", HOST, PORT));
    assert!(names("web-1.example", "Web-1.EXAMPLE", PORT));
}

#[test]
fn another_port_is_another_name() {
    assert!(names("[web-1.example]:2222", HOST, 2222));
    assert!(!names("[web-1.example]:2222", HOST, PORT));
    assert!(!names("[web-1.example]:2222", HOST, 2223));
    assert!(!names("web-1.example", HOST, 2222));
    assert!(names("[fe80::1]:2222", "fe80::1", 2222));
}

#[test]
fn a_hashed_name() {
    assert!(names(HASHED, HOST, PORT) && names(HASHED, "WEB-1.example", PORT));
    assert!(!names(HASHED, "web-2.example", PORT) && !names(HASHED, HOST, 2222));
    assert!(names(HASHED_2222, HOST, 2222));
    assert!(!names(HASHED_2222, HOST, PORT));
}

#[test]
fn wildcards() {
    for pattern in ["*", "*.example", "web-*", "web-?.example", "w*b*1*e", "web-1.example*", "**"] {
        assert!(names(pattern, HOST, PORT), "{pattern}");
    }
    for pattern in ["?", "*.example.org", "web-?", "web-??.example", "*2*", "[w]eb-1.example"] {
        assert!(!names(pattern, HOST, PORT), "{pattern}");
    }
    assert!(names("[*.example]:2222", HOST, 2222));
}

#[test]
fn a_pattern_cannot_take_for_ever() {
    // Matching that tries all ways to share the text among the stars would not end in a lifetime.
    let pattern = "*a".repeat(40) + "b";
    assert!(!names(&pattern, &"a".repeat(200), PORT));
}

#[test]
fn a_negated_name_wins_wherever_it_stands() {
    assert!(!names("*.example,!web-1.example", HOST, PORT));
    assert!(!names("!web-1.example,*.example", HOST, PORT));
    assert!(!names("*,!WEB-*", HOST, PORT));
    assert!(names("*.example,!web-2.example", HOST, PORT));
    // Alone it names nobody.
    assert!(!names("!web-2.example", HOST, PORT));
}

#[test]
fn an_authority_is_no_key() {
    let known = found(&format!("@cert-authority *.example {}\n", text(2)), HOST, PORT);
    assert_eq!(known, Known { authorities: vec![wire(2)], ..Known::default() });
    assert_eq!(found(&format!("@cert-authority *.org {}\n", text(2)), HOST, PORT), Known::default());
}

#[test]
fn a_revoked_key_is_told_from_a_known_one() {
    let known = found(&format!("@revoked * {}\n{HOST} {}\n", text(3), text(1)), HOST, PORT);
    assert_eq!(known, Known { revoked: vec![wire(3)], ..keys(&[1]) });
}

#[test]
fn all_lines_and_all_files_count() {
    let (_one, first) = file(&format!("{HOST} {}\nother {}\n*.example {}\n", text(1), text(2), text(3)));
    let (_two, second) = file(&format!("{HASHED} {} a comment\n", text(4)));
    let missing = PathBuf::from("/nonexistent/known_hosts");
    assert_eq!(lookup(&[first, missing, second], HOST, PORT), keys(&[1, 3, 4]));
}

#[test]
fn a_broken_line_hides_no_other() {
    let broken = [
        "web-1.example",
        "web-1.example ssh-ed25519",
        "web-1.example ssh-ed25519 AAAA",
        "web-1.example ssh-ed25519 no!base64",
        "@unknown-marker web-1.example ssh-ed25519 AAAA",
        "|1|broken web-1.example",
        "|2|aaaa|bbbb ssh-ed25519 AAAA",
        "# a comment",
        "",
        "   ",
        // The form of SSH 1.
        "web-1.example 1024 35 159283475",
    ];
    for line in broken {
        let text = format!("{HOST} {}\n{line}\n{HOST} {}\n", text(1), text(2));
        assert_eq!(found(&text, HOST, PORT), keys(&[1, 2]), "{line:?}");
    }
    assert_eq!(found(&format!("{}\n{HOST} {}", broken.join("\n"), text(1)), HOST, PORT), keys(&[1]));
}

#[test]
fn words_stand_any_blanks_apart() {
    for blanks in [" ", "  ", "\t", " \t "] {
        let key = text(1).replace(' ', blanks);
        assert_eq!(found(&format!("{HOST}{blanks}{key}\n"), HOST, PORT), keys(&[1]), "{blanks:?}");
        let revoked = found(&format!("{blanks}@revoked{blanks}*{blanks}{key}\n"), HOST, PORT);
        assert_eq!(revoked.revoked, [wire(1)], "{blanks:?}");
    }
}

#[test]
fn a_comment_that_is_no_utf8_hides_nothing() {
    let (_dir, file) = file("");
    let lines = [
        format!("{HOST} {} Andr", text(1)).as_bytes(),
        b"\xe9\n",
        format!("@revoked * {}\n", text(2)).as_bytes(),
    ]
    .concat();
    fs::write(&file, lines).expect("a file");
    assert_eq!(lookup(&[file], HOST, PORT), Known { revoked: vec![wire(2)], ..keys(&[1]) });
}

#[test]
fn a_known_key_is_known_under_every_setting() {
    for strict in [Strict::Yes, Strict::AcceptNew, Strict::No] {
        assert_eq!(judge(&keys(&[1, 2]), &wire(2), "web-1", HOST, strict), Ok(Verdict::Known), "{strict:?}");
    }
}

#[test]
fn a_new_key_is_accepted_only_where_that_was_asked_for() {
    let none = Known::default();
    for strict in [Strict::AcceptNew, Strict::No] {
        assert_eq!(judge(&none, &wire(1), "web-1", HOST, strict), Ok(Verdict::New), "{strict:?}");
    }
    assert_eq!(judge(&none, &wire(1), "web-1", HOST, Strict::Ask), Ok(Verdict::Ask));
    let problem = judge(&none, &wire(1), "web-1", HOST, Strict::Yes).expect_err("a refusal");
    assert_eq!(problem.code, "ssh.host_key");
    assert!(problem.message.contains("the host key of web-1 is not known"), "{}", problem.message);
    let print = private(1).public_key().fingerprint(Default::default()).to_string();
    assert!(problem.message.contains(&print), "{} in {}", print, problem.message);
    assert!(problem.hint.is_some_and(|hint| hint.contains("accept-new")));
}

#[test]
fn a_changed_key_is_refused_but_where_nothing_is_checked() {
    for strict in [Strict::Yes, Strict::Ask, Strict::AcceptNew] {
        let problem = judge(&keys(&[1]), &wire(2), "web-1", HOST, strict).expect_err("a refusal");
        assert_eq!(problem.code, "ssh.host_key");
        assert!(problem.message.contains("another host key than the one known"), "{}", problem.message);
    }
    assert_eq!(judge(&keys(&[1]), &wire(2), "web-1", HOST, Strict::No), Ok(Verdict::New));
}

#[test]
fn a_revoked_key_is_refused_under_every_setting() {
    let known = Known { revoked: vec![wire(1)], ..keys(&[1]) };
    for strict in [Strict::Yes, Strict::AcceptNew, Strict::No] {
        let problem = judge(&known, &wire(1), "web-1", HOST, strict).expect_err("a refusal");
        assert!(problem.message.contains("marked as revoked"), "{strict:?}: {}", problem.message);
    }
}

#[test]
fn a_certificate_of_a_known_authority_is_known() {
    let known = Known { authorities: vec![wire(2)], ..Known::default() };
    let with = |options: &[&str], name: &str, by: u8| {
        let mut builder = Builder::new([7; 16], private(1).public_key().clone(), 0, 1 << 40).expect("times");
        builder.cert_type(CertType::Host).expect("a kind").valid_principal(name).expect("a name");
        for option in options {
            builder.critical_option(*option, "/bin/true").expect("an option");
        }
        builder.sign(&private(by)).expect("a certificate").to_bytes().expect("its bytes")
    };
    let shown = |name: &str, by: u8| with(&[], name, by);
    let verdict =
        |shown: &[u8]| judge(&known, shown, "web-1", HOST, Strict::Yes).map_err(|problem| problem.code);
    assert_eq!(verdict(&shown(HOST, 2)), Ok(Verdict::Known));
    assert_eq!(verdict(&shown("web-2.example", 2)), Err("ssh.host_key".to_owned()));
    assert_eq!(verdict(&shown(HOST, 3)), Err("ssh.host_key".to_owned()));
    assert_eq!(verdict(&with(&["force-command"], HOST, 2)), Err("ssh.host_key".to_owned()));
}

#[test]
fn what_was_learned_is_found_again() {
    let (_dir, file) = file(&format!("other {}\n", text(9)));
    learn(&file, HOST, PORT, &wire(1)).expect("one line");
    learn(&file, "WEB-2.example", 2222, &wire(2)).expect("another line");
    let text = fs::read_to_string(&file).expect("the file");
    let expected = format!(
        "other {}\n{HOST} {}\n[web-2.example]:2222 {}\n",
        self::text(9),
        self::text(1),
        self::text(2)
    );
    assert_eq!(text, expected);
    let files = [file];
    assert_eq!(lookup(&files, HOST, PORT), keys(&[1]));
    assert_eq!(lookup(&files, "web-2.example", 2222), keys(&[2]));
}

#[test]
fn learning_makes_the_file_and_only_for_its_user() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("new/known_hosts");
    learn(&file, HOST, PORT, &wire(1)).expect("a file of one line");
    assert_eq!(lookup(std::slice::from_ref(&file), HOST, PORT), keys(&[1]));
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn a_last_line_without_end_stays_whole() {
    let (_dir, file) = file(&format!("{HOST} {}", text(1)));
    learn(&file, "web-2.example", PORT, &wire(2)).expect("one line");
    let files = [file];
    assert_eq!(lookup(&files, HOST, PORT), keys(&[1]));
    assert_eq!(lookup(&files, "web-2.example", PORT), keys(&[2]));
}

#[test]
fn what_is_no_key_is_not_learned() {
    let (_dir, file) = file("");
    learn(&file, HOST, PORT, b"no key").expect_err("no line");
    assert_eq!(fs::read_to_string(&file).expect("the file"), "");
}
