//! The loop that drives a [`Node`]: bytes from links into it, its frames out to them, its timers, and its
//! events to whoever owns the loop.
//!
//! A link is two small tasks. The reader hands over one portion at a time and the writer takes one frame's
//! worth at a time, so nothing queues outside of the node, whose queues are bounded.

use crate::delivery;
use crate::dial::Dialled;
use crate::intro::{Intro, Said};
use crate::stream::{Epitaph, Incoming, LinkStream, Outgoing, printable};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use waft_proto::id::NodeId;
use waft_proto::limits::FRAME_BYTES_MAX;
use waft_proto::msg::{Remembered, Report};
use waft_proto::node::{Event, Node, Peer};
use waft_proto::run::Problem;

/// Portions on their way from all links to the loop; each link has at most two of them.
const INBOX_PORTIONS: usize = 64;
/// Frames are gathered up to this before a write, bytes.
const WRITE_BYTES: usize = FRAME_BYTES_MAX;

enum Io {
    Bytes(Peer, u64, Vec<u8>),
    /// The stub's preamble came: frames may flow.
    Started(Peer, u64),
    Learned(Peer, u64, Remembered),
    /// True: the target itself said why, and would again.
    Ended(Peer, u64, Problem, bool),
    /// The writer took everything.
    Written(Peer, u64),
}

struct LinkIo {
    generation: u64,
    writer: mpsc::Sender<Vec<u8>>,
    /// Nothing may be written until the preamble.
    held: bool,
    idle: bool,
    tasks: [JoinHandle<()>; 2],
    bytes_up: u64,
    bytes_down: u64,
}

