//! Connections, blobs, other tasks, secrets, the log and progress.

use crate::Error;
use crate::call::{Host, ask, moved};
use serde::Deserialize;
use serde::Serialize;

/// The longest that the host tries to connect, milliseconds.
const CONNECT_MS_MAX: u32 = 60_000;

/// How a called task ended.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Called {
    /// `ok`, `changed`, `failed`, ..
    pub status: String,
    pub exit_code: Option<u32>,
    pub signal: Option<i32>,
    pub ms: u64,
    /// Its stdout, when that was one JSON object.
    pub result: Option<serde_json::Value>,
    pub stdout: Option<String>,
    #[serde(default)]
    pub stdout_truncated: bool,
    pub problem: Option<Error>,
    /// In place of `stdout`, when that is no text.
    pub stdout_base64: Option<String>,
}

impl Called {
    /// What it wrote, when that was no JSON object.
    pub fn stdout_bytes(&self) -> Result<Vec<u8>, Error> {
        crate::exec::bytes(self.stdout.clone(), self.stdout_base64.clone())
    }
}

/// A parameter that is a file of the controller: `-p NAME@FILE`. Its bytes are a blob; the grant for it is given.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// 64 hex digits.
    pub hash: String,
    pub bytes: u64,
    /// What the file is called on the controller, without its directories.
    pub name: String,
}

impl File {
    pub fn open(&self) -> Result<Blob, Error> {
        Blob::open(&self.hash)
    }
}

#[derive(Deserialize)]
struct Opened {
    handle: u32,
}

#[derive(Deserialize)]
struct Secret {
    value: Option<String>,
    base64: Option<String>,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Serialize)]
struct Name<'a, P> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a P>,
}

#[derive(Serialize)]
struct Emit<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress<'a>>,
}

#[derive(Serialize)]
struct Progress<'a> {
    done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

#[derive(Serialize)]
struct Net<'a> {
    op: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<u32>,
}

fn secret_of(host: &mut impl Host, name: &str) -> Result<Vec<u8>, Error> {
    let Secret { value, base64 } = ask(host, "secret", Host::secret, &Name::<()> { name, params: None })?;
    crate::exec::bytes(value, base64)
}

fn call<P: Serialize>(host: &mut impl Host, name: &str, params: &P) -> Result<Called, Error> {
    ask(host, "task", Host::task, &Name { name, params: Some(params) })
}

fn emit(host: &mut impl Host, emit: &Emit<'_>) -> Result<(), Error> {
    ask::<_, Nothing>(host, "emit", Host::emit, emit).map(drop)
}

fn open_net(host: &mut impl Host, name: &str, port: u16, limit_ms: Option<u32>) -> Result<u32, Error> {
    let timeout_ms = limit_ms.map(|limit| limit.clamp(1, CONNECT_MS_MAX));
    let idle_ms = limit_ms.map(|limit| limit.max(1));
    let request = Net { op: "open", host: Some(name), port: Some(port), timeout_ms, idle_ms, handle: None };
    ask::<_, Opened>(host, "net", Host::net, &request).map(|opened| opened.handle)
}

fn open_blob(host: &mut impl Host, hash: &str) -> Result<u32, Error> {
    #[derive(Serialize)]
    struct Hash<'a> {
        hash: &'a str,
    }
    ask::<_, Opened>(host, "blob", Host::blob, &Hash { hash }).map(|opened| opened.handle)
}

fn write(host: &mut impl Host, handle: u32, bytes: &[u8]) -> std::io::Result<usize> {
    let count = host.write(handle, bytes);
    moved(host, "write", count, bytes.len()).map_err(std::io::Error::other)
}

fn read(host: &mut impl Host, handle: u32, into: &mut [u8]) -> std::io::Result<usize> {
    let count = host.read(handle, into);
    moved(host, "read", count, into.len()).map_err(std::io::Error::other)
}

