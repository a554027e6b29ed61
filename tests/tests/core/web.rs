//! A web server on loopback that answers as it is told, once for each page.

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

#[derive(Clone)]
pub(crate) struct Page {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Page {
    pub(crate) fn status(status: u16) -> Page {
        Page::text(status, "")
    }

    pub(crate) fn text(status: u16, body: impl Into<Vec<u8>>) -> Page {
        Page { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Page {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// The port, and what was asked when all pages were given: head and body of each.
pub(crate) fn serve(pages: Vec<Page>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let serving = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for page in pages {
            let (connection, _) = listener.accept().expect("somebody");
            let mut reader = BufReader::new(&connection);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("a line") > 0, "{head}");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            asked.push(head + &String::from_utf8(body).expect("text"));
            let mut answer = format!("HTTP/1.1 {} Said\r\n", page.status);
            for (name, value) in &page.headers {
                answer.push_str(&format!("{name}: {value}\r\n"));
            }
            answer.push_str(&format!("Content-Length: {}\r\n\r\n", page.body.len()));
            (&connection).write_all(answer.as_bytes()).expect("written");
            (&connection).write_all(&page.body).expect("written");
        }
        asked
    });
    (port, serving)
}

/// A port of loopback where nobody listens, and nobody else can as long as this is kept.
pub(crate) fn nobody() -> (OwnedFd, u16) {
    let socket =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = getsockname(&socket).expect("bound");
    (socket, SocketAddr::try_from(address).expect("an address").port())
}
