//! `direct-tcpip` on the bastion: how `ProxyJump` and tunnel mode reach the hosts behind it.

use super::backlog::Chunk;
use super::session::Control;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{ChannelOpenFailure, ChannelWriteHalf};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::time::timeout;

/// On loopback a connection is made at once or refused at once; this is for a machine on its knees.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// The most that one message to the client carries: what russh and OpenSSH take as a packet.
const OUTPUT_BYTES: usize = 32 * 1024;

/// A channel that will be a TCP connection.
pub(super) struct Tunnel {
    pub(super) write: ChannelWriteHalf<Msg>,
    /// Ends when the client has sent its last byte.
    pub(super) input: UnboundedReceiver<Chunk>,
    /// Ends when the channel or its connection is gone.
    pub(super) control: Receiver<Control>,
}

impl Tunnel {
    /// Connects, answers the client, and carries bytes until both directions have ended or the client has left.
    pub(super) async fn run(mut self, to: SocketAddr, reply: ChannelOpenHandle, handle: Handle) {
        let Ok(Ok(stream)) = timeout(CONNECT_WAIT, TcpStream::connect(to)).await else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return;
        };
        // A socket that has just been closed from afar says so on the next read.
        let _ = stream.set_nodelay(true);
        reply.accept().await;

        let (from_host, to_host) = stream.into_split();
        let id = self.write.id();
        let both = async {
            tokio::join!(feed(&mut self.input, to_host), answer(from_host, &self.write, &handle));
            // Nobody is left to be told.
            let _ = handle.close(id).await;
        };
        let gone = async { while self.control.recv().await.is_some() {} };
        tokio::select! {
            () = both => {}
            () = gone => {}
        }
    }
}

async fn feed(input: &mut UnboundedReceiver<Chunk>, mut to_host: OwnedWriteHalf) {
    while let Some(chunk) = input.recv().await {
        if to_host.write_all(chunk.bytes()).await.is_err() {
            // The host hung up; its silence ends the other direction too. What still comes is dropped.
            input.close();
            return;
        }
    }
    // It may have hung up already.
    let _ = to_host.shutdown().await;
}

async fn answer(mut from_host: OwnedReadHalf, to: &ChannelWriteHalf<Msg>, handle: &Handle) {
    loop {
        let mut bytes = Vec::with_capacity(OUTPUT_BYTES);
        let more = matches!(from_host.read_buf(&mut bytes).await, Ok(1..));
        if !more || to.data_bytes(bytes).await.is_err() {
            break;
        }
    }
    // Nobody is left to be told.
    let _ = handle.eof(to.id()).await;
}