mod guest {
    use super::{Called, Emit, Host, Net, Nothing, Progress, ask};
    use crate::Error;
    use crate::call::Imports;
    use serde::{Deserialize, Serialize};
    use std::io;
    use std::time::Duration;

    /// A line for the log of the run.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::{Dialog, Fake}, serde_json::{Value, json}};
    /// # let host = Fake::new();
    /// # host.run(|_: Value| -> Result<Outcome, Error> {
    /// waft_sdk::log("three packages to go")?;
    /// # Ok(Outcome::ok()) }, json!({})).unwrap();
    /// ```
    pub fn log(text: &str) -> Result<(), Error> {
        super::emit(&mut Imports, &Emit { log: Some(text), progress: None })
    }

    /// How far the task is. Cheap to call often: one in 100 ms is passed on, and the last one.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::{Dialog, Fake}, serde_json::{Value, json}};
    /// # let host = Fake::new();
    /// # host.run(|_: Value| -> Result<Outcome, Error> {
    /// waft_sdk::progress(3, Some(9), Some("packages"))?;
    /// # Ok(Outcome::ok()) }, json!({})).unwrap();
    /// ```
    pub fn progress(done: u64, total: Option<u64>, text: Option<&str>) -> Result<(), Error> {
        super::emit(&mut Imports, &Emit { log: None, progress: Some(Progress { done, total, text }) })
    }

    /// The value of a secret. Needs the grant `secret:NAME`.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::{Dialog, Fake}, serde_json::{Value, json}};
    /// # let host = Fake::new().secret("db/password", "geheim");
    /// # host.run(|_: Value| -> Result<Outcome, Error> {
    /// assert_eq!(waft_sdk::secret("db/password")?, b"geheim");
    /// # Ok(Outcome::ok()) }, json!({})).unwrap();
    /// ```
    pub fn secret(name: &str) -> Result<Vec<u8>, Error> {
        super::secret_of(&mut Imports, name)
    }

    /// Runs another task, with no more than this one may do. Needs the grant `call:NAME`.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::{Dialog, Fake}, serde_json::{Value, json}};
    /// # let host = Fake::new().task("file", Ok(Outcome::changed(true)));
    /// # host.run(|_: Value| -> Result<Outcome, Error> {
    /// let called = waft_sdk::call_task("file", &json!({"path": "/srv/app", "state": "directory"}))?;
    /// assert_eq!(called.status, "changed");
    /// # Ok(Outcome::ok()) }, json!({})).unwrap();
    /// ```
    pub fn call_task<P: Serialize>(name: &str, params: &P) -> Result<Called, Error> {
        super::call(&mut Imports, name, params)
    }

