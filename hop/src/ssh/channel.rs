//! A channel of a session as the stream of a link.

use crate::stream::{Epitaph, Incoming, Outgoing, Pending};
use russh::{ChannelMsg, client};
use std::io;

pub(super) struct FromChannel {
    pub(super) from: russh::ChannelReadHalf,
    pub(super) epitaph: Epitaph,
}

impl Incoming for FromChannel {
    fn next(&mut self) -> Pending<'_, Option<Vec<u8>>> {
        Box::pin(async {
            loop {
                match self.from.wait().await? {
                    ChannelMsg::Data { data } if !data.is_empty() => return Some(data.to_vec()),
                    ChannelMsg::ExtendedData { data, .. } => self.epitaph.stderr(&data),
                    ChannelMsg::ExitStatus { exit_status } => {
                        self.epitaph.exit(format!("exit status {exit_status}"));
                    }
                    ChannelMsg::ExitSignal { signal_name, .. } => {
                        let name = match signal_name {
                            russh::Sig::Custom(name) => name,
                            name => format!("{name:?}"),
                        };
                        self.epitaph.exit(format!("killed by SIG{name}"));
                    }
                    ChannelMsg::Failure => {
                        self.epitaph.exit("the server refused to run a command");
                        return None;
                    }
                    ChannelMsg::Close => return None,
                    _ => {}
                }
            }
        })
    }
}

pub(super) struct ToChannel(pub(super) russh::ChannelWriteHalf<client::Msg>);

impl Outgoing for ToChannel {
    fn send(&mut self, bytes: Vec<u8>) -> Pending<'_, io::Result<()>> {
        Box::pin(async move {
            self.0.data_bytes(bytes).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
        })
    }
}
