//! Terminals of the demo's interactive shells: the master's end, read and written without blocking.

use super::process::watch;
use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest terminal name passed on; terminfo's are far shorter.
const NAME_CHARS_MAX: usize = 64;

/// What a typed Ctrl-D is to a terminal in its usual mode: the end of input.
pub(super) const END_OF_INPUT: &[u8] = &[4];

/// What the client said about its terminal. Its modes are not taken over: the kernel's defaults are what a shell expects.
pub(super) struct Terminal {
    name: String,
    size: Size,
}

/// In characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size {
    pub(super) columns: u32,
    pub(super) rows: u32,
}

impl Terminal {
    pub(super) fn new(name: &str, size: Size) -> Terminal {
        let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.+".contains(*c);
        let name: String = name.chars().filter(plain).take(NAME_CHARS_MAX).collect();
        Terminal { name, size }
    }

    pub(super) fn name(&self) -> &str {
        if self.name.is_empty() { "dumb" } else { &self.name }
    }
}

/// The master's end.
pub(super) struct Pty {
    master: AsyncFd<OwnedFd>,
}

impl Pty {
    /// Also returns the terminal itself, for a process to start on.
    pub(super) fn open(terminal: &Terminal) -> io::Result<(Pty, OwnedFd)> {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        // Asking the master for its peer needs no name, and so no /dev/pts in this mount namespace.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let tty = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let pty = Pty { master: watch(master, Interest::READABLE | Interest::WRITABLE)? };
        pty.resize(terminal.size)?;
        Ok((pty, tty))
    }

    /// Tells the processes too, by SIGWINCH.
    pub(super) fn resize(&self, size: Size) -> io::Result<()> {
        let cells = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
        let size =
            Winsize { ws_row: cells(size.rows), ws_col: cells(size.columns), ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.master.as_fd(), size)?)
    }

    /// Waits for output; 0 bytes when no process has the terminal any more, which Linux reports as an error.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read =
            self.master.async_io(Interest::READABLE, |master| Ok(rustix::io::read(master, &mut *buffer)?));
        match read.await {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(0),
            other => other,
        }
    }

    /// Takes what is there now, without waiting; 0 bytes when there is nothing.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> usize {
        rustix::io::read(self.master.as_fd(), buffer).unwrap_or(0)
    }

    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write =
                self.master.async_io(Interest::WRITABLE, |master| Ok(rustix::io::write(master, bytes)?));
            let written = write.await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}