    /// The addresses of a host that a grant names, as text.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::{Dialog, Fake}, serde_json::{Value, json}};
    /// # let host = Fake::new().net("db.internal", 5432, Dialog::new());
    /// # host.run(|_: Value| -> Result<Outcome, Error> {
    /// let addresses = waft_sdk::resolve("db.internal")?;
    /// assert!(!addresses.is_empty());
    /// # Ok(Outcome::ok()) }, json!({})).unwrap();
    /// ```
    pub fn resolve(host: &str) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Addresses {
            addresses: Vec<String>,
        }
        let request = Net {
            op: "resolve",
            host: Some(host),
            port: None,
            timeout_ms: None,
            idle_ms: None,
            handle: None,
        };
        ask::<_, Addresses>(&mut Imports, "net", Host::net, &request).map(|found| found.addresses)
    }

    /// A TCP connection, held by the host; closed when dropped. Needs the grant `net:HOST:PORT`.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::{Dialog, Fake}, serde_json::{Value, json}};
    /// # let host = Fake::new().net("db.internal", 6379, Dialog::new().expect("PING\r\n").answer("+PONG\r\n"));
    /// # host.run(|_: Value| -> Result<Outcome, Error> {
    /// use std::io::{Read, Write};
    /// let mut connection = waft_sdk::Connection::open("db.internal", 6379)?;
    /// connection.write_all(b"PING\r\n")?;
    /// let mut answer = [0; 7];
    /// connection.read_exact(&mut answer)?;
    /// assert_eq!(&answer, b"+PONG\r\n");
    /// # Ok(Outcome::ok()) }, json!({})).unwrap();
    /// ```
    #[derive(Debug)]
    pub struct Connection(u32);

    impl Connection {
        pub fn open(host: &str, port: u16) -> Result<Connection, Error> {
            super::open_net(&mut Imports, host, port, None).map(Connection)
        }

        /// That waits so long for the connection, and for each read and write: these fail then with `net.timeout`, and
        /// can be tried again.
        pub fn open_within(host: &str, port: u16, limit_ms: u32) -> Result<Connection, Error> {
            super::open_net(&mut Imports, host, port, Some(limit_ms)).map(Connection)
        }

        /// Says that nothing more will be written.
        pub fn shutdown(&mut self) -> Result<(), Error> {
            self.say("shutdown")
        }

        fn say(&mut self, op: &str) -> Result<(), Error> {
            let request =
                Net { op, host: None, port: None, timeout_ms: None, idle_ms: None, handle: Some(self.0) };
            ask::<_, Nothing>(&mut Imports, "net", Host::net, &request).map(drop)
        }
    }

    impl Drop for Connection {
        fn drop(&mut self) {
            // One that is gone already needs no closing.
            let _ = self.say("close");
        }
    }

    impl io::Read for Connection {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            super::read(&mut Imports, self.0, into)
        }
    }

    impl io::Write for Connection {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            super::write(&mut Imports, self.0, bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Connection {
        /// The same, with the address that was connected to, and how long that may take: 1 ms to a minute, ten seconds when
        /// not said.
        pub fn connect(
            host: &str,
            port: u16,
            within: Option<Duration>,
        ) -> Result<(Connection, String), Error> {
            #[derive(Serialize)]
            struct Open<'a> {
                op: &'a str,
                host: &'a str,
                port: u16,
                #[serde(skip_serializing_if = "Option::is_none")]
                timeout_ms: Option<u64>,
            }
            #[derive(Deserialize)]
            struct Opened {
                handle: u32,
                address: String,
            }
            // What does not fit is more than the host takes: it says so.
            let timeout_ms = within.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
            let request = Open { op: "open", host, port, timeout_ms };
            let opened: Opened = ask(&mut Imports, "net", Host::net, &request)?;
            Ok((Connection(opened.handle), opened.address))
        }
    }

    /// A file that was sent with the run. Needs the grant `blob:HASH`.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::{Dialog, Fake}, serde_json::{Value, json}};
    /// # let host = Fake::new();
    /// # let param = host.blob("app.conf", "listen 80\n");
    /// # let hash = param["hash"].as_str().unwrap();
    /// # host.run(|_: Value| -> Result<Outcome, Error> {
    /// use std::io::Read;
    /// let mut text = String::new();
    /// waft_sdk::Blob::open(hash)?.read_to_string(&mut text)?;
    /// assert_eq!(text, "listen 80\n");
    ///
    /// // Only a part; and how long the whole is.
    /// let (mut part, bytes) = waft_sdk::Blob::open_part(hash, 7, Some(2))?;
    /// text.clear();
    /// part.read_to_string(&mut text)?;
    /// assert_eq!((text.as_str(), bytes), ("80", 10));
    /// # Ok(Outcome::ok()) }, json!({})).unwrap();
    /// ```
    #[derive(Debug)]
    pub struct Blob(u32);

    impl Blob {
        /// `hash`: 64 hex digits.
        pub fn open(hash: &str) -> Result<Blob, Error> {
            super::open_blob(&mut Imports, hash).map(Blob)
        }

        /// Bytes of it from `offset`, at most `length`; and how many all of it has.
        pub fn open_part(hash: &str, offset: u64, length: Option<u64>) -> Result<(Blob, u64), Error> {
            #[derive(Serialize)]
            struct Part<'a> {
                hash: &'a str,
                offset: u64,
                #[serde(skip_serializing_if = "Option::is_none")]
                length: Option<u64>,
            }
            #[derive(Deserialize)]
            struct Opened {
                handle: u32,
                bytes: u64,
            }
            let request = Part { hash, offset, length };
            let opened: Opened = ask(&mut Imports, "blob", Host::blob, &request)?;
            Ok((Blob(opened.handle), opened.bytes))
        }
    }

    impl Drop for Blob {
        fn drop(&mut self) {
            #[derive(Serialize)]
            struct Close {
                close: u32,
            }
            let _ = ask::<_, Nothing>(&mut Imports, "blob", Host::blob, &Close { close: self.0 });
        }
    }

    impl io::Read for Blob {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            super::read(&mut Imports, self.0, into)
        }
    }
}

