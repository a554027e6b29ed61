//! What targets say beside their output, as JSON lines: what a task asked of its host, and how far it is. It comes from
//! machines that may lie, so everything has a bound, and what cannot be read is counted.

use crate::event::{Body, Call, Progress};
use waft_proto::msg::Stream;

/// One line, bytes; the stub's are shorter.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Lines of one stream of one target that are taken. A stub sends 10,000 records and a progress ten times a second.
const LINES_MAX: u64 = 1_000_000;

/// Lines of one stream, however they were cut on their way.
#[derive(Default)]
pub(crate) struct Said {
    held: Vec<u8>,
    /// The line that comes is too long already.
    long: bool,
    taken: u64,
    /// Lines that were not what they should be, or too many.
    pub(crate) malformed: u64,
}

impl Said {
    /// The events that these bytes complete.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) -> Vec<Body> {
        let mut bodies = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            self.long |= self.held.len() + text.len() > LINE_BYTES_MAX;
            if !self.long {
                self.held.extend_from_slice(text);
            }
            if !ended {
                continue;
            }
            let line = std::mem::take(&mut self.held);
            let body = if std::mem::take(&mut self.long) || self.taken >= LINES_MAX {
                None
            } else {
                body(stream, &line)
            };
            match body {
                Some(body) => bodies.push(body),
                None => self.malformed += 1,
            }
            self.taken += 1;
        }
        bodies
    }
}

fn body(stream: Stream, line: &[u8]) -> Option<Body> {
    match stream {
        Stream::Call => serde_json::from_slice::<Call>(line).ok().map(Body::Call),
        Stream::Progress => serde_json::from_slice::<Progress>(line).ok().map(Body::Progress),
        Stream::Stdout | Stream::Stderr | Stream::Log | Stream::Change => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, Said};
    use crate::event::{Body, Call, Placed, Progress};
    use waft_proto::msg::Stream;

    const LINE: &[u8] = b"{\"call\":\"exec\",\"code\":null,\"ms\":3,\"ok\":true,\"subject\":\"/bin/id\"}\n";

    #[test]
    fn records_are_read_however_they_are_cut() {
        let call = Call {
            call: "exec".to_owned(),
            subject: "/bin/id".to_owned(),
            ok: true,
            code: None,
            ms: 3,
            ..Call::default()
        };
        for at in 0..=LINE.len() {
            let (first, second) = LINE.split_at(at);
            let mut said = Said::default();
            let mut bodies = said.push(Stream::Call, first);
            bodies.extend(said.push(Stream::Call, second));
            assert_eq!((bodies, said.malformed), (vec![Body::Call(call.clone())], 0), "{at}");
        }
        let placed = b"{\"call\":\"exec\",\"files\":[{\"fd\":3,\"hash\":\"ab\"},{\"fd\":4,\"hash\":null}]}\n";
        let files = [(3, Some("ab".to_owned())), (4, None)].map(|(fd, hash)| Placed { fd, hash }).to_vec();
        let call = Call { call: "exec".to_owned(), files, ..Call::default() };
        assert_eq!(Said::default().push(Stream::Call, placed), [Body::Call(call)]);
        let rest = b"{\"call\":\"more\",\"left_out\":7}\n";
        let more = Call { call: "more".to_owned(), left_out: Some(7), ..Call::default() };
        assert_eq!(Said::default().push(Stream::Call, rest), [Body::Call(more)]);
        let progress = Progress { done: 1, total: Some(2), text: None };
        let line = b"{\"done\":1,\"total\":2}\n";
        assert_eq!(Said::default().push(Stream::Progress, line), [Body::Progress(progress)]);
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_bounded() {
        let mut said = Said::default();
        for bad in [b"\n".as_slice(), b"{}\n", b"\xff\n", b"[1]\n", b"{\"call\":1}\n"] {
            assert!(said.push(Stream::Call, bad).is_empty());
        }
        assert_eq!(said.malformed, 5);
        for _ in 0..100 {
            said.push(Stream::Call, &[b'x'; 1000]);
        }
        assert!(said.held.len() <= LINE_BYTES_MAX);
        assert!(said.push(Stream::Call, b"\n").is_empty());
        assert_eq!((said.malformed, said.push(Stream::Call, LINE).len()), (6, 1), "the next one is whole");
    }
}
