//! A connection to a server, encrypted or not.

use crate::error::{About, of_io};
use crate::options::Tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use waft_sdk::{Connection, Error};
use waft_tasks_common::web::Url;

pub enum Stream {
    Plain(Connection),
    Tls(Box<Encrypted>),
}

/// What the host is asked for at once, bytes: as much as it gives. rustls by itself asks for 4 KiB.
const READ_BYTES: usize = 32 << 10;

struct Socket(BufReader<Connection>);

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

pub struct Encrypted {
    inner: StreamOwned<ClientConnection, Socket>,
    who: String,
    authorities: Option<String>,
    has_client_cert: bool,
    /// The server takes nothing more.
    is_deaf: bool,
}

impl Stream {
    /// As the address says it. `is_own`: it is that of the server that the operator named.
    pub fn open(tls: &Tls, url: &Url, is_own: bool, limit_ms: u32) -> Result<Stream, Error> {
        if !url.is_tls {
            return Connection::open_within(&url.host, url.port, limit_ms).map(Stream::Plain);
        }
        let name = name(&url.host)?;
        // Before anything is sent: the files that are missing.
        let config = tls.config(is_own)?;
        let connection = Connection::open_within(&url.host, url.port, limit_ms)?;
        let socket = Socket(BufReader::with_capacity(READ_BYTES, connection));
        let who = format!("{}:{}", url.bracketed_host(), url.port);
        let mut encrypted = Encrypted {
            inner: StreamOwned::new(client(config, name, &who)?, socket),
            who,
            authorities: tls.authorities().map(str::to_owned),
            has_client_cert: is_own && tls.has_client_cert(),
            is_deaf: false,
        };
        encrypted.greet()?;
        Ok(Stream::Tls(Box::new(encrypted)))
    }
}

pub fn name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.trim_end_matches('.').to_owned()).map_err(|_| {
        let text = format!("`{host}` is no name that a certificate can have, and no address");
        Error::new("params.name", text)
    })
}

pub fn client(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    who: &str,
) -> Result<ClientConnection, Error> {
    ClientConnection::new(config, name).map_err(|why| crate::error::other(who, &why))
}

/// By the other side, as the host says it.
fn is_closed(why: &io::Error) -> bool {
    let host = why.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    host.is_some_and(|host| host.code == "net.closed")
}

impl Encrypted {
    fn about(&self) -> About<'_> {
        About {
            who: &self.who,
            authorities: self.authorities.as_deref(),
            has_client_cert: self.has_client_cert,
        }
    }

    /// Until both sides know whom they talk with, as far as this side can know it.
    fn greet(&mut self) -> Result<(), Error> {
        while self.inner.conn.is_handshaking() {
            let done = self.inner.conn.complete_io(&mut self.inner.sock);
            if let Err(why) = done {
                let why = self.last_word(why);
                return Err(greeting(&self.about(), why));
            }
        }
        Ok(())
    }

    /// What came of a server that ended the connection while this side still wrote: rustls by itself writes first, and fails.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.is_deaf {
            let done = self.inner.read(into);
            self.is_deaf = done.as_ref().is_err_and(is_closed);
            if !self.is_deaf {
                return done;
            }
        }
        loop {
            match self.inner.conn.reader().read(into) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.inner.conn.read_tls(&mut self.inner.sock)?;
            let heard = self.inner.conn.process_new_packets();
            heard.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        }
    }

    /// A server that ends a connection while this side still writes has often said why.
    fn last_word(&mut self, why: io::Error) -> io::Error {
        if !is_closed(&why) {
            return why;
        }
        let heard = self.inner.conn.read_tls(&mut self.inner.sock);
        match heard.ok().map(|_| self.inner.conn.process_new_packets()) {
            Some(Err(said)) => io::Error::new(io::ErrorKind::InvalidData, said),
            _ => why,
        }
    }

    fn explain<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|why| {
            let why = self.last_word(why);
            of_io(&self.about(), why)
        })
    }
}

/// Why there is no connection.
pub fn greeting(about: &About<'_>, why: io::Error) -> Error {
    if why.kind() == io::ErrorKind::UnexpectedEof {
        let text = format!("{} ended the connection before it was encrypted", about.who);
        return Error::new("tls.closed", text).hint("it may not speak TLS at that port; its log may say why");
    }
    let why = of_io(about, why);
    match why.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => Error::new("tls.broken", format!("TLS with {} failed: {why}", about.who)),
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(connection) => connection.read(into),
            Stream::Tls(tls) => {
                let done = tls.read(into);
                tls.explain(done)
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(connection) => connection.write(bytes),
            Stream::Tls(tls) => {
                let done = tls.inner.write(bytes);
                tls.explain(done)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(connection) => connection.flush(),
            Stream::Tls(tls) => {
                let done = tls.inner.flush();
                tls.explain(done)
            }
        }
    }
}