pub use guest::{Blob, Connection, call_task, log, progress, resolve, secret};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    #[test]
    fn requests_are_as_the_host_takes_them() {
        let mut host = Script::replying("{}");
        emit(&mut host, &Emit { log: Some("a\nb"), progress: None }).unwrap();
        assert_eq!(host.asked(), r#"{"log":"a\nb"}"#);
        let progress = Progress { done: 1, total: Some(2), text: None };
        emit(&mut host, &Emit { log: None, progress: Some(progress) }).unwrap();
        assert_eq!(host.asked(), r#"{"progress":{"done":1,"total":2}}"#);
        let mut host = Script::replying(r#"{"handle":7,"address":"10.0.0.5:5432"}"#);
        assert_eq!(open_net(&mut host, "db.internal", 5432, None), Ok(7));
        assert_eq!(host.asked(), r#"{"op":"open","host":"db.internal","port":5432}"#);
        assert_eq!(open_net(&mut host, "db", 1, Some(90_000)), Ok(7));
        assert_eq!(host.asked(), r#"{"op":"open","host":"db","port":1,"timeout_ms":60000,"idle_ms":90000}"#);
        let mut host = Script::replying(r#"{"base64":"/w=="}"#);
        assert_eq!(secret_of(&mut host, "db/password"), Ok(vec![0xff]));
        assert_eq!(host.asked(), r#"{"name":"db/password"}"#);
        let reply = r#"{"status":"changed","exit_code":0,"signal":null,"ms":4,"problem":null,"result":{"changed":true}}"#;
        let mut host = Script::replying(reply);
        let called = call(&mut host, "facts", &serde_json::json!({"a": 1})).unwrap();
        assert_eq!(
            (called.status.as_str(), called.result),
            ("changed", Some(serde_json::json!({"changed": true})))
        );
        assert_eq!(host.asked(), r#"{"name":"facts","params":{"a":1}}"#);
    }

    #[test]
    fn bytes_are_read_to_the_end_and_failures_have_reasons() {
        let mut host = Script::replying("abc");
        let mut into = [0; 2];
        assert_eq!((read(&mut host, 1, &mut into).unwrap(), &into), (2, b"ab"));
        assert_eq!((read(&mut host, 1, &mut into).unwrap(), into[0]), (1, b'c'));
        assert_eq!(read(&mut host, 1, &mut into).unwrap(), 0);
        assert_eq!(write(&mut host, 1, b"abcdef").unwrap(), 3, "as many as the host took");
        let mut host = Script::replying(r#"{"handle":1073741824,"bytes":3}"#);
        assert_eq!(open_blob(&mut host, "00ff"), Ok(1 << 30));
        assert_eq!(host.asked(), r#"{"hash":"00ff"}"#);
        let mut host =
            Script { code: -4, ..Script::replying(r#"{"error":{"code":"net.closed","message":"Gone."}}"#) };
        assert_eq!(read(&mut host, 1, &mut into).unwrap_err().to_string(), "Gone.");
        let mut host = Script { code: -1, ..Script::default() };
        assert!(read(&mut host, 1, &mut into).unwrap_err().to_string().contains("-1"));
    }
}
