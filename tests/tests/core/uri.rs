use crate::desk::{Desk, hint};
use crate::tls::{Authority, P256, P384, RSA, SHORT};
use crate::web::{Page, nobody, serve};
use serde_json::{Value, json};
use std::net::TcpListener;
use waft_tests::Result;

/// More than a server that does not read takes before it is gone.
const BODY_BYTES: usize = 800_000;

#[test]
fn a_web_server_is_asked_and_told() -> Result<()> {
    let desk = Desk::new()?;
    let kind = |page: Page| page.header("Content-Type", "application/json").header("X-Own", "a");
    let (port, asked) = serve(vec![
        kind(Page::text(200, "{\"a\": [1]}")),
        Page::status(302).header("Location", "/other"),
        Page::text(200, "text"),
        kind(Page::text(201, "{}")),
        Page::text(404, "no such thing"),
    ]);
    let (base, grant) = (format!("http://127.0.0.1:{port}"), format!("net:127.0.0.1:{port}"));
    let answer = desk.answer("uri", &json!({"url": base}), &[&grant], false)?;
    assert_eq!(
        (&answer["status"], &answer["json"], &answer["x_own"]),
        (&json!(200), &json!({"a": [1]}), &json!("a"))
    );
    let params = json!({"url": format!("{base}/x"), "return_content": true, "user": "me", "password": "pw"});
    let answer = desk.answer("uri", &params, &[&grant], false)?;
    assert_eq!(answer["url"], format!("{base}/other"), "{answer}");
    assert_eq!((&answer["content"], &answer["redirected"]), (&json!("text"), &json!(true)));
    let params = json!({"url": base, "method": "post", "body": {"b": 1}, "body_format": "json",
        "headers": {"X-Mine": "y"}, "status_code": [200, 201]});
    desk.answer("uri", &params, &[&grant], false)?;
    let failed = desk.result("uri", &json!({"url": base}), &[&grant], &[], 3)?;
    assert_eq!(
        (&failed["result"]["status"], &failed["result"]["content"]),
        (&json!(404), &json!("no such thing"))
    );
    assert_eq!(failed["result"]["error"]["code"], "uri.status", "{failed}");
    let asked = asked.join().expect("all were asked");
    assert!(
        asked[1].contains("Authorization: Basic bWU6cHc=") && asked[2].starts_with("GET /other "),
        "{asked:?}"
    );
    assert!(
        asked[3].contains("X-Mine: y") && asked[3].contains("Content-Type: application/json"),
        "{asked:?}"
    );
    assert!(asked[3].starts_with("POST / ") && asked[3].ends_with("{\"b\":1}"), "{asked:?}");
    Ok(())
}

