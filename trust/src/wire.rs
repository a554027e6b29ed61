//! SSH's binary encoding (RFC 4251), read from the front.

pub(crate) struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Wire<'a> {
        Wire(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Length and bytes.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::Wire;

    #[test]
    fn it_gives_what_is_there_and_nothing_beyond() {
        let mut wire = Wire::new(&[7, 0, 0, 0, 2, b'o', b'k', 0, 0, 0, 9, 1]);
        assert_eq!(wire.u8(), Some(7));
        assert_eq!(wire.string(), Some(&b"ok"[..]));
        assert_eq!(wire.string(), None);
        let mut wire = Wire::new(&[1, 2, 3]);
        assert_eq!((wire.u32(), wire.u64()), (None, None));
        assert_eq!(wire.take(4), None);
        assert_eq!(wire.take(3), Some(&[1, 2, 3][..]));
        assert!(wire.is_empty());
    }
}
