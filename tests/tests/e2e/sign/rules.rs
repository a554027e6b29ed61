//! What does not count, and that each of it is told.

use super::{Desk, NAMESPACE, certify, fingerprint};
use std::fs;
use std::process::Command;
use waft_tests::Result;
use waft_tests::keys::KeyKind;
use waft_tests::process::run_tool;
use waft_tests::waft::Waft;

#[test]
fn certificates_out_of_their_time_or_for_something_else_do_not_count() -> Result<()> {
    let desk = Desk::new()?;
    let (authority, key) = (desk.key(KeyKind::Ed25519, "ca")?, desk.key(KeyKind::Ed25519, "key")?);
    desk.file("signers", format!("* cert-authority {}\n", authority.public));
    for (options, why) in [
        (&["-V", "20200101:20200201"][..], "is not valid any more"),
        (&["-V", "20990101:20990201"], "is not valid yet"),
        (&["-h"], "is that of a host"),
        (&["-O", "force-command=/bin/true"], "critical option force-command"),
    ] {
        let certificate = certify(&desk, &authority, &key, options)?;
        desk.sign_with(&certificate)?;
        let said = desk.refused(&[])?;
        assert!(said.contains(why), "{said}");
    }
    Ok(())
}

#[test]
fn revoked_keys_do_not_count_by_any_kind_of_list() -> Result<()> {
    let desk = Desk::new()?;
    let (key, other) = (desk.key(KeyKind::Ecdsa, "key")?, desk.key(KeyKind::Ed25519, "other")?);
    desk.file("signers", format!("amy {}\nbob {}\n", key.public, other.public));
    desk.sign_with(&key.path)?;
    let hash = fingerprint(&key.path)?;
    let (of_key, of_other) = (key.public.as_str(), other.public.as_str());
    let lists = [
        (desk.krl("explicit", &[], &format!("key: {of_other}\nkey: {of_key}\n"))?, true),
        (desk.krl("plain", &[], &format!("{of_key}\n"))?, true),
        (desk.krl("sha1", &[], &format!("sha1: {of_key}\n"))?, true),
        (desk.krl("sha256", &[], &format!("sha256: {of_key}\n"))?, true),
        (desk.krl("hash", &[], &format!("hash: {hash}\n"))?, true),
        (
            desk.krl("another", &[], &format!("key: {of_other}\nsha1: {of_other}\nsha256: {of_other}\n"))?,
            false,
        ),
        (desk.krl("empty", &[], "")?, false),
        (desk.file("text", format!("# lost\n{of_other}\n{of_key}\n")), true),
        (desk.file("hashes", format!("{hash} lost\n")), true),
        (desk.file("text of another", of_other), false),
        (desk.file("nothing", ""), false),
    ];
    for (list, revoked) in &lists {
        let output = desk.verify(&["--revoked", &list.to_string_lossy()])?;
        let output = output.expect_code(if *revoked { 5 } else { 0 })?;
        assert_eq!(output.stderr().contains(&format!("its key {hash} is revoked")), *revoked, "{output}");
    }
    // Any of several lists is enough, and one that cannot be read is no list.
    let of = |name: &str| desk.path(name).to_string_lossy().into_owned();
    desk.refused(&["--revoked", &of("another"), "--revoked", &of("hash")])?;
    let whole = fs::read(desk.path("sha256")).expect("a list");
    desk.file("cut", &whole[..whole.len() - 1]);
    desk.file("words", "good\n\nMD5:aa\n");
    for (name, why) in
        [("cut", "cut off"), ("words", ":3: `MD5:aa` is no SHA256: fingerprint"), ("gone", "No such file")]
    {
        let output = desk.verify(&["--revoked", &of("another"), "--revoked", &of(name)])?.expect_code(2)?;
        assert!(output.stderr().contains(why) && output.stdout().is_empty(), "{output}");
    }
    Ok(())
}

#[test]
fn what_was_not_signed_by_the_right_one_over_these_bytes_is_refused() -> Result<()> {
    let desk = Desk::new()?;
    let (key, stranger) = (desk.key(KeyKind::Ed25519, "key")?, desk.key(KeyKind::Ed25519, "stranger")?);
    desk.file("signers", format!("amy {}\n", key.public));
    assert!(desk.refused(&[])?.contains("is not signed"));
    desk.sign_with(&stranger.path)?;
    let said = desk.refused(&[])?;
    assert!(
        said.contains("not among the allowed signers") && said.contains(&fingerprint(&stranger.path)?),
        "{said}"
    );
    desk.sign_with(&key.path)?;
    desk.verify(&[])?.expect_code(0)?;
    assert!(desk.refused(&["-I", "bob"])?.contains("allowed as amy, not as bob"));
    // Another module, and this one with a bit changed.
    let module = fs::read(&desk.task).expect("the module");
    let mut changed = module.clone();
    changed[4] ^= 1;
    for other in [changed, [&module[..], &[0]].concat(), Vec::new()] {
        fs::write(&desk.task, other).expect("written");
        assert!(desk.refused(&[])?.contains("not over these bytes"));
    }
    fs::write(&desk.task, &module).expect("written");
    // Made by the right key, for something else.
    let message = desk.message();
    let other_hash = format!("waft-task-v1\nblake3:{}\n", blake3::hash(b"another module").to_hex());
    let bytes = String::from_utf8(module.clone()).expect("text by chance");
    for (namespace, message, why) in [
        ("file", message.as_str(), "for the namespace `file`"),
        ("waft-task-v1", &message, "for the namespace `waft-task-v1`"),
        (NAMESPACE, &other_hash, "not over these bytes"),
        (NAMESPACE, &message.to_uppercase(), "not over these bytes"),
        (NAMESPACE, message.trim_end(), "not over these bytes"),
        (NAMESPACE, &bytes, "not over these bytes"),
    ] {
        desk.file("task.wasm.sig", desk.keygen_sign(&key.path, namespace, message)?);
        let said = desk.refused(&[])?;
        assert!(said.contains(why), "{said}");
    }
    Ok(())
}

