//! Connections: to what was not granted, by names that lead elsewhere, by handles of others, and too many of them.

use crate::say::{read, reply, write};
use guests::report::Report;
use serde_json::{Value, json};

fn open(host: &str, port: u64) -> Value {
    json!({"op": "open", "host": host, "port": port, "timeout_ms": 2000})
}

/// The handle and address, or the code of the problem.
fn connect(host: &str, port: u64) -> Result<(i32, String), String> {
    let answer = reply("net", &open(host, port));
    match (answer["handle"].as_i64(), answer["error"]["code"].as_str()) {
        (Some(handle), None) => {
            let address = answer["address"].as_str().unwrap_or_default().to_owned();
            Ok((i32::try_from(handle).expect("a handle has 32 bits"), address))
        }
        (_, code) => Err(code.unwrap_or("no code").to_owned()),
    }
}

fn close(handle: i32) -> Option<String> {
    reply("net", &json!({"op": "close", "handle": handle}))["error"]["code"].as_str().map(str::to_owned)
}

/// Must be refused with this code.
fn refused(report: &mut Report, what: &str, found: Result<String, String>, code: &str) {
    let held = found.as_ref().is_err_and(|found| found == code);
    report.refused(|| format!("{what}: {found:?} instead of {code}"), u16::from(held));
}

