//! Blobs on their way down: offered before the order that needs them, streamed while they still arrive,
//! asked for when nobody offered them. What a child has is remembered, so that nothing crosses a link twice.

use super::{Node, Peer, Transfer};
use crate::id::{Hash, NodeId};
use crate::limits::{CHUNK_BYTES_MAX, FRAME_BYTES_MAX};
use crate::link::Link;
use crate::msg::{BlobKind, Msg};
use crate::run::Problem;
use crate::store::Store;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

/// What a chunk's message takes besides its bytes: tag, hash, offset, length.
const CHUNK_OVERHEAD_BYTES: usize = 64;

impl Node {
    /// Sees to it that a child gets a blob: from here, or from above as soon as it is here.
    pub(super) fn pass_on(&mut self, child: NodeId, hash: Hash, kind: BlobKind) {
        let here = self.store.expected(hash, kind);
        let is_root = self.is_root();
        let Some(entry) = self.children.get_mut(&child) else { return };
        if entry.have.contains(&hash) {
            return;
        }
        let Some(link) = entry.link.as_mut() else { return };
        match here {
            Some(total) => {
                entry.wanting.remove(&(hash, kind));
                entry.have.insert(hash);
                link.send(&Msg::Offer { hash, kind, bytes: total });
                entry.transfers.push_back(Transfer { hash, offset: 0, total });
                self.store.pin(hash);
            }
            None if is_root => link.send(&Msg::Missing { hash }),
            None => {
                if entry.wanting.insert((hash, kind)) {
                    self.ask_parent(hash, kind);
                }
            }
        }
    }

    pub(super) fn offer_to_wanting(&mut self, hash: Hash, kind: BlobKind) {
        let wanting: Vec<NodeId> = self
            .children
            .iter()
            .filter(|(_, child)| child.wanting.contains(&(hash, kind)))
            .map(|(id, _)| *id)
            .collect();
        for child in wanting {
            self.pass_on(child, hash, kind);
        }
    }

    /// A child has a blob no longer, or could not keep it: stop sending it.
    pub(super) fn forget(&mut self, child: NodeId, hash: Hash) {
        let Some(entry) = self.children.get_mut(&child) else { return };
        entry.have.remove(&hash);
        let before = entry.transfers.len();
        entry.transfers.retain(|transfer| transfer.hash != hash);
        if entry.transfers.len() < before {
            self.store.unpin(hash);
        }
    }

    pub(super) fn missing(&mut self, hash: Hash) {
        let problem = Problem::new(
            "blob.missing",
            format!("blob {} is not to be had from the controller", hash.short()),
        );
        self.fail_waiting(hash, &problem);
        for child in self.children.values_mut() {
            let before = child.wanting.len();
            child.wanting.retain(|(want, _)| *want != hash);
            if child.wanting.len() < before
                && let Some(link) = child.link.as_mut()
            {
                link.send(&Msg::Missing { hash });
            }
        }
    }

    pub(super) fn ask_parent(&mut self, hash: Hash, kind: BlobKind) {
        self.tell_parent(&Msg::Want { hash, kind });
    }

    pub(super) fn tell_parent(&mut self, msg: &Msg) {
        if let Some(link) = self.link_mut(Peer::Parent) {
            link.send(msg);
        }
    }
}

/// Whether [`fill`] would queue something.
pub(super) fn can_fill(link: &Link, transfers: &VecDeque<Transfer>, store: &Store) -> bool {
    link.bulk_room() >= CHUNK_BYTES_MAX + CHUNK_OVERHEAD_BYTES
        && transfers.iter().any(|transfer| {
            transfer.offset >= transfer.total
                || store.read(transfer.hash, transfer.offset, 1).is_none_or(|bytes| !bytes.is_empty())
        })
}

/// Queues the next chunks, at most a frame's worth: the store is the buffer, not the queue. The oldest
/// transfer that has bytes goes first.
pub(super) fn fill(link: &mut Link, transfers: &mut VecDeque<Transfer>, store: &mut Store) {
    let mut at = 0;
    while link.bulk_queued() < FRAME_BYTES_MAX / 2
        && link.bulk_room() >= CHUNK_BYTES_MAX + CHUNK_OVERHEAD_BYTES
        && let Some(transfer) = transfers.get_mut(at)
    {
        let bytes = match store.read(transfer.hash, transfer.offset, CHUNK_BYTES_MAX) {
            // The rest of it has not come yet: the next transfer may go on meanwhile.
            Some([]) if transfer.offset < transfer.total => {
                at += 1;
                continue;
            }
            Some(bytes) if !bytes.is_empty() => bytes.to_vec(),
            // Done, or the blob turned out damaged and is gone; the child finds out by itself.
            _ => {
                store.unpin(transfer.hash);
                transfers.remove(at);
                continue;
            }
        };
        let offset = transfer.offset;
        transfer.offset += bytes.len() as u64;
        link.send_bulk(&Msg::Chunk { hash: transfer.hash, offset, bytes });
    }
}