impl Drop for LinkIo {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

pub struct Driver {
    pub node: Node,
    started: Instant,
    links: BTreeMap<Peer, LinkIo>,
    generation: u64,
    inbox: mpsc::Receiver<Io>,
    sender: mpsc::Sender<Io>,
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Driver {
    pub fn new(node: Node) -> Driver {
        let (sender, inbox) = mpsc::channel(INBOX_PORTIONS);
        Driver { node, started: Instant::now(), links: BTreeMap::new(), generation: 0, inbox, sender }
    }

    /// Milliseconds of this loop's clock; the node was made at 0.
    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A stub's own link to its parent.
    pub fn connect_parent(&mut self, stream: LinkStream) {
        self.connect(Peer::Parent, String::new(), stream, None, false);
    }

    /// A child's link, after [`Node::attach`].
    pub fn connect_child(&mut self, child: NodeId, host: String, dialled: Dialled) {
        let held = dialled.assumed.is_none();
        if let Some(learned) = dialled.learned {
            self.node.say(child, Report::Learned(learned));
        }
        let intro = Some(dialled.intro);
        self.connect(Peer::Child(child), host, dialled.stream, intro, held);
    }

    fn connect(&mut self, peer: Peer, host: String, stream: LinkStream, intro: Option<Intro>, held: bool) {
        self.generation += 1;
        let generation = self.generation;
        let LinkStream { incoming, outgoing, epitaph, guard } = stream;
        let (writer, from_loop) = mpsc::channel(1);
        let reader = Reader { peer, generation, host, incoming, epitaph, inbox: self.sender.clone() };
        let reading = tokio::spawn(async move {
            let _guard = guard;
            reader.run(intro).await;
        });
        let writing = tokio::spawn(write(peer, generation, outgoing, from_loop, self.sender.clone()));
        let tasks = [reading, writing];
        let link = LinkIo { generation, writer, held, idle: true, tasks, bytes_up: 0, bytes_down: 0 };
        self.links.insert(peer, link);
    }

    /// Closes a link at once.
    pub fn disconnect(&mut self, peer: Peer) {
        self.links.remove(&peer);
    }

    /// Bytes of frames written to and read from a peer's present link.
    pub fn link_bytes(&self, peer: Peer) -> (u64, u64) {
        self.links.get(&peer).map_or((0, 0), |link| (link.bytes_up, link.bytes_down))
    }

    /// Whether all that was queued for that peer has been written.
    pub fn is_flushed(&self, peer: Peer) -> bool {
        self.links.get(&peer).is_none_or(|link| link.idle) && !self.node.ready_peers().contains(&peer)
    }

    /// The next event of the node. Safe to drop while it waits.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.poll() {
                return event;
            }
            self.step().await;
        }
    }

    /// The same, for an owner whose executions wait for room: `None` as soon as there is some again. That
    /// output left is no event of the node.
    pub async fn next_or_room(&mut self) -> Option<Event> {
        let full = !self.node.has_output_room();
        loop {
            if let Some(event) = self.poll() {
                return Some(event);
            }
            if full && self.node.has_output_room() {
                return None;
            }
            self.step().await;
        }
    }

    /// Until no child has a link any more, whatever else happens: the end of a link is not always an event.
    pub async fn children_gone(&mut self) {
        while self.links.keys().any(|peer| matches!(peer, Peer::Child(_))) {
            if self.poll().is_none() {
                self.step().await;
            }
        }
    }

    /// Gives the writers what is ready and the owner what happened.
    fn poll(&mut self) -> Option<Event> {
        self.pump();
        let event = self.node.poll_event()?;
        if let Event::Close(child) | Event::Redial(child, _) = &event {
            self.disconnect(Peer::Child(*child));
        }
        Some(event)
    }

    /// Waits for bytes or a timer, and takes in what came.
    async fn step(&mut self) {
        let wake = self.node.poll_timeout().map(|at| self.started + Duration::from_millis(at));
        tokio::select! {
            io = self.inbox.recv() => {
                if let Some(io) = io {
                    self.take(io);
                }
            }
            () = sleep_until(wake) => {
                let now = self.now();
                self.node.handle_timeout(now);
            }
        }
    }

    fn take(&mut self, io: Io) {
        let now = self.now();
        let (peer, generation) = match &io {
            Io::Bytes(peer, generation, _)
            | Io::Started(peer, generation)
            | Io::Learned(peer, generation, _)
            | Io::Ended(peer, generation, ..)
            | Io::Written(peer, generation) => (*peer, *generation),
        };
        let Some(link) = self.links.get_mut(&peer).filter(|link| link.generation == generation) else {
            return;
        };
        match io {
            Io::Bytes(_, _, bytes) => {
                link.bytes_down += bytes.len() as u64;
                #[cfg(feature = "liar")]
                let bytes = crate::liar::changed(peer, "up", bytes);
                self.node.handle_bytes(peer, &bytes, now);
            }
            Io::Started(..) => {
                link.held = false;
                if let Peer::Child(child) = peer {
                    self.node.started(child, now);
                }
            }
            Io::Written(..) => link.idle = true,
            Io::Learned(_, _, learned) => {
                if let Peer::Child(child) = peer {
                    self.node.say(child, Report::Learned(learned));
                }
            }
            Io::Ended(_, _, problem, told) => {
                self.links.remove(&peer);
                match peer {
                    Peer::Parent => self.node.parent_closed(problem),
                    Peer::Child(child) => {
                        let lost = self.node.is_joined(child);
                        if told {
                            self.node.detach_for_good(child, lost, problem, now);
                        } else {
                            self.node.detach(child, lost, problem, now);
                        }
                    }
                }
            }
        }
    }

    /// Gives every idle writer its next portion.
    fn pump(&mut self) {
        let now = self.now();
        for peer in self.node.ready_peers() {
            let Some(link) = self.links.get_mut(&peer).filter(|link| link.idle && !link.held) else {
                continue;
            };
            let mut out = Vec::new();
            while out.len() < WRITE_BYTES && self.node.poll_transmit(peer, now, &mut out) {}
            #[cfg(feature = "liar")]
            let out = crate::liar::changed(peer, "down", out);
            if !out.is_empty() {
                link.bytes_up += out.len() as u64;
                link.idle = link.writer.try_send(out).is_err();
            }
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

struct Reader {
    peer: Peer,
    generation: u64,
    host: String,
    incoming: Box<dyn Incoming>,
    epitaph: Epitaph,
    inbox: mpsc::Sender<Io>,
}

impl Reader {
    async fn run(mut self, intro: Option<Intro>) {
        let (problem, told) = match self.read(intro).await {
            Ok(()) => (self.end(None).await, false),
            Err(ended) => ended,
        };
        let _ = self.inbox.send(Io::Ended(self.peer, self.generation, problem, told)).await;
    }

    async fn read(&mut self, intro: Option<Intro>) -> Result<(), (Problem, bool)> {
        if let Some(mut intro) = intro {
            loop {
                match intro.next(&self.host).map_err(told)? {
                    Some(Said::Probe(probe)) => {
                        if let Some(learned) = probe.remembered() {
                            self.pass(Io::Learned(self.peer, self.generation, learned)).await;
                        }
                    }
                    Some(Said::Preamble(rest)) => {
                        self.pass(Io::Started(self.peer, self.generation)).await;
                        if !rest.is_empty() {
                            self.pass(Io::Bytes(self.peer, self.generation, rest)).await;
                        }
                        break;
                    }
                    None => match self.incoming.next().await {
                        Some(bytes) => intro.feed(&bytes),
                        None => return Err((self.end(Some(&intro)).await, false)),
                    },
                }
            }
        }
        while let Some(bytes) = self.incoming.next().await {
            self.pass(Io::Bytes(self.peer, self.generation, bytes)).await;
        }
        Ok(())
    }

    async fn pass(&mut self, io: Io) {
        // The loop is gone: so is everything this could matter to.
        let _ = self.inbox.send(io).await;
    }

    /// The sentence about the end of this link.
    async fn end(&mut self, intro: Option<&Intro>) -> Problem {
        let host = if self.host.is_empty() { "the parent" } else { &self.host };
        let said = self.epitaph.text();
        match intro {
            None => {
                let why = said.map_or_else(String::new, |said| format!(": {said}"));
                Problem::new("link.ended", format!("the link to {host} ended{why}"))
            }
            Some(intro) => {
                let said = said.or_else(|| intro.noise()).map(|said| printable(said.as_bytes()));
                let why = said.map_or_else(|| ", without a word".to_owned(), |said| format!(": {said}"));
                Problem::new(
                    "delivery.ended",
                    format!("the shell on {host} ended before the stub started{why}"),
                )
                .hint("the account's shell must be able to run `sh`; see what `ssh` to that host prints")
            }
        }
    }
}

/// What a delivery line gave up for does not change with another attempt, but for the stub of another machine.
fn told(problem: Problem) -> (Problem, bool) {
    let told = problem.code != delivery::OTHER_ARCH;
    (problem, told)
}

async fn write(
    peer: Peer,
    generation: u64,
    mut outgoing: Box<dyn Outgoing>,
    mut from_loop: mpsc::Receiver<Vec<u8>>,
    inbox: mpsc::Sender<Io>,
) {
    // A failed write says nothing: the reader knows better why the peer is gone, and the keep-alive
    // notices a peer that is neither gone nor listening.
    while let Some(bytes) = from_loop.recv().await {
        if outgoing.send(bytes).await.is_err() || inbox.send(Io::Written(peer, generation)).await.is_err() {
            return;
        }
    }
}