#[test]
fn json_that_waft_could_not_read_takes_nothing_else_with_it() -> Result<()> {
    let desk = Desk::new()?;
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let texts = [r#"{"n": "\ud83d"}"#, "[1e400]", deep.as_str()];
    let pages = texts.map(|text| Page::text(200, text).header("Content-Type", "application/json"));
    let (port, asked) = serve(pages.into());
    let (url, grant) = (format!("http://127.0.0.1:{port}"), format!("net:127.0.0.1:{port}"));
    for text in texts {
        let params = json!({"url": url, "return_content": true});
        let answer = desk.answer("uri", &params, &[&grant], false)?;
        assert_eq!((&answer["status"], &answer["content"]), (&json!(200), &json!(text)), "{answer}");
        let is_said = answer["msg"].as_str().is_some_and(|msg| msg.contains("`json` is left out"));
        assert!(is_said && answer.get("json").is_none(), "{answer}");
    }
    asked.join().expect("all were asked");
    Ok(())
}

#[test]
fn what_cannot_be_asked_is_said() -> Result<()> {
    Desk::each(|desk| {
        let refused = desk.result("uri", &json!({"url": "http://127.0.0.1:9/"}), &[], &[], 5)?;
        assert!(hint(&refused).ends_with("--allow net:127.0.0.1:9"), "{refused}");
        // A redirect leads no further than what is granted.
        let (port, asked) = serve(vec![Page::status(302).header("Location", "http://127.0.0.2:9/")]);
        let (url, grant) = (format!("http://127.0.0.1:{port}/"), format!("net:127.0.0.1:{port}"));
        let refused = desk.result("uri", &json!({"url": url}), &[&grant], &[], 5)?;
        assert!(hint(&refused).ends_with("--allow net:127.0.0.2:9"), "{refused}");
        asked.join().expect("it was asked once");
        let (kept, port) = nobody();
        let (url, grant) = (format!("http://127.0.0.1:{port}/"), format!("net:127.0.0.1:{port}"));
        let closed = desk.result("uri", &json!({"url": url}), &[&grant], &[], 3)?;
        drop(kept);
        assert_eq!(closed["result"]["error"]["code"], "net.refused", "{closed}");
        // In a dry run nobody is asked, whatever the method, and that is said.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        silent.set_nonblocking(true).expect("a listener");
        let free = silent.local_addr().expect("bound");
        for (scheme, method) in [("http", "GET"), ("https", "GET"), ("http", "DELETE")] {
            let params = json!({"url": format!("{scheme}://{free}/"), "method": method});
            let dry = desk.result("uri", &params, &[&format!("net:{free}")], &["--check"], 0)?;
            assert_eq!((&dry["status"], &dry["result"]["skipped"]), (&json!("ok"), &json!(true)), "{dry}");
            assert!(dry["result"]["msg"].as_str().is_some_and(|msg| msg.contains("was not asked")), "{dry}");
        }
        assert!(silent.accept().is_err(), "a dry run asked");
        // What the manifest does not have starts nothing; what only the task can tell is its failure.
        for (bad, code, word) in [
            (json!({}), 2, "`url`"),
            (json!({"url": url, "method": "GET /x"}), 2, "`method`"),
            (json!({"url": url, "body_format": "xml", "body": "x"}), 2, "`body_format`"),
            (json!({"url": url, "follow_redirects": "perhaps"}), 2, "`follow_redirects`"),
            (json!({"url": url, "validate_certs": "perhaps"}), 2, "`validate_certs`"),
            (json!({"url": "127.0.0.1"}), 3, "params.url"),
            (json!({"url": url, "headers": {"A": "b\r\nC: d"}}), 3, "params.headers"),
            (json!({"url": url, "ca_path": "ca.pem"}), 3, "params.ca_path"),
            (json!({"url": url, "client_key": "/k"}), 3, "params.client_key"),
        ] {
            let output = desk.run("uri", &bad, &[&grant], &[])?.expect_code(code)?;
            assert!(format!("{output}").contains(word), "{bad}: {output}");
        }
        Ok(())
    })
}

/// What the task itself says went wrong.
fn fault(desk: &Desk, params: &Value, grants: &[&str]) -> Result<(String, String)> {
    let failed = desk.result("uri", params, grants, &[], 3)?;
    let error = &failed["result"]["error"];
    let part = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{failed}")).to_owned();
    Ok((part("code"), format!("{}\n{}", part("message"), part("hint"))))
}

#[test]
fn a_server_is_asked_by_tls_and_has_to_be_who_it_says() -> Result<()> {
    Desk::each(|desk| {
        let authority = Authority::new(desk.path("tls"));
        authority.sign("rsa", RSA, "IP:127.0.0.1");
        authority.sign("ec", P384, "IP:127.0.0.1");
        authority.sign("other", P256, "DNS:other.example,DNS:www.other.example");
        authority.sign_late("late", "IP:127.0.0.1");
        authority.selfsigned("own", P256, "subjectAltName=IP:127.0.0.1");
        let (read, ca) = (format!("fs:{}", desk.dir().display()), authority.path("ca.pem"));
        let params = |url: String, ca: &str| json!({"url": url, "ca_path": ca, "return_content": true});
        for (name, version) in [("rsa", "1.2"), ("ec", "1.3")] {
            let server = authority.serve(name, json!({"min": version, "max": version}));
            let answer =
                desk.answer("uri", &params(server.url("/"), &ca), &[&read, &server.grant()], false)?;
            assert_eq!((&answer["status"], &answer["content"]), (&json!(200), &json!("text")), "{answer}");
        }
        for (name, code, words) in [
            ("other", "tls.name", &["expected 127.0.0.1, and it is for other.example"][..]),
            ("late", "tls.expired", &["2021-01-01T00:00:00Z", "clock"]),
            ("own", "tls.unknown_issuer", &[ca.as_str(), "`ca_path`"]),
        ] {
            let server = authority.serve(name, json!({}));
            let url = server.url("/");
            let (said, text) = fault(desk, &params(url.clone(), &ca), &[&read, &server.grant()])?;
            assert_eq!(said, code, "{text}");
            assert!(
                text.contains(&format!("127.0.0.1:{}", server.port))
                    && words.iter().all(|word| text.contains(word)),
                "{text}"
            );
            let anybody = json!({"url": url, "validate_certs": false, "return_content": true});
            assert_eq!(desk.answer("uri", &anybody, &[&server.grant()], false)?["content"], "text");
        }
        let server = authority.serve("own", json!({}));
        // The certificate itself can be named.
        let own = params(server.url("/"), &authority.path("own.pem"));
        assert_eq!(desk.answer("uri", &own, &[&read, &server.grant()], false)?["content"], "text");
        // The bundle of the system is asked for, and does not know it.
        let plain = json!({"url": server.url("/")});
        let refused = desk.result("uri", &plain, &[&server.grant()], &[], 5)?;
        assert!(hint(&refused).contains("--allow fs:/etc/ssl/certs"), "{refused}");
        let (said, text) = fault(desk, &plain, &["fs:/etc/ssl/certs", &server.grant()])?;
        assert!(
            said == "tls.unknown_issuer" && text.contains("/etc/ssl/certs/ca-certificates.crt"),
            "{text}"
        );
        let (said, text) = fault(desk, &params(server.url("/"), &authority.path("config")), &[&read])?;
        assert!(said == "tls.file" && text.contains("/config holds no certificates"), "{said} {text}");
        Ok(())
    })
}

#[test]
fn old_certificates_are_taken_where_nobody_is_verified() -> Result<()> {
    let desk = Desk::new()?;
    let authority = Authority::new(desk.path("tls"));
    authority.old("v1", P256);
    authority.old("v1-short", SHORT);
    authority.selfsigned("odd", SHORT, "1.2.3.4=critical,DER:0500");
    authority.sign("short", SHORT, "IP:127.0.0.1");
    let (read, ca) = (format!("fs:{}", desk.dir().display()), authority.path("ca.pem"));
    for (name, version, code) in [
        ("v1", "1.2", "tls.certificate"),
        ("v1-short", "1.2", "tls.certificate"),
        ("v1-short", "1.3", "tls.certificate"),
        ("odd", "1.3", "tls.certificate"),
        ("short", "1.2", "tls.signature"),
        ("short", "1.3", "tls.signature"),
    ] {
        let weak = json!({"min": version, "max": version, "ciphers": "DEFAULT:@SECLEVEL=0"});
        let server = authority.serve(name, weak);
        let anybody = json!({"url": server.url("/"), "validate_certs": false, "return_content": true});
        let answer = desk.answer("uri", &anybody, &[&server.grant()], false)?;
        assert_eq!(answer["content"], "text", "{name} {version}");
        let strict = json!({"url": server.url("/"), "ca_path": ca});
        let (said, text) = fault(&desk, &strict, &[&read, &server.grant()])?;
        assert_eq!(said, code, "{name} {version} {text}");
        assert_eq!(text.contains("fewer than 2048 bits"), code == "tls.signature", "{text}");
    }
    Ok(())
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_one() -> Result<()> {
    Desk::each(|desk| {
        let authority = Authority::new(desk.path("tls"));
        authority.sign("ec", P256, "IP:127.0.0.1");
        authority.sign("other", RSA, "DNS:me");
        let owner = |path: &str| {
            std::os::unix::fs::chown(path, desk.user().map(|user| user.uid), None).expect("an owner");
        };
        owner(&authority.path("other.key"));
        let (read, ca) = (format!("fs:{}", desk.dir().display()), authority.path("ca.pem"));
        let base = |url: String| json!({"url": url, "ca_path": ca, "return_content": true});
        for (me, key, version) in [("me-rsa", RSA, "1.3"), ("me-384", P384, "1.2")] {
            authority.sign(me, key, "DNS:me");
            let own = authority.path(&format!("{me}.key"));
            owner(&own);
            let server = authority.serve("ec", json!({"clients": ca, "min": version, "max": version}));
            let mut params = base(server.url("/"));
            let (said, text) = fault(desk, &params, &[&read, &server.grant()])?;
            assert!(said == "tls.alert" && text.contains(&server.port.to_string()), "{said} {text}");
            params["client_cert"] = json!(authority.path(&format!("{me}.pem")));
            if version == "1.3" {
                let (said, text) = fault(desk, &params, &[&read, &server.grant()])?;
                assert!(said == "tls.client_key" && text.contains("`client_key`"), "{said} {text}");
            }
            // A key of somebody else is noticed before anybody is asked.
            params["client_key"] = json!(authority.path("other.key"));
            let (said, text) = fault(desk, &params, &[&read, &server.grant()])?;
            assert!(said == "tls.client_key" && text.contains("another key"), "{said} {text}");
            params["client_key"] = json!(own);
            let answer = desk.answer("uri", &params, &[&read, &server.grant()], false)?;
            assert_eq!(answer["content"], me, "{answer}");
            // Not where a redirect leads.
            let to = format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {}\r\n", server.url("/"));
            let leads = authority.serve("ec", json!({"pages": {"/": {"head": to}}}));
            params["url"] = json!(leads.url("/"));
            let (said, text) = fault(desk, &params, &[&read, &server.grant(), &leads.grant()])?;
            assert!(said == "tls.alert" && text.contains(&server.port.to_string()), "{said} {text}");
        }
        Ok(())
    })
}

#[test]
fn a_body_is_whole_by_tls_and_redirects_lead_to_it_and_back() -> Result<()> {
    let desk = Desk::new()?;
    let authority = Authority::new(desk.path("tls"));
    authority.sign("ec", P256, "IP:127.0.0.1");
    let (read, ca) = (format!("fs:{}", desk.dir().display()), authority.path("ca.pem"));
    let base = |url: String| json!({"url": url, "ca_path": ca, "return_content": true});
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}");
    let server = authority.serve(
        "ec",
        json!({"pages": {
            "/whole": {"head": head(""), "body": "all of it"},
            "/cut": {"head": head(""), "body": "half of it", "cut": true},
            "/short": {"head": head("Content-Length: 99\r\n"), "body": "x"},
            "/done": {"head": head("Content-Length: LENGTH\r\n"), "body": "x", "cut": true},
            "/early": {"head": "HTTP/1.1 413 Much\r\nContent-Length: LENGTH\r\n", "body": "too much", "cut": true},
        }}),
    );
    let grants = [read.as_str(), &server.grant()];
    for (path, body) in [("/whole", "all of it"), ("/done", "x")] {
        assert_eq!(desk.answer("uri", &base(server.url(path)), &grants, false)?["content"], body);
    }
    for path in ["/cut", "/short"] {
        let failed = desk.result("uri", &base(server.url(path)), &grants, &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "http.connection", "{path} {failed}");
    }
    // One that answers and is gone before it has read all.
    let mut much = base(server.url("/early"));
    much["method"] = json!("POST");
    much["body"] = json!("x".repeat(BODY_BYTES));
    much["status_code"] = json!(413);
    assert_eq!(desk.answer("uri", &much, &grants, false)?["content"], "too much");
    let plain = authority.serve("ec", json!({"plain": true}));
    let (said, text) = fault(&desk, &base(plain.url("/")), &[&read, &plain.grant()])?;
    assert!(said == "tls.none", "{said} {text}");
    assert!(text.contains(&format!("127.0.0.1:{}", plain.port)), "{text}");

    // From one to the other and back.
    let (port, asked) =
        serve(vec![Page::status(302).header("Location", server.url("/whole")), Page::text(200, "back")]);
    let http = format!("net:127.0.0.1:{port}");
    let there = base(format!("http://127.0.0.1:{port}/"));
    let refused = desk.result("uri", &json!({"url": server.url("/whole")}), &[&read], &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    let answer = desk.answer("uri", &there, &[&read, &http, &server.grant()], false)?;
    assert_eq!((&answer["content"], &answer["url"]), (&json!("all of it"), &json!(server.url("/whole"))));
    let location =
        format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:{port}/\r\n");
    let back = authority.serve("ec", json!({"pages": {"/": {"head": location}}}));
    let refused = desk.result("uri", &base(back.url("/")), &[&read, &back.grant()], &[], 5)?;
    assert!(hint(&refused).ends_with(&format!("--allow {http}")), "{refused}");
    let answer = desk.answer("uri", &base(back.url("/")), &[&read, &http, &back.grant()], false)?;
    assert_eq!((&answer["content"], &answer["redirected"]), (&json!("back"), &json!(true)));
    asked.join().expect("both were asked");
    Ok(())
}
