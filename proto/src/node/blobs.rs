//! Blobs on their way down: offered before the order that needs them, streamed while they still arrive,
//! asked for when nobody offered them. What a child has is remembered, so that nothing crosses a link twice.
//!
//! Three rules make that safe while messages cross each other: a child that loses a blob says `Dropped`
//! before it may say `Want`; so a `Want` for what was offered and not dropped has merely crossed the offer
//! and is left unanswered; and a receiver skips the bytes it has already.

use super::children::Transfer;
use super::{Event, Node, Origin};
use crate::id::{Hash, NodeId};
use crate::limits::*;
use crate::link::Link;
use crate::msg::{BlobKind, Msg};
use crate::run::Problem;
use crate::store::{Progress, Store};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::vec::Vec;

/// What a piece's message takes besides its bytes, at most: tag, hash, offset, size, length, and a dictionary with a hash
/// of its own.
pub(super) const CHUNK_OVERHEAD_BYTES: usize = 128;

impl Node {
    /// Sees to it that a child gets a blob: from here, or from above as soon as it is here.
    pub(super) fn pass_on(&mut self, child: NodeId, hash: Hash, kind: BlobKind) {
        let here = self.store.expected(hash, kind);
        let hopeless = self.is_root() || self.unstorable.contains_key(&hash);
        let now = self.now;
        let Some(entry) = self.children.get_mut(&child) else { return };
        let Some(link) = entry.link.as_mut() else { return };
        if entry.have.contains(&(hash, kind)) {
            return;
        }
        match here {
            Some(total) => {
                entry.wanting.remove(&(hash, kind));
                entry.have.insert((hash, kind));
                link.send(&Msg::Offer { hash, kind, bytes: total });
                if total > 0 && !entry.transfers.iter().any(|transfer| transfer.hash == hash) {
                    entry.transfers.push_back(Transfer { hash, offset: 0, total, fed: now, plan: None });
                    self.store.pin(hash);
                }
            }
            None if hopeless => link.send(&Msg::Missing { hash }),
            None => {
                entry.wanting.insert((hash, kind));
                self.ask_parent(hash, kind);
            }
        }
    }

    /// A child asks for a blob: it may have what orders to it named, and nothing else.
    pub(super) fn wanted(&mut self, child: NodeId, hash: Hash, kind: BlobKind) -> Result<(), Problem> {
        let Some(entry) = self.children.get_mut(&child) else { return Ok(()) };
        if entry.named.contains(&(hash, kind)) {
            self.pass_on(child, hash, kind);
            return Ok(());
        }
        if let Some(link) = entry.link.as_mut() {
            link.send(&Msg::Missing { hash });
        }
        let (kind, hash) = (kind.word(), hash.short());
        Err(Problem::new(
            "blob.refused",
            format!("{child} asked for {kind} {hash}, which no order to it named"),
        ))
    }

    /// A child has a blob no longer, or could not keep it: stop sending it.
    pub(super) fn forget(&mut self, child: NodeId, hash: Hash) {
        let Some(entry) = self.children.get_mut(&child) else { return };
        let had = entry.have.len();
        entry.have.retain(|(have, _)| *have != hash);
        if entry.have.len() < had && entry.dropped.len() < STORE_BLOBS_MAX {
            entry.dropped.insert(hash);
        }
        entry.wanting.retain(|(want, _)| *want != hash);
        let before = entry.transfers.len();
        entry.transfers.retain(|transfer| transfer.hash != hash);
        if entry.transfers.len() < before {
            self.store.unpin(hash);
        }
    }

    /// Makes a blob come that an order named but that was not sent along; true when it has to be waited for:
    /// [`Event::Blob`] says when it is whole, or will not come.
    pub fn fetch(&mut self, hash: Hash, kind: BlobKind) -> bool {
        if self.store.get(hash, kind).is_some() {
            return false;
        }
        if self.store.expected(hash, kind).is_none() {
            self.ask_parent(hash, kind);
        }
        true
    }

    pub(super) fn ask_parent(&mut self, hash: Hash, kind: BlobKind) {
        if self.asked.insert((hash, kind)) {
            self.tell_parent(&Msg::Want { hash, kind });
        }
    }

