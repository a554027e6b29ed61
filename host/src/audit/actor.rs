//! Who runs this program, and from where, as this process can know it.

use super::line::Fields;
use rustix::termios::ttyname;
use serde_json::json;
use std::net::IpAddr;

/// Of a process that nobody logged in for.
const NO_LOGIN: u32 = u32::MAX;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// By /etc/passwd, else as the environment says.
    pub name: Option<String>,
    pub uid: u32,
    /// Who logged in, before any `su` or `sudo`; the kernel keeps it where audit or pam_loginuid is set up.
    pub login_uid: Option<u32>,
    /// The name of this machine.
    pub host: String,
    /// Address and port, by `SSH_CONNECTION`.
    pub ssh_client: Option<String>,
    pub tty: Option<String>,
}

impl Actor {
    pub fn here() -> Actor {
        let uid = rustix::process::getuid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let login = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
        Actor {
            name: name_of(uid, &passwd).or_else(|| variable("LOGNAME")).or_else(|| variable("USER")),
            uid,
            login_uid: login.trim().parse().ok().filter(|uid| *uid != NO_LOGIN),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            ssh_client: variable("SSH_CONNECTION").and_then(|connection| ssh_client(&connection)),
            tty: tty(),
        }
    }

    /// The fields `user` and `from` of a line.
    pub(super) fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        let user = json!({ "name": self.name, "uid": self.uid, "login_uid": self.login_uid });
        let from = json!({ "host": self.host, "ssh_client": self.ssh_client, "tty": self.tty });
        fields.insert("user".to_owned(), user);
        fields.insert("from".to_owned(), from);
        fields
    }
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let uid = uid.to_string();
    let of = |line: &str| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)? == uid).then(|| name.to_owned())
    };
    passwd.lines().find_map(of)
}

/// The client's end of `CLIENT PORT SERVER PORT`; nothing when it is anything else.
fn ssh_client(connection: &str) -> Option<String> {
    let mut words = connection.split_ascii_whitespace();
    let address: IpAddr = words.next()?.parse().ok()?;
    let port: u16 = words.next()?.parse().ok()?;
    Some(std::net::SocketAddr::new(address, port).to_string())
}

fn tty() -> Option<String> {
    let name = ttyname(std::io::stdin(), Vec::new()).or_else(|_| ttyname(std::io::stderr(), Vec::new()));
    Some(name.ok()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::{name_of, ssh_client};

    #[test]
    fn only_an_address_and_a_port_are_believed() {
        let client = |text| ssh_client(text);
        assert_eq!(client("10.0.0.5 50022 10.0.0.1 22").as_deref(), Some("10.0.0.5:50022"));
        assert_eq!(client("fe80::1 50022 fe80::2 22").as_deref(), Some("[fe80::1]:50022"));
        for bad in ["", "10.0.0.5", "\u{1b}[2J 1 2 3", "10.0.0.5 99999 10.0.0.1 22", "host 22 a 22"] {
            assert_eq!(client(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn names_are_found_by_the_whole_uid() {
        let passwd = "root:x:0:0::/root:/bin/sh\nten:x:10:0::/:/bin/sh\nbroken\none:x:1:10::/:/bin/sh\n";
        let name = |uid| name_of(uid, passwd);
        assert_eq!(name(1).as_deref(), Some("one"));
        assert_eq!((name(0).as_deref(), name(10).as_deref()), (Some("root"), Some("ten")));
        assert_eq!(name(2), None);
    }
}
