//! The stub's end of the channel to a worker or supervisor: packets, without blocking.

use crate::worker::wire::{FromWorker, ToWorker, decode, encode, packet_buffer, receive, receive_with, send};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use zeroize::Zeroize;

#[derive(Debug)]
pub(crate) struct Channel {
    socket: AsyncFd<OwnedFd>,
    incoming: Box<[u8]>,
    outgoing: Box<[u8]>,
}

impl Channel {
    /// Our end, and the other's.
    pub(crate) fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // Each end has its own flags: theirs stays blocking.
        rustix::io::ioctl_fionbio(&ours, true)?;
        // SAFETY: the socket belongs to the `AsyncFd` from here on, and is closed when that is dropped.
        let socket = unsafe { AsyncFd::register(ours) }?;
        Ok((Channel { socket, incoming: packet_buffer(), outgoing: packet_buffer() }, theirs))
    }

    /// Safe to give up: a packet is sent whole or not at all.
    pub(crate) async fn send(&mut self, message: &ToWorker<'_>) -> io::Result<()> {
        let packet = encode(message, &mut self.outgoing)?;
        loop {
            let mut ready = self.socket.writable().await?;
            if let Ok(sent) = ready.try_io(|socket| send(socket, packet)) {
                return sent;
            }
        }
    }

    /// The next message; none at the end. A packet that is too long or cannot be decoded is an error, after
    /// which the channel is good for nothing. Safe to give up.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<FromWorker<'_>>> {
        let incoming = &mut self.incoming;
        let read = loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(read) = ready.try_io(|socket| receive(socket, incoming)) {
                break read?;
            }
        };
        self.packet(read)
    }

    /// Like [`Channel::receive`], with the descriptors that came along.
    pub(crate) async fn receive_with(
        &mut self,
        descriptors: &mut Vec<OwnedFd>,
    ) -> io::Result<Option<FromWorker<'_>>> {
        let incoming = &mut self.incoming;
        let read = loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(read) = ready.try_io(|socket| receive_with(socket, incoming, descriptors)) {
                break read?;
            }
        };
        self.packet(read)
    }

    /// Like [`Channel::receive`], of what is here already; none when there is nothing.
    pub(crate) fn try_receive(&mut self) -> io::Result<Option<FromWorker<'_>>> {
        let read = receive(&self.socket, &mut self.incoming)?;
        self.packet(read)
    }

    fn packet(&self, read: usize) -> io::Result<Option<FromWorker<'_>>> {
        match self.incoming.get(..read) {
            Some([]) => Ok(None),
            Some(packet) => decode(packet).map(Some),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Overwrites what was sent last.
    pub(crate) fn wipe(&mut self) {
        self.outgoing.zeroize();
    }

    /// Says that nothing more will be sent.
    pub(crate) fn close(&self) {
        // An end that is gone already cannot be told.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }
}

/// What a task said last may have been a secret.
impl Drop for Channel {
    fn drop(&mut self) {
        self.incoming.zeroize();
        self.outgoing.zeroize();
    }
}