    pub(super) fn offered(&mut self, hash: Hash, kind: BlobKind, bytes: u64) {
        self.asked.remove(&(hash, kind));
        match self.store.begin(hash, kind, bytes) {
            Ok(gone) => {
                for hash in gone {
                    self.tell_parent(&Msg::Dropped { hash });
                }
                self.unstorable.remove(&hash);
                let wants = |child: &super::Child| child.wanting.contains(&(hash, kind));
                let wanting = self.children.iter().filter(|(_, child)| wants(child)).map(|(id, _)| *id);
                for child in wanting.collect::<Vec<_>>() {
                    self.pass_on(child, hash, kind);
                }
                if !self.store.is_partial(hash) {
                    self.events.push_back(Event::Blob(hash));
                    self.start_ready();
                }
            }
            Err(problem) => self.unkept(hash, problem),
        }
    }

    /// Bytes of a blob, in whatever form.
    pub(super) fn arrives(&mut self, hash: Hash, take: impl FnOnce(&mut Store) -> Result<Progress, Problem>) {
        if self.unstorable.contains_key(&hash) {
            return;
        }
        match take(&mut self.store) {
            Ok(Progress::Nothing) => {}
            Ok(Progress::More) => self.extend_waiting(hash),
            Ok(Progress::Complete) => {
                self.refetched.remove(&hash);
                self.events.push_back(Event::Blob(hash));
                self.start_ready();
            }
            Ok(Progress::Unknown) => self.fetch_again(hash),
            Err(problem) => self.unkept(hash, problem),
        }
    }

    /// What came refers to a blob that had to make room meanwhile, as our `Dropped` for it will have told: all of it is
    /// fetched again, once. Children go on where they are.
    fn fetch_again(&mut self, hash: Hash) {
        let kinds = self.store.kinds(hash);
        self.store.abandon(hash);
        if self.refetched.len() < STORE_BLOBS_MAX && self.refetched.insert(hash) {
            self.tell_parent(&Msg::Dropped { hash });
            for kind in kinds {
                self.asked.insert((hash, kind));
                self.tell_parent(&Msg::Want { hash, kind });
            }
            return;
        }
        let message =
            format!("blob {} came as parts of blobs that are not here, more than once", hash.short());
        let problem = Problem::new("blob.damaged", message)
            .hint("a hop on the way changes what it passes on, or is of another release");
        self.unkept(hash, problem);
    }

    /// The parent has no such blob, or cannot send the rest of it.
    pub(super) fn missing(&mut self, hash: Hash) {
        self.store.abandon(hash);
        let message = format!("blob {} is not to be had from above", hash.short());
        let problem = Problem::new("blob.missing", message)
            .hint("the controller has it no longer, or a hop on the way has no room for it");
        self.without(hash, &problem);
    }

    /// We cannot keep a blob that our parent sends.
    fn unkept(&mut self, hash: Hash, problem: Problem) {
        self.tell_parent(&Msg::Dropped { hash });
        self.without(hash, &problem);
        if self.unstorable.len() < STORE_BLOBS_MAX {
            self.unstorable.insert(hash, problem);
        }
    }

    /// Tells everybody here who waits for a blob that it will not come.
    fn without(&mut self, hash: Hash, problem: &Problem) {
        self.refetched.remove(&hash);
        self.asked.retain(|(asked, _)| *asked != hash);
        self.fail_waiting(hash, problem);
        let whole = self.store.read(hash, 0, 0).is_some();
        for child in self.children.values_mut() {
            let wanting = child.wanting.len();
            child.wanting.retain(|(want, _)| *want != hash);
            let mut told = child.wanting.len() < wanting;
            if !whole {
                let transfers = child.transfers.len();
                child.transfers.retain(|transfer| transfer.hash != hash);
                if child.transfers.len() < transfers {
                    child.have.retain(|(have, _)| *have != hash);
                    self.store.unpin(hash);
                    told = true;
                }
            }
            if told && let Some(link) = child.link.as_mut() {
                link.send(&Msg::Missing { hash });
            }
        }
        self.events.push_back(Event::Blob(hash));
    }
}

