use crate::desk::{Desk, hint};
use crate::files::{has_acl, needs_grants, no_remains, put, set_acl, text};
use crate::tls::{Authority, P256, RSA};
use crate::web::{Page, serve};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};
use waft_tests::Result;

/// More than it takes until the first bytes are written.
const PART_LIMIT: Duration = Duration::from_secs(20);

const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_file_is_downloaded_and_only_when_it_has_to_be() -> Result<()> {
    Desk::each(|desk| {
        let large = vec![b'x'; 300_000];
        let (port, asked) = serve(vec![
            Page::text(200, "abc"),
            Page::text(200, "abc"),
            Page::text(200, "abc"),
            Page::text(200, "other"),
            Page::text(200, "abc"),
            Page::text(200, large.clone()),
            Page::text(404, "none"),
        ]);
        let (base, net, rw) =
            (format!("http://127.0.0.1:{port}"), format!("net:127.0.0.1:{port}"), desk.rw());
        let (grants, path) = ([net.as_str(), rw.as_str()], desk.path("file"));
        let url = format!("{base}/file?x=1");

        // Into a directory, under its own name.
        let params = json!({"url": url, "dest": desk.dir(), "checksum": ABC, "mode": "0640"});
        let first = desk.answer("get_url", &params, &grants, true)?;
        assert_eq!((&first["dest"], &first["size"]), (&json!(path), &json!(3)), "{first}");
        assert_eq!(first["checksum_dest"], ABC);
        let uid = desk.user().map_or(rustix::process::getuid().as_raw(), |user| user.uid);
        let made = fs::metadata(&path).expect("it is there");
        assert_eq!(
            (fs::read(&path).expect("read"), made.permissions().mode() & 0o777, made.uid()),
            (b"abc".to_vec(), 0o640, uid)
        );
        // It is there: nobody is asked.
        desk.answer("get_url", &params, &grants, false)?;
        desk.answer("get_url", &json!({"url": url, "dest": path}), &grants, false)?;
        // But for a directory, which does not say which file.
        let again = desk.answer("get_url", &json!({"url": url, "dest": desk.dir()}), &grants, false)?;
        assert_eq!(again["status_code"], 200, "{again}");
        // Asked, and the same.
        let same =
            desk.answer("get_url", &json!({"url": url, "dest": path, "force": true}), &grants, false)?;
        assert_eq!(same["status_code"], 200, "{same}");
        // Another: the mode stays.
        desk.answer("get_url", &json!({"url": url, "dest": path, "force": true}), &grants, true)?;
        let now = fs::metadata(&path).expect("it is there");
        assert_eq!(
            (fs::read(&path).expect("read"), now.permissions().mode() & 0o777),
            (b"other".to_vec(), 0o640)
        );
        // What is not as it should be takes nobody's place.
        let wrong = json!({"url": url, "dest": path, "checksum": ABC.replace("ba", "00")});
        let failed = desk.result("get_url", &wrong, &grants, &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "get_url.checksum", "{failed}");
        assert_eq!(fs::read(&path).expect("read"), b"other");
        let hash = format!("blake3:{}", blake3::hash(&large).to_hex());
        desk.answer("get_url", &json!({"url": url, "dest": path, "checksum": hash}), &grants, true)?;
        assert_eq!(fs::read(&path).expect("read"), large);
        let failed = desk.result("get_url", &json!({"url": url, "dest": desk.path("b")}), &grants, &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "get_url.status", "{failed}");
        assert_eq!(fs::read_dir(desk.dir()).expect("read").count(), 1, "nothing of a download is left");
        assert_eq!(asked.join().expect("all were asked").len(), 7);
        Ok(())
    })
}

/// Reads what was asked, and answers with the first bytes of six.
fn begin(listener: &TcpListener, first: &[u8]) -> TcpStream {
    let (mut connection, _) = listener.accept().expect("somebody");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n").expect("written");
    connection.write_all(first).expect("written");
    connection
}

