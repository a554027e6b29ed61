use crate::desk::{Desk, hint};
use crate::tls::{Authority, P256, page};
use crate::web::{Page, nobody, serve};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use waft_tests::Result;

#[test]
fn a_port_is_waited_for() -> Result<()> {
    Desk::each(|desk| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let grant = format!("net:127.0.0.1:{port}");
        let speaks = std::thread::spawn(move || {
            // Those who only look, and the one who listens.
            for connection in listener.incoming().take(2) {
                let _ = connection.expect("somebody").write_all(b"220 ready\r\nmail 4.2\r\n");
            }
        });
        let open = desk.answer("wait_for", &json!({"port": port, "timeout": 20}), &[&grant], false)?;
        assert_eq!((&open["state"], &open["port"]), (&json!("started"), &json!(port)), "{open}");
        let params = json!({"port": port, "search_regex": "^mail (?<major>[0-9]+)", "timeout": 20});
        let said = desk.answer("wait_for", &params, &[&grant], false)?;
        assert_eq!(
            (&said["match_groups"], &said["match_groupdict"]),
            (&json!(["4"]), &json!({"major": "4"})),
            "{said}"
        );
        speaks.join().expect("both came");
        let (kept, port) = nobody();
        let grant = format!("net:127.0.0.1:{port}");
        desk.answer("wait_for", &json!({"port": port, "state": "stopped", "timeout": 20}), &[&grant], false)?;
        let late = json!({"port": port, "timeout": 1, "sleep": 0.2, "msg": "nobody there"});
        let failed = desk.result("wait_for", &late, &[&grant], &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "wait_for.timeout", "{failed}");
        assert_eq!(failed["result"]["msg"], "nobody there");

        let refused = desk.result("wait_for", &json!({"port": port}), &[], &[], 5)?;
        assert!(hint(&refused).ends_with(&format!("--allow {grant}")), "{refused}");
        let dry = desk.result("wait_for", &json!({"port": port}), &[&grant], &["--check"], 0)?;
        assert_eq!((&dry["status"], &dry["result"]["skipped"]), (&json!("ok"), &json!(true)), "{dry}");
        drop(kept);
        Ok(())
    })
}

#[test]
fn a_file_is_waited_for_and_what_is_in_it() -> Result<()> {
    Desk::each(|desk| {
        let (path, grant) = (desk.path("log"), desk.rw());
        let wait = |more: serde_json::Value| {
            let mut params = json!({"path": path, "timeout": 30, "sleep": 0.05});
            params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            params
        };
        desk.answer("wait_for", &wait(json!({"state": "absent"})), &[&grant], false)?;
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                desk.answer(
                    "wait_for",
                    &wait(json!({"search_regex": "ready in ([0-9]+) ms"})),
                    &[&grant],
                    false,
                )
            });
            fs::write(&path, "starting\n").expect("written");
            fs::write(&path, "starting\nready in 12 ms\n").expect("written");
            let found = waits.join().expect("no panic")?;
            assert_eq!(found["match_groups"], json!(["12"]), "{found}");
            Ok::<_, waft_tests::Error>(())
        })?;
        desk.answer("wait_for", &wait(json!({"state": "present"})), &[&grant], false)?;
        // A dry run reads, and nothing else.
        let dry = desk.result("wait_for", &wait(json!({})), &[&grant], &["--check"], 0)?;
        assert_eq!(dry["result"]["state"], "started", "{dry}");
        let still =
            desk.result("wait_for", &wait(json!({"state": "absent", "timeout": 1})), &[&grant], &[], 3)?;
        assert!(still["result"]["msg"].as_str().is_some_and(|msg| msg.contains("it is there")), "{still}");
        let refused = desk.result("wait_for", &wait(json!({})), &[], &[], 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        // What nobody may look at is neither gone nor without a match.
        for more in [json!({"state": "absent"}), json!({"search_regex": "x"})] {
            let refused = desk.result("wait_for", &wait(more), &[], &[], 5)?;
            assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        }
        // Behind more than is searched at a time, at the beginning of a line.
        let long = "a line of no use\n".repeat(1_200_000) + "ready in 34 ms\n";
        fs::write(&path, long).expect("written");
        let last = wait(json!({"search_regex": "^ready in ([0-9]+) ms$", "timeout": 1}));
        let found = desk.answer("wait_for", &last, &[&grant], false)?;
        assert_eq!(found["match_groups"], json!(["34"]), "{found}");
        Ok(())
    })
}

#[test]
fn a_web_server_is_waited_for_and_bad_parameters_are_said() -> Result<()> {
    let desk = Desk::new()?;
    let (port, asked) = serve(vec![Page::status(503), Page::status(503), Page::text(204, "")]);
    let (url, grant) = (format!("http://127.0.0.1:{port}/health"), format!("net:127.0.0.1:{port}"));
    let params = json!({"url": url, "status": [200, 204], "sleep": 0.05, "timeout": 30});
    desk.answer("wait_for", &params, &[&grant], false)?;
    assert_eq!(asked.join().expect("three times").len(), 3);
    // What the manifest does not have starts nothing; what only the task can tell is its failure.
    for (bad, code, word) in [
        (json!({"port": 0}), 2, "`port`"),
        (json!({"port": 1, "state": "open"}), 2, "`state`"),
        (json!({"port": 1, "sleep": 0}), 2, "`sleep`"),
        (json!({"url": "https://127.0.0.1/", "validate_certs": "perhaps"}), 2, "`validate_certs`"),
        (json!({}), 3, "params.what"),
        (json!({"port": 1, "path": "/x"}), 3, "params.what"),
        (json!({"path": "x"}), 3, "params.path"),
        (json!({"port": 1, "search_regex": "("}), 3, "params.search_regex"),
        (json!({"port": 1, "state": "stopped", "search_regex": "x"}), 3, "params.search_regex"),
        (json!({"url": "ftp://127.0.0.1/"}), 3, "params.url"),
        (json!({"url": "https://127.0.0.1/", "ca_path": "x"}), 3, "params.ca_path"),
    ] {
        let output = desk.run("wait_for", &bad, &["net:127.0.0.1:1"], &[])?.expect_code(code)?;
        assert!(format!("{output}").contains(word), "{bad}: {output}");
    }
    Ok(())
}

