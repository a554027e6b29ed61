use crate::desk::{Desk, hint};
use crate::tls::{Authority, ED25519, P256, P384, RSA, openssl};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use waft_tests::Result;

/// `openssl s_server` and its port; killed when dropped. What it says about connections is small and stays in the pipe.
struct Server(Child, u16, BufReader<ChildStdout>);

impl Server {
    fn start(key: &str, certificate: &str, words: &[&str]) -> Server {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-key", key, "-cert", certificate])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut server = Server(child, 0, said);
        let mut line = String::new();
        while server.1 == 0 {
            line.clear();
            assert!(server.2.read_line(&mut line).expect("a line") > 0, "the server does not listen");
            // `ACCEPT 127.0.0.1:PORT`.
            let port = line.strip_prefix("ACCEPT ").and_then(|at| at.trim().rsplit_once(':'));
            server.1 = port.map_or(0, |(_, port)| port.parse().expect("a port"));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_certificate_is_read_from_a_file_and_from_a_port() -> Result<()> {
    Desk::each(|desk| {
        let path = |name: &str| desk.path(name).display().to_string();
        let (key, pem) = (path("key"), path("cert"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-days",
            "30",
            "-subj",
            "/CN=www.example.com",
            "-addext",
            "subjectAltName=DNS:www.example.com,IP:127.0.0.1",
            "-out",
            &pem,
        ]);
        for file in [&key, &pem] {
            std::os::unix::fs::chown(file, desk.user().map(|user| user.uid), None).expect("an owner");
        }
        let read = format!("fs:{}", desk.dir().display());
        let answer = desk.answer("cert_check", &json!({"path": pem, "days": 14}), &[&read], false)?;
        assert_eq!(answer["subject"], "CN=www.example.com", "{answer}");
        assert_eq!(answer["subject_alt_name"], json!(["DNS:www.example.com", "IP:127.0.0.1"]));
        assert!(answer["days_left"] == 29 || answer["days_left"] == 30, "{answer}");
        let soon = desk.result("cert_check", &json!({"path": pem, "days": 31}), &[&read], &["--check"], 3)?;
        assert_eq!(soon["result"]["error"]["code"], "cert_check.days", "{soon}");
        let text = fs::read_to_string(&pem).expect("read");
        let same = desk.answer("cert_check", &json!({"content": text}), &[], false)?;
        assert_eq!(same["serial_number"], answer["serial_number"]);

        let server = Server::start(&key, &pem, &[]);
        let grant = format!("net:127.0.0.1:{}", server.1);
        let params = json!({"host": "127.0.0.1", "port": server.1, "server_name": "www.example.com"});
        // Without authorities nobody can tell.
        let shown = desk.answer("cert_check", &params, &[&grant], false)?;
        assert_eq!(shown["serial_number"], answer["serial_number"], "{shown}");
        assert_eq!(
            (&shown["verified"], &shown["verify_error"]["code"]),
            (&json!(null), &json!("tls.authorities"))
        );
        assert!(
            shown["verify_error"]["hint"].as_str().is_some_and(|hint| hint.contains("fs:/etc/ssl/certs"))
        );
        // Nor does that make a failure for another reason a refusal.
        let mut soon = params.clone();
        soon["days"] = json!(31);
        let failed = desk.result("cert_check", &soon, &[&grant], &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "cert_check.days", "{failed}");
        let shown = desk.answer("cert_check", &params, &[&grant, "fs:/etc/ssl/certs"], false)?;
        assert_eq!(
            (&shown["verified"], &shown["verify_error"]["code"]),
            (&json!(false), &json!("tls.unknown_issuer"))
        );
        let dry = desk.result("cert_check", &params, &[&grant], &["--check"], 0)?;
        assert_eq!(dry["result"]["skipped"], true, "{dry}");
        let refused = desk.result("cert_check", &params, &[], &[], 5)?;
        assert!(hint(&refused).ends_with(&format!("--allow {grant}")), "{refused}");
        drop(server);

        let refused = desk.result("cert_check", &json!({"path": pem}), &[], &[], 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        // What the manifest does not have starts nothing.
        for (bad, word) in
            [(json!({"path": pem, "day": 1}), "`day`"), (json!({"host": "x", "port": 0}), "`port`")]
        {
            let output = desk.run("cert_check", &bad, &[&read], &[])?.expect_code(2)?;
            assert!(output.stderr().contains(word), "{output}");
        }
        for (bad, word) in [
            (json!({}), "params.what"),
            (json!({"path": pem, "host": "x"}), "params.what"),
            (json!({"host": "x", "ca_path": "ca.pem"}), "params.ca_path"),
            (json!({"path": key}), "cert_check.form"),
            (json!({"path": path("none")}), "cert_check.read"),
        ] {
            let output = desk.run("cert_check", &bad, &[&read], &[])?.expect_code(3)?;
            assert!(format!("{output}").contains(word), "{bad}: {output}");
        }
        Ok(())
    })
}

/// What a server on loopback shows, by these authorities.
fn look(desk: &Desk, port: u16, more: &Value) -> Result<Value> {
    let mut params = json!({"host": "127.0.0.1", "port": port});
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let read = format!("fs:{}", desk.dir().display());
    desk.answer("cert_check", &params, &[&format!("net:127.0.0.1:{port}"), &read], false)
}

#[test]
fn servers_of_all_kinds_are_verified() -> Result<()> {
    let desk = Desk::new()?;
    let authority = Authority::new(desk.path("tls"));
    for (name, key) in [("rsa", RSA), ("p256", P256), ("p384", P384), ("ed25519", ED25519)] {
        authority.sign(name, key, "IP:127.0.0.1");
    }
    let file = |name: &str, end: &str| authority.path(&format!("{name}.{end}"));
    for (name, version, words) in [
        ("rsa", "TLSv1.2", &["-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-sigalgs", "RSA+SHA512"][..]),
        ("rsa", "TLSv1.3", &["-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "P-384"]),
        ("p256", "TLSv1.2", &["-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "-groups", "P-256"]),
        ("p256", "TLSv1.2", &["-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "-groups", "X25519"]),
        ("p384", "TLSv1.3", &["-ciphersuites", "TLS_AES_256_GCM_SHA384", "-groups", "X25519"]),
        ("ed25519", "TLSv1.3", &["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-groups", "P-256"]),
    ] {
        let only = if version == "TLSv1.2" { "-tls1_2" } else { "-tls1_3" };
        let server = Server::start(&file(name, "key"), &file(name, "pem"), &[&[only], words].concat());
        let shown = look(&desk, server.1, &json!({"ca_path": file("ca", "pem")}))?;
        assert_eq!(
            (&shown["verified"], &shown["tls_version"], &shown["subject"]),
            (&json!(true), &json!(version), &json!(format!("CN={name}"))),
            "{words:?} {shown}"
        );
    }
    // A way to agree on a key that this task does not have: what is shown is seen all the same.
    let server =
        Server::start(&file("rsa", "key"), &file("rsa", "pem"), &["-tls1_2", "-cipher", "AES128-SHA"]);
    let shown = look(&desk, server.1, &json!({"ca_path": file("ca", "pem")}))?;
    assert_eq!((&shown["verified"], &shown["subject"]), (&json!(false), &json!("CN=rsa")), "{shown}");
    assert_eq!(shown["verify_error"]["code"], "tls.alert", "{shown}");
    Ok(())
}

#[test]
fn what_is_not_to_be_believed_is_shown_with_the_reason() -> Result<()> {
    let desk = Desk::new()?;
    let authority = Authority::new(desk.path("tls"));
    authority.sign("ip", P256, "IP:127.0.0.1");
    authority.sign("named", RSA, "DNS:a.example");
    authority.sign_late("late", "IP:127.0.0.1");
    authority.sign_early("early", "IP:127.0.0.1");
    authority.sign_below("deep", "IP:127.0.0.1");
    authority.selfsigned("own", P256, "subjectAltName=IP:127.0.0.1");
    let file = |name: &str| authority.path(&format!("{name}.pem"));
    let ca = json!({"ca_path": file("ca")});
    for (name, code) in [
        ("own", "tls.unknown_issuer"),
        ("named", "tls.name"),
        ("late", "tls.expired"),
        ("early", "tls.not_yet_valid"),
    ] {
        let server = authority.serve(name, json!({}));
        let shown = look(&desk, server.port, &ca)?;
        assert_eq!((&shown["verified"], &shown["subject"]), (&json!(false), &json!(format!("CN={name}"))));
        assert_eq!(shown["verify_error"]["code"], code, "{shown}");
        assert_eq!(shown["expired"], json!(name == "late"), "{shown}");
    }
    // What an authority below has signed is good when that is shown as well.
    let deep = look(&desk, authority.serve("deep", json!({})).port, &ca)?;
    assert_eq!(deep["verified"], json!(true), "{deep}");
    assert_eq!(deep["certificates"].as_array().map(Vec::len), Some(2), "{deep}");
    let alone = look(&desk, authority.serve("deep-alone", json!({})).port, &ca)?;
    assert_eq!(alone["verify_error"]["code"], "tls.unknown_issuer", "{alone}");
    let own = look(&desk, authority.serve("own", json!({})).port, &json!({"ca_path": file("own")}))?;
    assert_eq!(own["verified"], json!(true), "{own}");
    // A name decides which site is meant, and is what is verified.
    let sites = json!({"sni": {"a.example": [file("named"), authority.path("named.key")]}});
    let server = authority.serve("ip", sites);
    for (more, subject) in [(json!({}), "CN=ip"), (json!({"server_name": "a.example"}), "CN=named")] {
        let mut more = more;
        more["ca_path"] = json!(file("ca"));
        let shown = look(&desk, server.port, &more)?;
        assert_eq!((&shown["verified"], &shown["subject"]), (&json!(true), &json!(subject)), "{shown}");
    }
    // One that wants to know whom it shows that to.
    for version in ["1.2", "1.3"] {
        let strict = json!({"clients": file("ca"), "min": version, "max": version});
        let shown = look(&desk, authority.serve("ip", strict).port, &ca)?;
        assert_eq!((&shown["verified"], &shown["subject"]), (&json!(true), &json!("CN=ip")), "{shown}");
    }
    let plain = authority.serve("ip", json!({"plain": true}));
    let params = json!({"host": "127.0.0.1", "port": plain.port});
    let failed = desk.result("cert_check", &params, &[&plain.grant()], &[], 3)?;
    assert_eq!(failed["result"]["error"]["code"], "tls.none", "{failed}");
    Ok(())
}
