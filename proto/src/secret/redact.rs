//! Takes the values of secrets out of streams of bytes, in every form of [`super::forms`].
//!
//! All forms are looked for at once (Aho and Corasick), so that the time is linear in what is read whatever that is,
//! and how a stream is cut into pieces changes nothing. What may still become a form is held back: at most the longest
//! form less one byte, and until [`Redactor::finish_all`] at the latest. What overlaps is replaced as one.

use super::{SECRET_BYTES_MIN, Secrets, forms};
use crate::msg::Stream;
use crate::run::Problem;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use zeroize::{Zeroize, Zeroizing};

type At = u32;
const ROOT: At = 0;
/// From here on it is markers that are found, not values: what was replaced before is not replaced again.
const MARKER: u8 = 128;

/// A node of the tree of all forms: a beginning of at least one of them.
#[derive(Clone, Copy, Default)]
struct Node {
    byte: u8,
    /// Whose form begins so.
    owner: u8,
    /// The longest form that ends here, bytes (0: none), and whose it is.
    len: u16,
    name: u8,
    depth: u16,
    child: At,
    sibling: At,
    /// The longest other beginning that ends with the same bytes.
    fail: At,
}

/// What is looked for.
pub struct Patterns {
    nodes: Vec<Node>,
    first: Box<[At; 256]>,
    markers: Vec<String>,
}

impl Patterns {
    pub fn new(secrets: &Secrets) -> Patterns {
        let mut patterns =
            Patterns { nodes: vec![Node::default()], first: Box::new([ROOT; 256]), markers: Vec::new() };
        let redacted = || secrets.iter().filter(|(_, secret)| secret.is_redacted());
        patterns.markers = redacted().map(|(name, _)| format!("[secret {name}]")).collect();
        let all: Vec<_> = redacted().map(|(_, secret)| forms::of(secret.bytes())).collect();
        // All at once: what a vector grows out of stays in memory.
        let forms = || all.iter().flatten().map(|form| form.len());
        let markers = patterns.markers.iter().map(String::len);
        patterns.nodes.reserve_exact(forms().chain(markers).sum());
        for (owner, forms) in (0..).zip(&all) {
            forms.iter().for_each(|form| patterns.add(form, owner));
        }
        for (owner, marker) in (MARKER..).zip(patterns.markers.clone()) {
            patterns.add(marker.as_bytes(), owner);
        }
        patterns.link();
        patterns
    }

    fn node(&self, at: At) -> Node {
        self.nodes.get(at as usize).copied().unwrap_or_default()
    }

    fn child(&self, at: At, byte: u8) -> At {
        if at == ROOT {
            return self.first.get(usize::from(byte)).copied().unwrap_or(ROOT);
        }
        let mut child = self.node(at).child;
        while child != ROOT && self.node(child).byte != byte {
            child = self.node(child).sibling;
        }
        child
    }

    fn add(&mut self, form: &[u8], owner: u8) {
        let (Ok(len), mut at) = (u16::try_from(form.len()), ROOT) else { return };
        for (depth, byte) in (1..=len).zip(form.iter().copied()) {
            let mut child = self.child(at, byte);
            if child == ROOT {
                let Ok(new) = At::try_from(self.nodes.len()) else { return };
                child = new;
                let sibling = self.node(at).child;
                self.nodes.push(Node { byte, owner, depth, sibling, ..Node::default() });
                if let Some(parent) = self.nodes.get_mut(at as usize) {
                    parent.child = child;
                }
                if at == ROOT
                    && let Some(first) = self.first.get_mut(usize::from(byte))
                {
                    *first = child;
                }
            }
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at as usize).filter(|node| node.len == 0) {
            (node.len, node.name) = (len, owner);
        }
    }

    /// Nearest to the root first: what a node fails to is nearer.
    fn link(&mut self) {
        let mut queue = vec![ROOT];
        let mut next = 0;
        while let Some(at) = queue.get(next).copied() {
            next += 1;
            let parent = self.node(at);
            let mut child = parent.child;
            while child != ROOT {
                queue.push(child);
                let byte = self.node(child).byte;
                let fail = if at == ROOT { ROOT } else { self.step(parent.fail, byte) };
                let shorter = self.node(fail);
                if let Some(node) = self.nodes.get_mut(child as usize) {
                    node.fail = fail;
                    if node.len == 0 {
                        (node.len, node.name) = (shorter.len, shorter.name);
                    }
                    child = node.sibling;
                }
            }
        }
    }

    fn step(&self, mut at: At, byte: u8) -> At {
        loop {
            let child = self.child(at, byte);
            if child != ROOT || at == ROOT {
                return child;
            }
            at = self.node(at).fail;
        }
    }

    fn marker(&self, name: u8) -> &str {
        self.markers.get(usize::from(name % MARKER)).map_or("[secret]", String::as_str)
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.markers.is_empty()
    }

    /// A whole text.
    pub fn clean(&self, bytes: &[u8]) -> Vec<u8> {
        if self.is_empty() {
            return bytes.to_vec();
        }
        let mut state = State::default();
        let mut out = state.push(self, bytes);
        out.extend(state.finish(self));
        out
    }

    pub fn clean_text(&self, text: &mut String) {
        if !self.is_empty() {
            *text = String::from_utf8_lossy(&self.clean(text.as_bytes())).into_owned();
        }
    }