#[test]
fn an_address_is_gone_when_its_port_is_closed() -> Result<()> {
    let desk = Desk::new()?;
    let port_of = |listener: &TcpListener| listener.local_addr().expect("bound").port();
    let gone = |port: u16, timeout: u32, code: i32| {
        let params =
            json!({"url": format!("http://127.0.0.1:{port}/"), "state": "stopped", "timeout": timeout});
        desk.result("wait_for", &params, &[&format!("net:127.0.0.1:{port}")], &[], code)
    };
    let still = |port: u16| {
        let failed = gone(port, 0, 3)?;
        let error = &failed["result"]["error"];
        let is_open = error["message"].as_str().is_some_and(|text| text.contains("the port is open"));
        assert!(error["code"] == "wait_for.timeout" && is_open, "{failed}");
        Ok::<_, waft_tests::Error>(())
    };
    // One that speaks something else. It takes one connection: there is one look.
    let mail = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = port_of(&mail);
    let speaks = std::thread::spawn(move || {
        let (mut connection, _) = mail.accept().expect("somebody");
        let _ = connection.write_all(b"220 ready\r\n");
    });
    still(port)?;
    speaks.join().expect("somebody came");
    // One that takes connections and never answers.
    let hangs = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = port_of(&hangs);
    still(port)?;
    let (kept, port) = nobody();
    gone(port, 20, 0)?;
    drop((hangs, kept));
    Ok(())
}

#[test]
fn a_web_server_is_waited_for_by_tls() -> Result<()> {
    Desk::each(|desk| {
        let authority = Authority::new(desk.path("tls"));
        authority.sign("ec", P256, "IP:127.0.0.1");
        authority.sign_late("late", "IP:127.0.0.1");
        let (read, ca) = (format!("fs:{}", desk.dir().display()), authority.path("ca.pem"));
        let server = authority.serve("ec", json!({"pages": {"/health": page("version 4.2")}}));
        let url = server.url("/health");
        let params = json!({"url": url, "ca_path": ca, "search_regex": "version ([0-9])", "timeout": 30});
        let found = desk.answer("wait_for", &params, &[&read, &server.grant()], false)?;
        assert_eq!(found["match_groups"], json!(["4"]), "{found}");
        let refused = desk.result("wait_for", &json!({"url": url}), &[&server.grant()], &[], 5)?;
        assert!(hint(&refused).contains("--allow fs:/etc/ssl/certs"), "{refused}");
        let grant = server.grant();
        drop(server);
        let gone = json!({"url": url, "ca_path": ca, "state": "absent", "timeout": 30});
        desk.answer("wait_for", &gone, &[&read, &grant], false)?;
        // Waiting does not mend a certificate: said at once, long before it is given up.
        let late = authority.serve("late", json!({}));
        let params = json!({"url": late.url("/"), "ca_path": ca, "timeout": 86_400});
        let failed = desk.result("wait_for", &params, &[&read, &late.grant()], &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "tls.expired", "{failed}");
        let params = json!({"url": late.url("/"), "validate_certs": false, "timeout": 30});
        desk.answer("wait_for", &params, &[&late.grant()], false)?;
        // Of what has to go only its port is of interest.
        let timeout = |params: &serde_json::Value, grant: &str, seen: &str| {
            let failed = desk.result("wait_for", params, &[&read, grant], &[], 3)?;
            let error = &failed["result"]["error"];
            let is_seen = error["message"].as_str().is_some_and(|text| text.contains(seen));
            assert!(error["code"] == "wait_for.timeout" && is_seen, "{failed}");
            Ok::<_, waft_tests::Error>(())
        };
        let still =
            json!({"url": late.url("/"), "ca_path": ca, "state": "absent", "timeout": 1, "sleep": 0.1});
        timeout(&still, &late.grant(), "the port is open")?;
        // Its own files are not what is waited for.
        let mut odd = still;
        odd["state"] = json!("present");
        odd["ca_path"] = json!(authority.path("config"));
        let failed = desk.result("wait_for", &odd, &[&read, &late.grant()], &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "tls.file", "{failed}");
        // One that breaks off may not be ready yet.
        let strict = authority.serve("ec", json!({"clients": ca, "max": "1.2"}));
        let params = json!({"url": strict.url("/"), "ca_path": ca, "timeout": 1, "sleep": 0.1});
        timeout(&params, &strict.grant(), "alert")?;
        // Something else that speaks there may be replaced by what is waited for.
        let plain = authority.serve("ec", json!({"plain": true}));
        let params = json!({"url": plain.url("/"), "ca_path": ca, "timeout": 1, "sleep": 0.1});
        let failed = desk.result("wait_for", &params, &[&read, &plain.grant()], &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "wait_for.timeout", "{failed}");
        Ok(())
    })
}
