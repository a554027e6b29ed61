//! A host for tests.

use crate::call::Host;

/// Answers every call with `reply`, or with `code` when that is negative, and keeps what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) reply: Vec<u8>,
    pub(crate) code: i32,
    pub(crate) short_by: usize,
    pub(crate) asked: Vec<u8>,
    pub(crate) taken: usize,
}

impl Script {
    pub(crate) fn replying(reply: impl Into<Vec<u8>>) -> Script {
        Script { reply: reply.into(), ..Script::default() }
    }

    pub(crate) fn asked(&self) -> &str {
        std::str::from_utf8(&self.asked).unwrap()
    }

    fn answer(&mut self, request: &[u8]) -> i32 {
        (self.asked, self.taken) = (request.to_vec(), 0);
        if self.code < 0 { self.code } else { i32::try_from(self.reply.len()).unwrap() }
    }
}

impl Host for Script {
    fn facts(&mut self, request: &[u8]) -> i32 {
        self.answer(request)
    }

    fn exec(&mut self, request: &[u8]) -> i32 {
        self.answer(request)
    }

    fn file(&mut self, request: &[u8]) -> i32 {
        self.answer(request)
    }

    fn net(&mut self, request: &[u8]) -> i32 {
        self.answer(request)
    }

    fn task(&mut self, request: &[u8]) -> i32 {
        self.answer(request)
    }

    fn blob(&mut self, request: &[u8]) -> i32 {
        self.answer(request)
    }

    fn secret(&mut self, request: &[u8]) -> i32 {
        self.answer(request)
    }

    fn emit(&mut self, request: &[u8]) -> i32 {
        self.answer(request)
    }

    fn take(&mut self, into: &mut [u8]) -> i32 {
        let left = &self.reply[self.taken..];
        let copied = left.len().min(into.len()) - self.short_by.min(left.len());
        into[..copied].copy_from_slice(&left[..copied]);
        self.taken += copied;
        i32::try_from(copied).unwrap()
    }

    fn read(&mut self, _: u32, into: &mut [u8]) -> i32 {
        if self.code < 0 { self.code } else { self.take(into) }
    }

    fn write(&mut self, _: u32, bytes: &[u8]) -> i32 {
        self.answer(bytes).min(i32::try_from(bytes.len()).unwrap())
    }
}