#[test]
fn a_damaged_signature_file_is_refused_with_the_line() -> Result<()> {
    let desk = Desk::new()?;
    let key = desk.key(KeyKind::Ed25519, "key")?;
    desk.file("signers", format!("amy {}\n", key.public));
    desk.sign_with(&key.path)?;
    let good = fs::read_to_string(desk.signature()).expect("a signature");
    let lines: Vec<&str> = good.lines().collect();
    let cut = lines[..lines.len() - 1].join("\n");
    let huge = format!("{}\n{}{}\n", lines[0], "QUJD\n".repeat(100_000), lines[lines.len() - 1]);
    let damaged = [
        (String::new(), "is not signed"),
        ("\0\0\u{1b}[2J".to_owned(), ":1: signature: line 1: there is text outside"),
        (format!("# by amy\n\n{cut}"), "line 3: it is cut off"),
        (lines[..2].join("\n"), "it is cut off"),
        (good.replace(lines[1], &lines[1].replace('A', "?")), "no base64"),
        (good.replace(lines[1], &lines[1][4..]), "no SSH signature"),
        (lines[1..].join("\n"), "text outside"),
        (huge, "more than 32768 bytes"),
        (good.replace(lines[3], &lines[3].chars().rev().collect::<String>()), "signature"),
    ];
    for (text, why) in damaged {
        desk.file("task.wasm.sig", &text);
        let said = desk.refused(&[])?;
        assert!(said.contains(why) && !said.contains('\u{1b}'), "{said}");
        assert!(desk.keygen_verify("amy").is_err(), "{text}");
    }
    // More than is read at all, for each of the files.
    fs::File::create(desk.path("large")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    let large = desk.path("large").to_string_lossy().into_owned();
    for option in ["--signature", "--allowed-signers", "--revoked"] {
        let verify = Waft::new("verify")?.arg(&desk.task);
        let verify =
            if option == "--allowed-signers" { verify } else { verify.arg("-f").arg(desk.path("signers")) };
        let said = verify.args([option, &large]).run()?.expect_code(2)?.stderr();
        assert!(said.contains("has more than"), "{said}");
    }
    Ok(())
}

#[test]
fn allowed_signers_are_those_of_the_manual_and_every_bad_line_is_named() -> Result<()> {
    let desk = Desk::new()?;
    let key = desk.key(KeyKind::Ed25519, "key")?;
    desk.sign_with(&key.path)?;
    let public = &key.public;
    // By both programs: which principals a line gives, if any.
    for (line, principal, good) in [
        ("amy", "amy", true),
        ("*@example.com,!bob@*", "amy@example.com", true),
        ("*@example.com,!bob@*", "bob@example.com", false),
        ("\"amy\"", "amy", true),
        ("amy NAMESPACES=\"file,waft-*\"", "amy", true),
        ("amy namespaces=\"file\"", "amy", false),
        ("amy valid-after=\"20200101\",valid-before=\"20990101Z\"", "amy", true),
        ("amy valid-after=\"209901010000\"", "amy", false),
        ("amy valid-before=\"20200101120000Z\"", "amy", false),
        ("amy cert-authority", "amy", false),
    ] {
        desk.file("signers", format!("# who may\n\n{line} {public}\n"));
        assert_eq!(desk.keygen_verify(principal).is_ok(), good, "{line}");
        desk.verify(&["-I", principal])?.expect_code(if good { 0 } else { 5 })?;
    }
    desk.file("signers", format!("amy {public}\nbob zone=\"x\" {public}\n\ncarol ssh-ed25519 AAAA\n"));
    let output = desk.verify(&[])?.expect_code(2)?;
    let said = output.stderr();
    assert!(
        said.contains("signers:2: unknown option `zone`") && said.contains("signers:4: the key"),
        "{output}"
    );
    assert_eq!(output.stdout(), "");
    // Without the option it is the file in the configuration of the user.
    let verify = Waft::new("verify")?.arg(&desk.task);
    let said = verify.run()?.expect_code(2)?.stderr();
    assert!(said.contains("it is not said who may sign") && said.contains("--allowed-signers"), "{said}");
    let config = verify.home().join("config/waft");
    fs::create_dir(&config).expect("a directory");
    fs::write(config.join("allowed_signers"), format!("amy {public}\n")).expect("written");
    assert!(verify.run()?.expect_code(0)?.stdout().starts_with("good: amy "));
    Ok(())
}

#[test]
fn times_without_a_zone_are_those_of_this_machine() -> Result<()> {
    let desk = Desk::new()?;
    let key = desk.key(KeyKind::Ed25519, "key")?;
    desk.sign_with(&key.path)?;
    // What clocks show in UTC in an hour: those five hours ahead have shown it, those behind have not.
    let mut date = Command::new("date");
    date.args(["-u", "-d", "+1 hour", "+%Y%m%d%H%M%S"]);
    let soon = run_tool(date, b"")?.trim().to_owned();
    for (zone, suffix, code) in [("UTC", "", 5), ("XYZ-5", "", 0), ("XYZ-5", "Z", 5), ("XYZ5", "", 5)] {
        desk.file("signers", format!("amy valid-after=\"{soon}{suffix}\" {}\n", key.public));
        let verify = Waft::new("verify")?.arg(&desk.task).arg("-f").arg(desk.path("signers"));
        verify.env("TZ", zone).run()?.expect_code(code)?;
    }
    Ok(())
}