#[test]
fn nobody_reads_a_file_that_is_not_all_there() -> Result<()> {
    let desk = Desk::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let dir = desk.dir().to_owned();
    let halfway = std::thread::spawn(move || {
        let mut connection = begin(&listener, b"abc");
        let began = Instant::now();
        let part = loop {
            let mut entries = fs::read_dir(&dir).expect("read").map(|entry| entry.expect("an entry"));
            let part = entries.find_map(|entry| entry.metadata().ok().filter(|part| part.len() == 3));
            if part.is_some() || began.elapsed() > PART_LIMIT {
                break part;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        connection.write_all(b"def").expect("written");
        part.map(|part| part.permissions().mode() & 0o777)
    });
    let path = desk.path("file");
    let params = json!({"url": format!("http://127.0.0.1:{port}/file"), "dest": path, "mode": "0644"});
    desk.answer("get_url", &params, &[&format!("net:127.0.0.1:{port}"), &desk.rw()], true)?;
    assert_eq!(halfway.join().expect("it was asked"), Some(0o600));
    let made = fs::metadata(&path).expect("it is there");
    assert_eq!((made.len(), made.permissions().mode() & 0o777), (6, 0o644));
    Ok(())
}

#[test]
fn what_cannot_be_downloaded_is_said() -> Result<()> {
    Desk::each(|desk| {
        let (url, rw, path) = ("http://127.0.0.1:9/x", desk.rw(), desk.path("x"));
        let params = json!({"url": url, "dest": path});
        let refused = desk.result("get_url", &params, &[&rw], &[], 5)?;
        assert!(hint(&refused).ends_with("--allow net:127.0.0.1:9"), "{refused}");
        let refused = desk.result("get_url", &params, &["net:127.0.0.1:9"], &[], 5)?;
        assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
        // The directory comes first: nobody is asked for what has no place.
        needs_grants(desk, "get_url", &params)?;
        let grants = [rw.as_str(), "net:127.0.0.1:9"];
        let dry = desk.result("get_url", &params, &grants, &["--check"], 0)?;
        assert_eq!(dry["status"], "changed", "{dry}");
        assert!(
            dry["result"]["msg"].as_str().is_some_and(|msg| msg.contains("would be downloaded")),
            "{dry}"
        );
        assert!(!path.exists());
        // What the manifest does not have starts nothing; what only the task can tell is its failure.
        for (bad, code, word) in [
            (json!({"url": url}), 2, "`dest`"),
            (json!({"url": url, "dest": path, "checksum": "md5:00"}), 2, "`checksum`"),
            (json!({"url": url, "dest": path, "validate_certs": 3}), 2, "`validate_certs`"),
            (json!({"url": url, "dest": "x"}), 3, "params.dest"),
            (json!({"url": url, "dest": path, "mode": "rw"}), 3, "params.mode"),
            (json!({"url": url, "dest": format!("{}/no/", desk.dir().display())}), 3, "get_url.dest"),
            (json!({"url": url, "dest": path, "ca_path": "ca.pem"}), 3, "params.ca_path"),
            (json!({"url": url, "dest": path, "client_cert": "c.pem"}), 3, "params.client_cert"),
        ] {
            let output = desk.run("get_url", &bad, &grants, &[])?.expect_code(code)?;
            assert!(format!("{output}").contains(word), "{bad}: {output}");
        }
        Ok(())
    })
}

#[test]
fn two_runs_at_once_have_a_file_each_until_it_is_all_there() -> Result<()> {
    let desk = Desk::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (path, net, rw) = (desk.path("file"), format!("net:127.0.0.1:{port}"), desk.rw());
    let params = json!({"url": format!("http://127.0.0.1:{port}/file"), "dest": path, "force": true});
    std::thread::scope(|scope| -> Result<()> {
        let first = scope.spawn(|| desk.answer("get_url", &params, &[&net, &rw], true));
        let mut halfway = begin(&listener, b"fir");
        // The second begins and ends while the first waits for the rest of its file.
        let second = scope.spawn(|| desk.answer("get_url", &params, &[&net, &rw], true));
        drop(begin(&listener, b"second"));
        second.join().expect("no panic")?;
        assert_eq!(text(&path), "second");
        halfway.write_all(b"st.").expect("written");
        first.join().expect("no panic")?;
        assert_eq!(text(&path), "first.");
        no_remains(&desk);
        Ok(())
    })
}

#[test]
fn an_acl_and_attributes_of_the_file_before_are_kept() -> Result<()> {
    let desk = Desk::new()?;
    let path = put(&desk, "file", "old");
    if !set_acl(&path) {
        eprintln!("SKIPPED (no attributes on this file system): ACLs of files that are replaced");
        return Ok(());
    }
    let (port, asked) = serve(vec![Page::text(200, "new")]);
    let params = json!({"url": format!("http://127.0.0.1:{port}/"), "dest": path, "force": true});
    desk.answer("get_url", &params, &[&format!("net:127.0.0.1:{port}"), &desk.rw()], true)?;
    assert_eq!(text(&path), "new");
    has_acl(&path);
    assert_eq!(asked.join().expect("it was asked").len(), 1);
    Ok(())
}

/// Of the file that is downloaded by TLS, and so more than any buffer on its way.
const LARGE_BYTES: usize = 10 << 20;

#[test]
fn a_large_file_comes_by_tls_whole_or_not_at_all() -> Result<()> {
    Desk::each(|desk| {
        let authority = Authority::new(desk.path("tls"));
        authority.sign("rsa", RSA, "DNS:localhost");
        authority.sign("ec", P256, "IP:127.0.0.1");
        let line = "0123456789abcdef";
        let hash =
            format!("blake3:{}", blake3::hash(line.repeat(LARGE_BYTES / line.len()).as_bytes()).to_hex());
        let large = |cut: bool, length: &str| {
            json!({"head": format!("HTTP/1.1 200 OK\r\n{length}"), "body": line, "times": LARGE_BYTES / line.len(),
                   "cut": cut})
        };
        let pages = json!({"/app": large(false, "Content-Length: LENGTH\r\n"), "/open": large(false, ""),
                           "/cut": large(true, "")});
        let (rw, ca, path) = (desk.rw(), authority.path("ca.pem"), desk.path("app"));
        for (name, version, from) in [("rsa", "1.2", "/app"), ("ec", "1.3", "/open")] {
            let server = authority.serve(name, json!({"pages": pages, "min": version, "max": version}));
            let host = if name == "rsa" { "localhost" } else { "127.0.0.1" };
            let (url, net) =
                (format!("https://{host}:{}{from}", server.port), format!("net:{host}:{}", server.port));
            let params = json!({"url": url, "dest": path, "checksum": hash, "ca_path": ca});
            let got = desk.answer("get_url", &params, &[&rw, &net], true)?;
            assert_eq!((&got["size"], &got["checksum_dest"]), (&json!(LARGE_BYTES), &json!(hash)), "{got}");
            assert_eq!(fs::metadata(&path).expect("it is there").len(), LARGE_BYTES as u64);
            desk.answer("get_url", &params, &[&rw, &net], false)?;
            fs::remove_file(&path).expect("removed");
        }
        let server = authority.serve("ec", json!({"pages": pages}));
        // An end that TLS did not tell of could be anybody's.
        let params = json!({"url": server.url("/cut"), "dest": path, "ca_path": ca});
        let failed = desk.result("get_url", &params, &[&rw, &server.grant()], &[], 3)?;
        let error = &failed["result"]["error"];
        assert_eq!(error["code"], "http.connection", "{failed}");
        assert!(
            error["message"].as_str().is_some_and(|text| text.contains("something may be missing")),
            "{failed}"
        );
        // Somebody else's server gets no place either.
        let params =
            json!({"url": format!("https://localhost:{}/app", server.port), "dest": path, "ca_path": ca});
        let net = format!("net:localhost:{}", server.port);
        let failed = desk.result("get_url", &params, &[&rw, &net], &[], 3)?;
        assert_eq!(failed["result"]["error"]["code"], "tls.name", "{failed}");
        let names: Vec<_> = fs::read_dir(desk.dir())
            .expect("read")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, ["tls"], "nothing of a download is left");
        // What the server does not have to be is said, too.
        let anybody = json!({"url": format!("https://localhost:{}/app", server.port), "dest": path, "validate_certs": false});
        desk.answer("get_url", &anybody, &[&rw, &net], true)?;
        let plain = json!({"url": server.url("/app"), "dest": desk.path("b")});
        let refused = desk.result("get_url", &plain, &[&rw, &server.grant()], &[], 5)?;
        assert!(hint(&refused).contains("--allow fs:/etc/ssl/certs"), "{refused}");
        Ok(())
    })
}