    pub fn clean_problem(&self, problem: &mut Problem) {
        self.clean_text(&mut problem.code);
        self.clean_text(&mut problem.message);
        problem.hint.iter_mut().for_each(|hint| self.clean_text(hint));
    }
}

/// Nothing is looked for.
impl Default for Patterns {
    fn default() -> Patterns {
        Patterns::new(&Secrets::default())
    }
}

impl Drop for Patterns {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.byte.zeroize());
    }
}

impl core::fmt::Debug for Patterns {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(&self.markers).finish()
    }
}

/// Bytes of a stream that are replaced, counted from its beginning.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
    name: u8,
}

/// One stream.
#[derive(Default)]
struct State {
    at: At,
    /// What was read and not passed on, and where in the stream it begins.
    held: Zeroizing<Vec<u8>>,
    base: u64,
    /// In order, none overlapping another; the first may have begun before `base`.
    spans: Vec<Span>,
}

impl State {
    fn push(&mut self, patterns: &Patterns, bytes: &[u8]) -> Vec<u8> {
        let mut end = self.base + self.held.len() as u64;
        if self.held.capacity() - self.held.len() < bytes.len() {
            // Not grown: what it would grow out of is not overwritten.
            let mut more = Zeroizing::new(Vec::with_capacity(2 * (self.held.len() + bytes.len())));
            more.extend_from_slice(&self.held);
            self.held = more;
        }
        self.held.extend_from_slice(bytes);
        for byte in bytes {
            self.at = patterns.step(self.at, *byte);
            end += 1;
            let node = patterns.node(self.at);
            if node.len > 0 {
                self.cover(Span { start: end - u64::from(node.len), end, name: node.name });
            }
        }
        self.pass_on(patterns, end - u64::from(patterns.node(self.at).depth))
    }

    /// An end that is the beginning of a form may be all of a value but a byte: from the length on from which values
    /// are looked for, it goes too.
    fn finish(&mut self, patterns: &Patterns) -> Vec<u8> {
        let end = self.base + self.held.len() as u64;
        let mut node = patterns.node(self.at);
        while node.depth > 0 && node.owner >= MARKER {
            node = patterns.node(node.fail);
        }
        if usize::from(node.depth) >= SECRET_BYTES_MIN {
            self.cover(Span { start: end - u64::from(node.depth), end, name: node.owner });
        }
        self.at = ROOT;
        self.pass_on(patterns, end)
    }

    /// Spans come by their ends.
    fn cover(&mut self, mut new: Span) {
        let mut longest = new.end - new.start;
        while let Some(last) = self.spans.last().filter(|last| last.end > new.start).copied() {
            // The name is that of the longest.
            if last.end - last.start >= longest {
                (longest, new.name) = (last.end - last.start, last.name);
            }
            new.start = new.start.min(last.start);
            self.spans.pop();
        }
        self.spans.push(new);
    }

    /// Everything before `safe`, which nothing that comes can change.
    fn pass_on(&mut self, patterns: &Patterns, safe: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut from = self.base;
        let mut done = 0;
        for span in self.spans.iter().take_while(|span| span.start < safe) {
            out.extend_from_slice(self.slice(from, span.start));
            from = span.end.min(safe);
            if span.end > safe {
                break;
            }
            done += 1;
            out.extend_from_slice(patterns.marker(span.name).as_bytes());
        }
        self.spans.drain(..done);
        let open = self.spans.first().is_some_and(|span| span.start < safe);
        if !open {
            out.extend_from_slice(self.slice(from, safe));
        }
        let passed = usize::try_from(safe.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let passed = passed.min(self.held.len());
        self.held.drain(..passed);
        self.base = safe;
        out
    }

    fn slice(&self, from: u64, to: u64) -> &[u8] {
        let index = |at: u64| usize::try_from(at.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.held.get(index(from)..index(to)).unwrap_or_default()
    }
}

/// The output of one execution.
pub struct Redactor {
    patterns: Arc<Patterns>,
    /// In the order in which they began.
    streams: Vec<(Stream, State)>,
}

impl Redactor {
    pub fn new(secrets: &Secrets) -> Redactor {
        Redactor::with(Arc::new(Patterns::new(secrets)))
    }

    /// With patterns that others use as well.
    pub fn with(patterns: Arc<Patterns>) -> Redactor {
        Redactor { patterns, streams: Vec::new() }
    }

    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// What of a stream may be passed on, now that these bytes of it are there.
    pub fn push(&mut self, stream: Stream, bytes: Vec<u8>) -> Vec<u8> {
        if self.patterns.is_empty() {
            return bytes;
        }
        let bytes = Zeroizing::new(bytes);
        let at = self.streams.iter().position(|(known, _)| *known == stream).unwrap_or_else(|| {
            self.streams.push((stream, State::default()));
            self.streams.len() - 1
        });
        self.streams.get_mut(at).map(|(_, state)| state.push(&self.patterns, &bytes)).unwrap_or_default()
    }

    /// The rest of every stream.
    pub fn finish_all(&mut self) -> Vec<(Stream, Vec<u8>)> {
        let rest = core::mem::take(&mut self.streams);
        rest.into_iter().map(|(stream, mut state)| (stream, state.finish(&self.patterns))).collect()
    }
}

#[cfg(test)]
mod tests;
