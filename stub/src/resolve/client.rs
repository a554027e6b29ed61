//! Asks name servers: over UDP, and over TCP when an answer is too long for that.
//!
//! Against forged answers: a random number and a random port for each question, a connected socket, and an answer must
//! repeat the question. Whoever reads the traffic can forge all the same, as with every resolver without DNSSEC.

use super::dns::{self, Answer, Kind, Name};
use super::files::Servers;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Answers over UDP without extensions are at most so long, bytes.
const DATAGRAM_BYTES_MAX: usize = 512;
/// Datagrams that are no answer, which are read before a server is given up.
const FOREIGN_MAX: usize = 64;

/// The addresses of a name. The error ends the sentence "the name could not be resolved: ".
pub(super) async fn look_up(servers: &Servers, port: u16, host: &str) -> Result<Vec<SocketAddr>, String> {
    for candidate in candidates(servers, host) {
        // A domain to search in may make it too long.
        let Some(name) = Name::parse(&candidate) else { continue };
        let (v4, v6) = tokio::join!(ask(servers, port, &name, Kind::V4), ask(servers, port, &name, Kind::V6));
        let failed = matches!(v4, Answer::Failed) || matches!(v6, Answer::Failed);
        // IPv4 first: a machine without `getent` is a small one, and seldom has a way to the other.
        let found = [v4, v6].into_iter().flat_map(|answer| match answer {
            Answer::Addresses(addresses) => addresses,
            _ => Vec::new(),
        });
        let found: Vec<SocketAddr> = found.map(|address| SocketAddr::new(address, 0)).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        // The next domain could answer for another machine of that name.
        if failed {
            let mut text = "no name server answered:".to_owned();
            for server in &servers.addresses {
                text.push(' ');
                text.push_str(&server.ip().to_string());
            }
            return Err(text);
        }
    }
    Err("there is no such name".to_owned())
}

/// The names to ask for, in order.
fn candidates(servers: &Servers, host: &str) -> Vec<String> {
    if host.ends_with('.') {
        return vec![host.to_owned()];
    }
    let dots = host.bytes().filter(|byte| *byte == b'.').count();
    let mut names: Vec<String> =
        servers.search.iter().map(|domain| [host, domain.as_str()].join(".")).collect();
    let at = if dots >= servers.dots { 0 } else { names.len() };
    names.insert(at, host.to_owned());
    names
}

/// The answer of the first server that has one. Never `Truncated` or `Foreign`.
async fn ask(servers: &Servers, port: u16, name: &Name, kind: Kind) -> Answer {
    for _ in 0..servers.attempts {
        for server in &servers.addresses {
            let mut server = *server;
            server.set_port(port);
            let mut answer = timeout(servers.timeout, datagram(server, name, kind)).await;
            if let Ok(Ok(Answer::Truncated)) = answer {
                answer = timeout(servers.timeout, stream(server, name, kind)).await;
            }
            match answer {
                Ok(Ok(answer @ (Answer::Addresses(_) | Answer::NoName))) => return answer,
                _ => continue,
            }
        }
    }
    Answer::Failed
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    // SAFETY: there is room for as many bytes as are asked for.
    match unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } {
        2 => Ok(u16::from_ne_bytes(bytes)),
        _ => Err(io::Error::last_os_error()),
    }
}

async fn datagram(server: SocketAddr, name: &Name, kind: Kind) -> io::Result<Answer> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // The kernel chooses a random port.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    let id = random()?;
    socket.send(&dns::question(id, name, kind)).await?;
    let mut message = [0; DATAGRAM_BYTES_MAX];
    for _ in 0..FOREIGN_MAX {
        let bytes = socket.recv(&mut message).await?;
        match dns::answer(message.get(..bytes).unwrap_or_default(), id, name, kind) {
            Answer::Foreign => {}
            answer => return Ok(answer),
        }
    }
    Ok(Answer::Failed)
}

async fn stream(server: SocketAddr, name: &Name, kind: Kind) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let id = random()?;
    let question = dns::question(id, name, kind);
    let mut message = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    message.extend_from_slice(&question);
    stream.write_all(&message).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).await?;
    // Nobody else writes to this stream: what is no answer here is none at all.
    Ok(match dns::answer(&message, id, name, kind) {
        Answer::Foreign | Answer::Truncated => Answer::Failed,
        answer => answer,
    })
}
