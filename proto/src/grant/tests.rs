use super::*;
use alloc::vec::Vec;

fn grant(text: &str) -> Grant {
    Grant::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

fn set(texts: &[&str]) -> GrantSet {
    GrantSet::parse_all(texts.iter().copied()).unwrap_or_else(|problems| panic!("{texts:?}: {problems:?}"))
}

fn printed(set: &GrantSet) -> Vec<String> {
    set.iter().map(|grant| grant.to_string()).collect()
}

fn nowhere(_: &str) -> Option<String> {
    None
}

fn usr_bin(name: &str) -> Option<String> {
    (name != "missing").then(|| format!("/usr/bin/{name}"))
}

#[test]
fn what_is_printed_is_read_as_the_same() {
    let hash = Hash::of(b"blob").to_string();
    let cases = [
        ("fs:/var/log", "fs:/var/log:ro"),
        ("fs:/:rw", "fs:/:rw"),
        (r#"fs:"/a b:c":rw"#, r#"fs:"/a b:c":rw"#),
        (r#"fs:"/srv/[id]""#, r#"fs:"/srv/[id]":ro"#),
        (r#"fs:"/srv/plain""#, "fs:/srv/plain:ro"),
        ("fs:/srv/\u{e9}t\u{e9}", "fs:/srv/\u{e9}t\u{e9}:ro"),
        ("exec:id", "exec:id"),
        ("exec:/usr/bin/systemctl  restart   *", "exec:/usr/bin/systemctl restart *"),
        ("exec:git -C * log **:probe", "exec:git -C * log **:probe"),
        (r#"exec:"id" "-u":probe"#, "exec:id -u:probe"),
        ("exec:service * start:daemon", "exec:service * start:daemon"),
        (r#"exec:x "a b":daemon"#, r#"exec:x "a b":daemon"#),
        (r#"exec:echo "x:daemon""#, r#"exec:echo "x:daemon""#),
        ("exec:**:daemon", "exec:*:daemon"),
        (r#"exec:docker pull "registry:5000/*""#, r#"exec:docker pull "registry:5000/*""#),
        (r#"exec:printf "" "a\u0009\"\\\n\ud83d\ude00""#, "exec:printf \"\" \"a\\t\\\"\\\\\\n\u{1f600}\""),
        (r#"exec:echo "x:probe""#, r#"exec:echo "x:probe""#),
        (r#"exec:echo "\u202e""#, r#"exec:echo "\u202e""#),
        (r#"exec:echo "\udb40\udc01""#, r#"exec:echo "\udb40\udc01""#),
        ("exec:echo a\\nb", "exec:echo a\\nb"),
        ("exec:*", "exec:*"),
        ("exec:**:probe", "exec:*:probe"),
        ("net:DB.Internal:5432", "net:db.internal:5432"),
        ("net:10.0.0.5:22", "net:10.0.0.5:22"),
        ("net:[0:0::1]:443", "net:[::1]:443"),
        ("env:TZ", "env:TZ"),
        ("secret:db/password", "secret:db/password"),
        ("call:facts", "call:facts"),
        ("facts", "facts"),
        ("mem:1024M", "mem:1G"),
        ("out:512K", "out:512K"),
        ("disk:0", "disk:0"),
        ("out:1000", "out:1000"),
        ("time:90s", "time:90s"),
        ("time:120s", "time:2m"),
        ("cpu:250ms", "cpu:250ms"),
        ("files:64", "files:64"),
        ("procs:0", "procs:0"),
    ];
    for (text, canonical) in cases {
        let read = grant(text);
        assert_eq!(read.to_string(), canonical, "{text}");
        assert_eq!(grant(canonical), read, "{text}");
    }
    assert_eq!(grant(&format!("blob:{}", hash.to_uppercase())), grant(&format!("blob:{hash}")));
}

#[test]
fn what_cannot_be_read_says_what_was_expected() {
    let cases = [
        ("fs:var", "an absolute path"),
        ("fs:", "an absolute path"),
        ("fs:/a/../b", "a normalised path"),
        ("fs:/a/", "a normalised path"),
        ("fs://a", "a normalised path"),
        ("fs:/a:rx", "`:ro` or `:rw`"),
        ("fs:/a:b:ro", "`:ro` or `:rw`"),
        ("fs:/a b", "a path with spaces"),
        ("fs:/a/*", "one directory"),
        ("fs:/a\u{200b}", "no invisible character"),
        (r#"fs:"/a"#, "a complete JSON string"),
        ("exec:", "a program"),
        ("exec", "a program"),
        ("exec:bin/sh", "an absolute path or a bare name"),
        ("exec:./sh", "an absolute path or a bare name"),
        ("exec:/bin/../sh", "a normalised path"),
        ("exec:/", "`/` is a directory"),
        ("exec:-x", "an absolute path or a bare name"),
        ("exec:/bin/*", "one program"),
        ("exec:* a", "nothing after `*`"),
        ("exec:ls ** a", "`**` only as the last word"),
        ("exec:ls a**", "`**` only as the last word"),
        ("exec:ls a:b", "the word `a:b` as a JSON string"),
        ("exec:ls :probe", "`:probe` right after the last word"),
        ("exec:ls :probe x", "as a JSON string"),
        ("exec:ls :daemon", "`:daemon` right after the last word"),
        ("exec:ls a:probe:daemon", "one of `:probe` and `:daemon`"),
        ("exec:ls a:daemon:probe", "one of `:probe` and `:daemon`"),
        (r#"exec:ls "a":probe:daemon"#, "after the closing quote"),
        (r#"exec:ls a"b""#, "a quote only at the beginning"),
        (r#"exec:ls "a"b"#, "after the closing quote"),
        (r#"exec:ls "\x""#, "one of the escapes of JSON"),
        (r#"exec:ls "\u0000""#, "one of the escapes of JSON"),
        (r#"exec:ls "\u+123""#, "one of the escapes of JSON"),
        (r#"exec:ls "\ud83d""#, "one of the escapes of JSON"),
        ("exec:ls \"a\tb\"", "U+0009 to be written as an escape"),
        ("exec:ls a\tb", "no invisible character"),
        ("net:host", "a colon and a port"),
        ("net:host:0", "a port from 1 to 65535"),
        ("net:host:65536", "a port from 1 to 65535"),
        ("net:host:+80", "a port from 1 to 65535"),
        ("net:*.host:80", "one host"),
        ("net:::1:80", "an IPv6 address in brackets"),
        ("net:[::1]", "`]:` and a port"),
        ("net:[host]:80", "an IPv6 address in the brackets"),
        ("net:010.1.1.1:80", "an IPv4 address"),
        ("net:-a:80", "the name of a host"),
        ("net::80", "the name of a host"),
        ("env:LD_PRELOAD", "no variable of the dynamic loader"),
        ("env:1A", "the name of a variable"),
        ("env:A=B", "the name of a variable"),
        ("secret:", "the name of a secret"),
        ("call:a b", "the name of a task"),
        ("blob:12", "64 hex digits"),
        ("facts:all", "nothing after `facts`"),
        ("mem:64", ""),
        ("mem:64MB", "a size"),
        ("mem:-1", "a size"),
        ("mem:0", "more than nothing"),
        ("mem", "a size"),
        ("mem:99999999999T", "a size of at most"),
        ("time:30", "a duration"),
        ("time:s", "a duration"),
        ("time:0s", "more than nothing"),
        ("time:1d", "a duration"),
        ("cpu:99999999999999999h", "a duration of at most"),
        ("files:many", "a whole number"),
        ("files:+1", "a whole number"),
    ];
    for (text, expected) in cases {
        match Grant::parse(text) {
            Ok(grant) => assert!(expected.is_empty(), "{text} was read as {grant}"),
            Err(problem) => {
                assert_eq!(problem.code, "grant.syntax", "{text}");
                assert!(problem.message.contains(expected) && !expected.is_empty(), "{text}: {problem}");
                assert!(problem.message.contains(&quoted(text)), "{text}: {problem}");
            }
        }
    }
}

#[test]
fn unknown_words_are_errors_with_a_suggestion() {
    let hint = |text: &str| {
        let problem = Grant::parse(text).expect_err(text);
        assert_eq!(problem.code, "grant.unknown", "{text}");
        problem.hint.expect("a hint")
    };
    assert!(hint("exce:ls").starts_with("did you mean `exec:`?"));
    assert!(hint("fact").starts_with("did you mean `facts`?"));
    assert!(hint("memory:1G").starts_with("known are fs, "));
    assert_eq!(hint("/var/log"), "for a directory write `fs:/var/log`");
    assert!(hint("").starts_with("known are"));
    assert!(hint("FS:/x").starts_with("did you mean `fs:`?"), "words are lower case");
}

#[test]
fn size_and_number_of_grants_are_bounded() {
    let long = format!("fs:/{}", "a".repeat(GRANT_BYTES_MAX));
    let problem = Grant::parse(&long).expect_err("too long");
    assert_eq!(problem.code, "grant.long");
    assert!(problem.message.len() < 400);
    // The longest path that is read can also be printed with its access and read again.
    let longest = format!("fs:/{}", "a".repeat(3999));
    assert_eq!(grant(&grant(&longest).to_string()), grant(&longest));
    assert!(Grant::parse(&format!("{longest}a")).is_err());

    let many = core::iter::repeat_n("facts", GRANTS_MAX);
    assert!(GrantSet::parse_all(many.clone()).is_ok());
    let problems = GrantSet::parse_all(many.chain(["facts", "nonsense"])).expect_err("too many");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, "grant.many");
}

#[test]
fn all_problems_of_a_set_are_said_at_once() {
    let problems =
        GrantSet::parse_all(["fs:x", "facts", "exce:ls", "mem:big"].into_iter()).expect_err("three");
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["grant.syntax", "grant.unknown", "grant.syntax"]);
}

#[test]
fn argv_is_matched_word_by_word() {
    let cases: [(&str, &[&str], bool); 34] = [
        ("exec:id", &["id"], true),
        ("exec:id", &["/usr/bin/id"], true),
        ("exec:/usr/bin/id", &["id"], true),
        ("exec:/usr/bin/id", &["/usr/bin/id"], true),
        ("exec:/usr/bin/id", &["/bin/id"], false),
        ("exec:id", &["/bin/id"], false),
        ("exec:id", &["id", "-u"], false),
        ("exec:id", &["ids"], false),
        ("exec:id -u", &["id"], false),
        ("exec:id *", &["id", "bob"], true),
        ("exec:id *", &["id", ""], true),
        ("exec:id *", &["id", "a b"], true),
        ("exec:id *", &["id", "a", "b"], false),
        ("exec:id *", &["id", "-u"], false),
        ("exec:id *u", &["id", "-u"], false),
        ("exec:id -*", &["id", "-u"], true),
        ("exec:id -*", &["id", "u"], false),
        ("exec:id **", &["id"], true),
        ("exec:id **", &["id", "-u", "-n"], true),
        ("exec:id * **", &["id"], false),
        ("exec:id * **", &["id", "-u", "bob"], false),
        ("exec:id * **", &["id", "bob", "-u"], true),
        ("exec:cp /a/*/*.log /b/*", &["cp", "/a/x/y.log", "/b/"], true),
        ("exec:cp /a/*/*.log /b/*", &["cp", "/a/y.log", "/b/"], false),
        ("exec:x ab*bc", &["x", "abc"], false),
        ("exec:x ab*bc", &["x", "abbc"], true),
        ("exec:x *ab*ab*", &["x", "abxab"], true),
        ("exec:x *ab*ab*", &["x", "aab"], false),
        ("exec:x a*b*a", &["x", "aba"], true),
        ("exec:x a*b*a", &["x", "aa"], false),
        ("exec:*", &["/opt/any", "-rf", "/"], true),
        ("exec:*", &["any"], true),
        ("exec:x \"*:*\"", &["x", "a:b"], true),
        ("facts", &["id"], false),
    ];
    for (text, argv, allowed) in cases {
        let checked = set(&[text]).check_exec(argv, usr_bin);
        assert_eq!(checked.is_ok(), allowed, "{text} {argv:?}: {checked:?}");
        if let Err(problem) = checked {
            assert_eq!(problem.code, "grant.missing");
            let line = problem.hint.expect("a line to paste");
            let suggested =
                line.strip_prefix("--allow ").expect("a grant").trim_matches(['"', '\'']).to_string();
            assert!(set(&[&suggested]).check_exec(argv, usr_bin).is_ok(), "{suggested} for {argv:?}");
        }
    }
}

#[test]
fn a_refused_program_gets_a_line_that_a_shell_reads_as_one_word() {
    let hint = |argv: &[&str]| set(&["exec:ls *"]).check_exec(argv, usr_bin).expect_err("refused").hint;
    assert_eq!(hint(&["id"]).as_deref(), Some("--allow exec:/usr/bin/id"));
    assert_eq!(hint(&["ls", "-l"]).as_deref(), Some("--allow \"exec:/usr/bin/ls -l\""));
    assert_eq!(
        hint(&["sh", "-c", "echo $HOME"]).as_deref(),
        Some("--allow 'exec:/usr/bin/sh -c \"echo $HOME\"'")
    );
    assert_eq!(hint(&["echo", "it's \""]).as_deref(), Some(r#"--allow 'exec:/usr/bin/echo "it'\''s \""'"#));
    assert_eq!(
        hint(&["ls", "-a", &"a".repeat(5000)]).as_deref(),
        Some("if any arguments are fine: --allow \"exec:/usr/bin/ls **\"")
    );
    assert_eq!(hint(&["/bin/../bin/ls"]), None, "no grant can name such a path");

    let near = set(&["exec:ls *"]).check_exec(&["ls", "-l"], usr_bin).expect_err("refused").message;
    assert_eq!(near, "the grant `exec:/usr/bin/ls -l` is missing; given for this program is `exec:ls *`");
}

#[test]
fn programs_that_are_not_there_or_relative_are_not_started() {
    let code =
        |texts: &[&str], argv: &[&str]| set(texts).check_exec(argv, usr_bin).expect_err("refused").code;
    assert_eq!(code(&["exec:missing"], &["missing"]), "exec.not_found");
    assert_eq!(code(&["exec:*"], &["missing"]), "exec.not_found");
    assert_eq!(code(&[], &["missing"]), "grant.missing");
    assert_eq!(code(&["exec:*"], &["./id"]), "exec.relative");
    assert_eq!(code(&["exec:*"], &[""]), "exec.relative");
    assert_eq!(code(&["exec:*"], &[]), "exec.empty");
}

#[test]
fn a_set_keeps_the_larger_right_and_the_smaller_limit() {
    let set = set(&["fs:/a", "mem:2G", "fs:/a:rw", "fs:/a", "facts", "mem:1G", "facts", "time:5s", "env:TZ"]);
    assert_eq!(printed(&set), ["fs:/a:rw", "facts", "env:TZ", "mem:1G", "time:5s"]);
    assert_eq!(set.dirs().collect::<Vec<_>>(), [("/a", Access::ReadWrite)]);
    assert_eq!(set.env_names().collect::<Vec<_>>(), ["TZ"]);
    let limits = Limits { mem_bytes: Some(1 << 30), time_ms: Some(5000), ..Limits::default() };
    assert_eq!(*set.limits(), limits);
    assert!(GrantSet::default().is_empty() && !set.is_empty());
}

#[test]
fn rights_are_checked_against_what_covers_them() {
    let given = set(&["fs:/a:rw", "fs:/b", "net:h:1", "secret:s", "exec:ls a* **", "mem:1G"]);
    let checks = [
        ("fs:/a/x:rw", true),
        ("fs:/ab", false),
        ("fs:/b/c", true),
        ("fs:/b:rw", false),
        ("fs:/", false),
        ("net:h:1", true),
        ("net:h:2", false),
        ("secret:s", true),
        ("secret:t", false),
        ("facts", false),
        ("exec:ls ab", true),
        ("exec:ls ab **", true),
        ("exec:ls *", false),
        ("exec:ls ab:probe", false),
        ("exec:ls ab:daemon", false),
        ("exec:*", false),
        ("mem:1G", true),
        ("mem:2G", false),
        ("time:1h", true),
    ];
    for (wanted, allowed) in checks {
        assert_eq!(given.check(&grant(wanted)).is_ok(), allowed, "{wanted}");
    }
    let problem = given.facts().expect_err("no facts");
    assert_eq!((problem.code.as_str(), problem.hint.as_deref()), ("grant.missing", Some("--allow facts")));
    assert!(set(&["facts"]).facts().is_ok());
}

#[test]
fn sets_combine_to_what_both_allow() {
    let cases: [(&[&str], &[&str], &[&str]); 22] = [
        (&["fs:/a:rw"], &["fs:/a/b"], &["fs:/a/b:ro"]),
        (&["fs:/a/b:rw", "fs:/c"], &["fs:/:rw"], &["fs:/a/b:rw", "fs:/c:ro"]),
        (&["fs:/ab"], &["fs:/a"], &[]),
        (&["exec:ls *"], &["exec:ls **"], &["exec:ls *"]),
        (&["exec:ls **"], &["exec:ls -l **"], &["exec:ls -l **"]),
        (&["exec:ls *"], &["exec:ls -l"], &[]),
        (&["exec:ls a* *"], &["exec:ls ab *b"], &["exec:ls ab *b"]),
        (&["exec:ls a*"], &["exec:ls *b"], &[]),
        (&["exec:ls"], &["exec:ls a **"], &[]),
        (&["exec:*"], &["exec:id", "exec:ls *"], &["exec:id", "exec:ls *"]),
        (&["exec:id"], &["exec:/usr/bin/id"], &[]),
        // `:probe` is one right more, to start it in a dry run as well: it stays where both give that.
        (&["exec:id:probe"], &["exec:id"], &["exec:id"]),
        (&["exec:id:daemon"], &["exec:id"], &["exec:id"]),
        (&["exec:id:daemon"], &["exec:id:probe"], &["exec:id"]),
        (&["exec:id:daemon"], &["exec:*:daemon"], &["exec:id:daemon"]),
        (&["exec:*"], &["exec:id *:probe"], &["exec:id *"]),
        (&["exec:*:probe"], &["exec:id *:probe", "exec:ls"], &["exec:id *:probe", "exec:ls"]),
        (&["exec:id:probe"], &["exec:*:probe"], &["exec:id:probe"]),
        (&["net:h:1", "net:h:2"], &["net:h:2"], &["net:h:2"]),
        (&["facts", "env:A"], &["env:A", "facts"], &["facts", "env:A"]),
        (&["mem:1G", "time:1s"], &["mem:2G", "cpu:1s"], &["mem:1G", "time:1s", "cpu:1s"]),
        (&["facts"], &[], &[]),
    ];
    for (a, b, common) in cases {
        for (a, b) in [(a, b), (b, a)] {
            let mut both = printed(&set(a).intersect(&set(b)).expect("a set"));
            let mut common: Vec<String> = common.iter().map(ToString::to_string).collect();
            both.sort();
            common.sort();
            assert_eq!(both, common, "{a:?} and {b:?}");
        }
    }
    let by_name = set(&["exec:id", "exec:missing"]).resolved(usr_bin);
    assert_eq!(
        printed(&by_name.intersect(&set(&["exec:/usr/bin/id"])).expect("a set")),
        ["exec:/usr/bin/id"]
    );
}

/// Whatever the two sets are, nothing is allowed by both together that either refuses.
#[test]
fn an_intersection_never_allows_more_than_either() {
    let words = ["", "a", "ab", "abc", "-", "-a", "ba", "b", "cab"];
    let patterns = ["*", "a", "a*", "*b", "-*", "a*b", "**"];
    let commands: Vec<String> = patterns
        .iter()
        .flat_map(|first| patterns.iter().map(move |second| format!("exec:x {first} {second}")))
        .chain(patterns.iter().map(|only| format!("exec:x {only}")))
        .filter(|text| Grant::parse(text).is_ok())
        .collect();
    let mut argvs: Vec<Vec<&str>> = words.iter().map(|word| alloc::vec!["/x", word]).collect();
    argvs.extend(words.iter().flat_map(|a| words.iter().map(move |b| alloc::vec!["/x", a, b])));
    argvs.push(alloc::vec!["/x"]);
    let resolve = |_: &str| Some("/x".to_string());
    let allowed = |set: &GrantSet| -> Vec<bool> {
        argvs.iter().map(|argv| set.check_exec(argv, resolve).is_ok()).collect()
    };
    let sets: Vec<(GrantSet, Vec<bool>)> = commands
        .iter()
        .map(|text| {
            let set = set(&[text]);
            let allowed = allowed(&set);
            (set, allowed)
        })
        .collect();
    for (a, may_a) in &sets {
        for (b, may_b) in &sets {
            let both = a.intersect(b).expect("a set");
            for ((argv, both), (a_may, b_may)) in
                argvs.iter().zip(allowed(&both)).zip(may_a.iter().zip(may_b))
            {
                assert!(!both || (*a_may && *b_may), "{:?} and {:?} for {argv:?}", printed(a), printed(b));
            }
            if b.iter().all(|inner| a.check(&inner).is_ok()) {
                assert!(may_a.iter().zip(may_b).all(|(outer, inner)| *outer || !inner), "{:?}", printed(b));
            }
        }
    }
}

#[test]
fn a_check_keeps_files_and_probes() {
    let given =
        set(&["fs:/a:rw", "exec:id:probe", "exec:reboot", "exec:id:daemon", "net:h:1", "facts", "mem:1G"]);
    assert_eq!(printed(&given.for_check()), ["fs:/a:rw", "exec:id:probe", "facts", "mem:1G"]);
}

#[test]
fn who_may_leave_something_is_granted_so() {
    let given = set(&["exec:/bin/a *:daemon", "exec:/bin/b *"]);
    assert!(given.check_exec(&["/bin/a", "x"], nowhere).is_ok());
    assert!(given.check_daemon(&["/bin/a", "x"], nowhere).is_ok());
    assert!(given.check_exec(&["/bin/b", "x"], nowhere).is_ok());
    let problem = given.check_daemon(&["/bin/b", "x"], nowhere).expect_err("it was not granted so");
    assert_eq!(problem.hint.as_deref(), Some("--allow \"exec:/bin/b x:daemon\""));
    assert!(problem.message.ends_with("; given for this program is `exec:/bin/b *`"), "{problem}");
    let long = "x".repeat(2000);
    let problem = given.check_daemon(&["/bin/b", &long], nowhere).expect_err("it was not granted so");
    assert!(problem.hint.is_some_and(|hint| hint.ends_with("\"exec:/bin/b **:daemon\"")));
}

/// Patterns with many stars against long words: seconds here would be hours on a hostile grant.
#[test]
fn matching_is_linear_in_hostile_texts() {
    let pattern = format!("exec:/x {}", "*a".repeat(2000));
    let word = "a".repeat(1_000_000) + "b";
    assert!(set(&[&pattern]).check_exec(&["/x", &word], nowhere).is_err());
}

#[test]
fn nothing_that_a_terminal_obeys_gets_into_a_message() {
    for text in ["\u{1b}[2J:x", "fs:/\u{202e}", "exec:ls \u{7}", "exec:ls \u{200b}:a"] {
        let problem = Grant::parse(text).expect_err("refused");
        assert!(!problem.message.chars().any(words::is_hidden), "{problem}");
    }
}

#[test]
fn the_nearest_word_is_near() {
    assert_eq!(nearest("prot", ["user", "port", "host"]), Some("port"));
    assert_eq!(nearest("hots", ["user", "port", "host"]), Some("host"));
    assert_eq!(nearest("identitty", ["identity", "installed"]), Some("identity"));
    assert_eq!(nearest("WEB01", ["web01", "web02"]), Some("web01"));
    assert_eq!(nearest("x", ["y"]), None);
    assert_eq!(nearest("", ["a"]), None);
    assert_eq!(nearest("banana", ["user", "port"]), None);
    assert_eq!(nearest(&"a".repeat(65), ["a"]), None);
}

#[test]
fn a_connection_is_checked_against_host_and_port() {
    let given = set(&["net:db.internal:5432", "net:10.0.0.5:443", "net:[2001:db8::1]:443"]);
    let ok = |host, port| given.check_net(host, port).is_ok();
    assert!(ok("db.internal", 5432) && ok("DB.Internal", 5432) && ok("10.0.0.5", 443));
    assert!(ok("2001:db8::1", 443) && ok("2001:0DB8:0::1", 443));
    // Another port, another name of perhaps the same host, a name below it, another way to write it.
    assert!(
        !ok("db.internal", 5433)
            && !ok("db", 5432)
            && !ok("a.db.internal", 5432)
            && !ok("db.internal.", 5432)
    );
    assert!(!ok("::ffff:10.0.0.5", 443) && !ok("010.0.0.5", 443) && !ok("", 443));
    let refused = |host, port| given.check_net(host, port).expect_err("refused");
    let problem = refused("DB", 5432);
    assert_eq!(
        (problem.code.as_str(), problem.hint.as_deref()),
        ("grant.missing", Some("--allow net:db:5432"))
    );
    assert_eq!(refused("::1", 80).hint.as_deref(), Some("--allow \"net:[::1]:80\""));
    // What no grant can name has no line to paste.
    assert_eq!(refused("a b\u{1b}[2J", 80).hint, None);
    assert!(!refused("a b\u{1b}[2J", 80).message.contains('\u{1b}'));
}
