//! The output of one execution, counted and limited on the stub's side: what a worker says about it is
//! believed only where it says more.

use waft_proto::msg::Stream;

/// One stream.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    bytes: u64,
    /// More than the limit was written.
    truncated: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    limit: u64,
    stdout: Count,
    stderr: Count,
    progress: Count,
}

impl Counts {
    /// `limit` holds for each stream, so that a chatty log does not cost a task its result.
    pub(super) fn new(limit: u64) -> Counts {
        Counts { limit, stdout: Count::default(), stderr: Count::default(), progress: Count::default() }
    }

    fn of(&mut self, stream: Stream) -> &mut Count {
        match stream {
            Stream::Stdout => &mut self.stdout,
            // The log is stderr with another name: they share a limit, and are told about together.
            Stream::Stderr | Stream::Log => &mut self.stderr,
            // What is not the task's own text has limits of its own.
            Stream::Progress | Stream::Change | Stream::Call => &mut self.progress,
        }
    }

    /// Counts `bytes` and takes away what is beyond the limit.
    pub(super) fn admit(&mut self, stream: Stream, bytes: &mut Vec<u8>) {
        let limit = self.limit;
        let count = self.of(stream);
        let room = usize::try_from(limit.saturating_sub(count.bytes)).unwrap_or(usize::MAX);
        count.bytes = count.bytes.saturating_add(bytes.len() as u64);
        count.truncated |= bytes.len() > room;
        bytes.truncate(room);
    }

    /// What a worker says it wrote, what it did not send included.
    pub(super) fn claimed(&mut self, stream: Stream, bytes: u64) {
        let limit = self.limit;
        let count = self.of(stream);
        // Only a stream that reached the limit can have more than came here.
        if count.truncated && bytes > limit {
            count.bytes = count.bytes.max(bytes);
        }
    }

    /// Bytes of a stream, and whether some of them were dropped.
    pub(super) fn total(&mut self, stream: Stream) -> (u64, bool) {
        let count = self.of(stream);
        (count.bytes, count.truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;
    use waft_proto::msg::Stream;

    #[test]
    fn beyond_the_limit_bytes_are_counted_and_dropped_per_stream() {
        let mut counts = Counts::new(4);
        for (sent, kept) in [("abc", "abc"), ("def", "d"), ("g", "")] {
            let mut bytes = sent.as_bytes().to_vec();
            counts.admit(Stream::Stdout, &mut bytes);
            assert_eq!(bytes, kept.as_bytes());
        }
        assert_eq!(counts.total(Stream::Stdout), (7, true));
        assert_eq!(counts.total(Stream::Stderr), (0, false));
    }

    #[test]
    fn exactly_the_limit_is_not_truncated_and_claims_below_it_are_ignored() {
        let mut counts = Counts::new(2);
        counts.admit(Stream::Stderr, &mut b"ab".to_vec());
        counts.claimed(Stream::Stderr, u64::MAX);
        assert_eq!(counts.total(Stream::Stderr), (2, false));
        counts.admit(Stream::Stderr, &mut b"c".to_vec());
        counts.claimed(Stream::Stderr, 9);
        assert_eq!(counts.total(Stream::Stderr), (9, true));
    }
}
