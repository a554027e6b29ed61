//! An authority, certificates of it, and a web server by TLS that shows them.

use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const SERVER: &str = include_str!("tls_server.py");

/// What keys are made of, as `openssl req` has it.
pub(crate) const RSA: &[&str] = &["rsa:2048"];
/// Shorter than what is believed.
pub(crate) const SHORT: &[&str] = &["rsa:1024"];
pub(crate) const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub(crate) const P384: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub(crate) const ED25519: &[&str] = &["ed25519"];

/// Of certificates: a year that is over, one that has not begun, and some that are now.
const OVER: [&str; 2] = ["20200101000000Z", "20210101000000Z"];
const EARLY: [&str; 2] = ["20480101000000Z", "20490101000000Z"];
const VALID: [&str; 2] = ["20250101000000Z", "20490101000000Z"];

pub(crate) fn openssl(words: &[&str]) {
    let done = Command::new("openssl").args(words).output().expect("openssl");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority with its files in a directory.
pub(crate) struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// The directory is made.
    pub(crate) fn new(dir: PathBuf) -> Authority {
        fs::create_dir(&dir).expect("a directory");
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("a mode");
        let authority = Authority { dir };
        let path = |name: &str| authority.path(name);
        fs::write(path("index"), "").expect("written");
        let config = format!(
            "[ca]\ndefault_ca=own\n[own]\ndatabase={}\nnew_certs_dir={}\nrand_serial=yes\npolicy=any\ndefault_md=sha256\n\
             unique_subject=no\n[any]\ncommonName=supplied\n",
            path("index"),
            authority.dir.display()
        );
        fs::write(path("config"), config).expect("written");
        authority.selfsigned("ca", P256, "basicConstraints=critical,CA:TRUE");
        authority
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// NAME.pem and NAME.key, signed by itself.
    pub(crate) fn selfsigned(&self, name: &str, key: &[&str], extension: &str) {
        let (subject, own, pem) =
            (format!("/CN={name}"), self.path(&format!("{name}.key")), self.path(&format!("{name}.pem")));
        let mut words = vec!["req", "-x509", "-nodes", "-days", "30", "-subj", &subject];
        words.extend(["-addext", extension, "-keyout", &own, "-out", &pem, "-newkey"]);
        words.extend(key);
        openssl(&words);
    }

    /// The same in the form of X.509 version 1, as old appliances have it.
    pub(crate) fn old(&self, name: &str, key: &[&str]) {
        let path = |end: &str| self.path(&format!("{name}.{end}"));
        let (subject, own, request, pem) = (format!("/CN={name}"), path("key"), path("csr"), path("pem"));
        let mut words =
            vec!["req", "-nodes", "-subj", &subject, "-keyout", &own, "-out", &request, "-newkey"];
        words.extend(key);
        openssl(&words);
        openssl(&["x509", "-req", "-in", &request, "-signkey", &own, "-days", "30", "-out", &pem]);
    }

    /// The same, signed by the authority: `names` as `subjectAltName` has it.
    pub(crate) fn sign(&self, name: &str, key: &[&str], names: &str) {
        self.sign_by("ca", name, key, &of_server(names), VALID);
    }

    /// One that has ended.
    pub(crate) fn sign_late(&self, name: &str, names: &str) {
        self.sign_by("ca", name, P256, &of_server(names), OVER);
    }

    /// One that is not valid yet.
    pub(crate) fn sign_early(&self, name: &str, names: &str) {
        self.sign_by("ca", name, P256, &of_server(names), EARLY);
    }

    /// One of an authority below: NAME.pem has both, NAME-alone.pem only its own.
    pub(crate) fn sign_below(&self, name: &str, names: &str) {
        self.sign_by("ca", "below", P384, "basicConstraints=critical,CA:TRUE\n", VALID);
        self.sign_by("below", name, P256, &of_server(names), VALID);
        let file = |name: &str| self.path(&format!("{name}.pem"));
        let alone = format!("{name}-alone");
        fs::copy(file(name), file(&alone)).expect("copied");
        fs::copy(self.path(&format!("{name}.key")), self.path(&format!("{alone}.key"))).expect("copied");
        let both = [name, "below"].map(|name| fs::read_to_string(file(name)).expect("read")).concat();
        fs::write(file(name), both).expect("written");
    }

    fn sign_by(&self, by: &str, name: &str, key: &[&str], extensions: &str, [begin, end]: [&str; 2]) {
        let path = |end: &str| self.path(&format!("{name}.{end}"));
        let (subject, own, request, pem, more) =
            (format!("/CN={name}"), path("key"), path("csr"), path("pem"), path("ext"));
        fs::write(&more, extensions).expect("written");
        let mut words =
            vec!["req", "-nodes", "-subj", &subject, "-keyout", &own, "-out", &request, "-newkey"];
        words.extend(key);
        openssl(&words);
        let (config, authority, authority_key) =
            (self.path("config"), self.path(&format!("{by}.pem")), self.path(&format!("{by}.key")));
        let mut words = vec!["ca", "-batch", "-notext", "-config", &config, "-cert", &authority, "-keyfile"];
        words.extend([&*authority_key, "-in", &request, "-out", &pem, "-extfile", &more]);
        words.extend(["-startdate", begin, "-enddate", end]);
        openssl(&words);
    }

    /// A server that shows NAME.pem. `more`: what else `tls_server.py` has.
    pub(crate) fn serve(&self, name: &str, more: Value) -> TlsServer {
        let mut told = json!({
            "cert": self.path(&format!("{name}.pem")), "key": self.path(&format!("{name}.key")),
            "pages": {"/": page("text")},
        });
        told.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        TlsServer::start(&told)
    }
}

fn of_server(names: &str) -> String {
    format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
}

/// A page with its length.
pub(crate) fn page(body: &str) -> Value {
    json!({"head": "HTTP/1.1 200 OK\r\nContent-Length: LENGTH\r\n", "body": body})
}

/// Killed when dropped.
pub(crate) struct TlsServer {
    child: Child,
    pub(crate) port: u16,
}

impl TlsServer {
    fn start(told: &Value) -> TlsServer {
        let mut child = Command::new("python3")
            .args(["-c", SERVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        writeln!(child.stdin.as_mut().expect("a pipe"), "{told}").expect("told");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let port = line.trim().parse();
        let mut server = TlsServer { child, port: 0 };
        server.port = port.expect("a port");
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// `net:` for it.
    pub(crate) fn grant(&self) -> String {
        format!("net:127.0.0.1:{}", self.port)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
