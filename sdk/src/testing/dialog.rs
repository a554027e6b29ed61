//! What is said on a connection.

use std::collections::VecDeque;

/// The other side of a connection: what it expects to read, and what it answers, in this order. Afterwards it ends its part.
///
/// ```
/// use waft_sdk::testing::Dialog;
/// let redis = Dialog::new().expect("PING\r\n").answer("+PONG\r\n");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dialog(VecDeque<Step>);

#[derive(Clone, Debug)]
enum Step {
    Expect(Vec<u8>),
    Answer(Vec<u8>),
}

impl Dialog {
    pub fn new() -> Dialog {
        Dialog::default()
    }

    pub fn expect(mut self, bytes: impl Into<Vec<u8>>) -> Dialog {
        self.0.push_back(Step::Expect(bytes.into()));
        self
    }

    pub fn answer(mut self, bytes: impl Into<Vec<u8>>) -> Dialog {
        self.0.push_back(Step::Answer(bytes.into()));
        self
    }

    /// How many of the bytes were taken. A test fails that hears what it does not expect.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(Step::Expect(expected)) = self.0.front_mut() else {
            panic!(
                "the task wrote {:?}, and the test expects nothing here",
                bytes.escape_ascii().to_string()
            );
        };
        let taken = bytes.len().min(expected.len());
        assert!(
            expected.starts_with(&bytes[..taken]),
            "the task wrote \"{}\", and the test expects \"{}\"",
            bytes.escape_ascii(),
            expected.escape_ascii()
        );
        expected.drain(..taken);
        if expected.is_empty() {
            self.0.pop_front();
        }
        taken
    }

    /// Fails the test when something is still expected.
    pub(super) fn said_all(&self) {
        for step in &self.0 {
            if let Step::Expect(expected) = step {
                panic!("the task has ended, and the test still expects \"{}\"", expected.escape_ascii());
            }
        }
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        match self.0.front_mut() {
            None => 0,
            Some(Step::Expect(expected)) => {
                panic!("the task reads, and the test still expects \"{}\"", expected.escape_ascii())
            }
            Some(Step::Answer(answer)) => {
                let given = into.len().min(answer.len());
                into[..given].copy_from_slice(&answer[..given]);
                answer.drain(..given);
                if answer.is_empty() {
                    self.0.pop_front();
                }
                given
            }
        }
    }
}