/// Whether [`fill`] would queue something.
pub(super) fn can_fill(link: &Link<Origin>, transfers: &VecDeque<Transfer>, store: &Store) -> bool {
    link.bulk_room() >= CHUNK_BYTES_MAX + CHUNK_OVERHEAD_BYTES
        && transfers.iter().any(|transfer| has_bytes(transfer, store))
}

fn has_bytes(transfer: &Transfer, store: &Store) -> bool {
    store.read(transfer.hash, transfer.offset, 1).is_some_and(|bytes| !bytes.is_empty())
}

/// Whether a blob goes without references to others: the child dropped it once, perhaps because it came as parts of what is
/// gone; and looking again for what it has in common, as often as a child drops it, would keep all links waiting.
fn is_plain(dropped: &BTreeSet<Hash>, hash: Hash) -> bool {
    dropped.len() >= STORE_BLOBS_MAX || dropped.contains(&hash)
}

/// Queues the next chunks, at most a frame's worth: the store is the buffer, not the queue. The oldest
/// transfer that has bytes goes first, unless another has starved behind it.
pub(super) fn fill(
    link: &mut Link<Origin>,
    transfers: &mut VecDeque<Transfer>,
    (have, dropped): (&BTreeSet<(Hash, BlobKind)>, &BTreeSet<Hash>),
    store: &mut Store,
    now: u64,
) {
    while link.bulk_queued() < FRAME_BYTES_MAX / 2
        && link.bulk_room() >= CHUNK_BYTES_MAX + CHUNK_OVERHEAD_BYTES
    {
        let starved = |transfer: &Transfer| now.saturating_sub(transfer.fed) >= TRANSFER_STARVED_MS;
        let next = transfers
            .iter()
            .position(|transfer| starved(transfer) && has_bytes(transfer, store))
            .or_else(|| transfers.iter().position(|transfer| has_bytes(transfer, store)));
        let Some((at, transfer)) = next.and_then(|at| Some((at, transfers.get_mut(at)?))) else { return };
        let (hash, offset, mut plan) = (transfer.hash, transfer.offset, transfer.plan.take());
        let plain = is_plain(dropped, hash);
        // What the child was offered and has not dropped is there when all of it has left: bulk keeps its order.
        let has = |hash: Hash| {
            !plain
                && have.range((hash, BlobKind::Task)..=(hash, BlobKind::Worker)).next().is_some()
                && !transfers.iter().any(|transfer| transfer.hash == hash)
        };
        let Some((msg, bytes)) = message(store, hash, offset, &mut plan, has) else { return };
        let Some(transfer) = transfers.get_mut(at) else { return };
        transfer.plan = plan;
        transfer.offset += bytes;
        transfer.fed = now;
        if transfer.offset >= transfer.total {
            transfers.remove(at);
            store.unpin(hash);
        }
        // A chunk fits a frame by its limits, and the store still has it: nothing is lost if not.
        let _ = link.queue(crate::frame::Lane::Bulk, &msg, None);
    }
}

/// What a transfer goes by from its beginning to its end.
#[cfg(feature = "pack")]
pub(super) type Plan = Option<crate::store::parts::Plan>;
#[cfg(not(feature = "pack"))]
pub(super) type Plan = Option<()>;

#[cfg(feature = "pack")]
fn message(
    store: &mut Store,
    hash: Hash,
    offset: u64,
    plan: &mut Plan,
    has: impl Fn(Hash) -> bool,
) -> Option<(Msg, u64)> {
    if offset == 0 {
        *plan = store.compare(hash, &has);
    }
    store.message(hash, offset, plan.as_ref(), has)
}

/// A node without children.
#[cfg(not(feature = "pack"))]
fn message(
    store: &mut Store,
    hash: Hash,
    offset: u64,
    _: &mut Plan,
    _: impl Fn(Hash) -> bool,
) -> Option<(Msg, u64)> {
    let bytes = store.read(hash, offset, CHUNK_BYTES_MAX)?.to_vec();
    let length = bytes.len() as u64;
    Some((Msg::Chunk { hash, offset, bytes }, length))
}