/// The server sends its own name to whoever comes.
fn word(handle: i32) -> String {
    let mut buffer = [0; 64];
    let read = read(handle, &mut buffer).unwrap_or_default();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// `port` of 127.0.0.1 is granted; `other` listens as well, there and at 127.0.0.2, and is not.
pub(crate) fn net(report: &mut Report, params: &Value) {
    let port = params["port"].as_u64().expect("a port");
    let other = params["other"].as_u64().expect("a port");
    let mut granted = -1;
    match connect("127.0.0.1", port) {
        Ok((handle, address)) => {
            granted = handle;
            report.works("the address", u16::from(address != format!("127.0.0.1:{port}")));
            report.works("what it says", u16::from(word(handle) != "granted"));
        }
        Err(code) => report.lost(format!("the granted address: {code}")),
    }
    let connected = |host: &str, port| connect(host, port).map(|(_, address)| address);
    for (host, at) in [
        ("127.0.0.1", other),
        ("127.0.0.2", port),
        ("localhost", port),
        ("127.1", port),
        ("2130706433", port),
        ("0x7f.1", port),
        ("0177.0.0.1", port),
        ("127.0.0.1.", port),
        ("::ffff:127.0.0.1", port),
        ("[::ffff:127.0.0.1]", port),
        ("::1", port),
        ("0.0.0.0", port),
        ("169.254.169.254", 80),
        ("fd00:ec2::254", 80),
        ("10.0.0.1", 22),
        ("not-granted.test", port),
        ("127.0.0.1\0.allowed", port),
        ("127.0.0.1 ", port),
        ("127.0.0.1\n", port),
        ("127.0.0.1%lo", port),
        ("user@127.0.0.1", port),
        ("127.0.0.1/", port),
        // No other kinds of address: neither files nor names of the abstract kind.
        ("unix:/run/dbus/system_bus_socket", 1),
        ("/run/dbus/system_bus_socket", 1),
        ("/var/run/docker.sock", 1),
        ("\0waft-abstract", 1),
        ("@waft-abstract", 1),
        ("", port),
    ] {
        refused(report, &format!("connect to {host:?} {at}"), connected(host, at), "grant.missing");
        let resolved = reply("net", &json!({"op": "resolve", "host": host}));
        if host != "127.0.0.1" {
            let code = resolved["error"]["code"]
                .as_str()
                .map_or(Ok("resolved".to_owned()), |code| Err(code.to_owned()));
            refused(report, &format!("resolve {host:?}"), code, "grant.missing");
        }
    }
    for request in [
        json!({"op": "listen", "host": "127.0.0.1", "port": port}),
        json!({"op": "open", "host": "127.0.0.1", "port": 0}),
        json!({"op": "open", "host": "127.0.0.1", "port": 65536 + port}),
        json!({"op": "open", "host": "127.0.0.1", "port": port, "family": "unix"}),
        json!({"op": "open", "path": "/run/dbus/system_bus_socket"}),
        json!({"op": "open", "host": ["127.0.0.1"], "port": port}),
        json!({"op": "open", "host": "a".repeat(100_000), "port": port}),
        json!({"op": "open", "host": "127.0.0.1", "port": port, "timeout_ms": 0}),
        json!({"op": "open", "host": "127.0.0.1", "port": port, "timeout_ms": u64::MAX}),
    ] {
        let answer = reply("net", &request);
        let code =
            answer["error"]["code"].as_str().map_or(Ok(answer.to_string()), |code| Err(code.to_owned()));
        let text: String = request.to_string().chars().take(80).collect();
        refused(report, &text, code, "net.request");
    }
    // Handles that this execution was not given: of one before it, of descriptors, of nothing.
    let mut buffer = [0; 16];
    for handle in [0, -1, 2, 3, 16, 77, i32::MAX, i32::MIN] {
        for (what, found) in
            [("read from", read(handle, &mut buffer)), ("write to", write(handle, b"stolen"))]
        {
            // Large numbers are those of blobs.
            let held = found.as_ref().is_err_and(|code| match handle {
                0..1000 => code == "net.handle",
                _ => matches!(code.as_str(), "blob.handle" | "blob.read_only"),
            });
            report.refused(|| format!("{what} {handle}: {found:?}"), u16::from(held));
        }
        for op in ["close", "shutdown"] {
            let answer = reply("net", &json!({"op": op, "handle": handle}));
            let code = answer["error"]["code"].as_str().unwrap_or("none");
            let held = code == if handle < 0 { "net.request" } else { "net.handle" };
            report.refused(|| format!("{op} {handle}: {answer}"), u16::from(held));
        }
    }
    // What the task is asked for is more than its memory; what it gives is as large as that.
    report.works("write", u16::from(write(granted, b"mine").is_err()));
    let mut large = vec![0; 4 << 20];
    let got = read(granted, &mut large);
    report.works("a large read", u16::from(!got.is_ok_and(|got| (1..=32 << 10).contains(&got))));
    let taken = write(granted, &large);
    report.works("a large write", u16::from(!taken.is_ok_and(|taken| (1..=32 << 10).contains(&taken))));
    report.works("close", u16::from(close(granted).is_some()));
    refused(report, "read what is closed", read(granted, &mut buffer).map(|_| String::new()), "net.handle");
    report.works("close twice", u16::from(close(granted).as_deref() != Some("net.handle")));
}

/// Names, as the target resolves them: `turns.localhost` stands for another address each time it is asked for, and the rest for
/// what no name may stand for.
pub(crate) fn names(report: &mut Report, params: &Value) {
    let port = params["port"].as_u64().expect("a port");
    let expected = params["expected"].as_str().expect("an address");
    for turn in 0..3 {
        match connect("turns.localhost", port) {
            Ok((handle, address)) => {
                let said = word(handle);
                let held = address == format!("{expected}:{port}");
                report.refused(|| format!("turn {turn} went to {address}"), u16::from(held));
                report.works("what it says", u16::from(said != "granted"));
                let _ = close(handle);
            }
            Err(code) => report.lost(format!("turn {turn}: {code}")),
        }
        // A look in between changes nothing.
        let looked = reply("net", &json!({"op": "resolve", "host": "turns.localhost"}));
        report.works("look", u16::from(looked["addresses"] != json!([expected])));
    }
    for host in params["bad"].as_array().expect("names").iter().filter_map(Value::as_str) {
        let found = connect(host, port).map(|(_, address)| address);
        refused(report, host, found, "net.address");
        let looked = reply("net", &json!({"op": "resolve", "host": host}));
        report.refused(
            || format!("resolve {host}: {looked}"),
            u16::from(looked["error"]["code"] == "net.address"),
        );
    }
    for host in params["none"].as_array().expect("names").iter().filter_map(Value::as_str) {
        let found = connect(host, port).map(|(_, address)| address);
        refused(report, host, found, "net.resolve");
    }
}

/// As many connections as it can get, and then thousands, one after the other.
pub(crate) fn many(report: &mut Report, params: &Value) {
    let port = params["port"].as_u64().expect("a port");
    let mut held = Vec::new();
    let end = loop {
        match connect("127.0.0.1", port) {
            Ok((handle, _)) => held.push(handle),
            Err(code) => break code,
        }
        if held.len() > 1000 {
            break "no limit".to_owned();
        }
    };
    report.note("most", held.len());
    report.note("end", end);
    let unique: std::collections::BTreeSet<_> = held.iter().collect();
    report.works("each has a handle of its own", u16::from(unique.len() != held.len()));
    let _ = held.split_off(1).into_iter().map(close).collect::<Vec<_>>();
    let count = params["count"].as_u64().expect("a number");
    let (mut made, mut highest) = (0u64, held[0]);
    for _ in 0..count {
        match connect("127.0.0.1", port) {
            Ok((handle, _)) => {
                made += 1;
                report.works("handles are not used twice", u16::from(handle <= highest));
                highest = handle;
                let _ = close(handle);
            }
            Err(code) => report.lost(format!("connection {made}: {code}")),
        }
    }
    report.note("made", made);
    report.works("the first is still open", u16::from(close(held[0]).is_some()));
}

/// Writes to somebody who does not read, for ever.
pub(crate) fn flood(params: &Value) {
    let (handle, _) = connect("127.0.0.1", params["port"].as_u64().expect("a port")).expect("granted");
    let bytes = vec![b'x'; 32 << 10];
    while write(handle, &bytes).is_ok() {}
}

/// Reads from somebody who says nothing, and leaves more connections open.
pub(crate) fn silence(params: &Value) {
    let port = params["port"].as_u64().expect("a port");
    let all: Vec<_> = (0..3).map(|_| connect("127.0.0.1", port).expect("granted")).collect();
    let handle = all[0].0;
    let mut buffer = [0; 16];
    while read(handle, &mut buffer).is_ok_and(|read| read > 0) {}
    // It gave up by itself, which the test must see.
    println!("the peer ended");
}
