//! Bytes of a blob that came deflated, or that stand in another blob.

use super::{Content, Progress, Store, damaged};
use crate::id::Hash;
use crate::limits::{COPY_BYTES_MAX, DICTIONARY_BYTES_MAX};
use crate::msg::Dictionary;
use crate::run::Problem;
use crate::unpack::unpack;
use alloc::format;
use alloc::vec::Vec;

impl Store {
    /// The next bytes of a partial blob, as they are: whoever sent them found that deflate does not help.
    pub fn plain(&mut self, hash: Hash, offset: u64, bytes: &[u8]) -> Result<Progress, Problem> {
        #[cfg(feature = "pack")]
        {
            use super::parts::{Part, Piece, Source};
            let Ok(size) = u32::try_from(bytes.len()) else { return self.append(hash, offset, bytes) };
            let part = Part { offset, bytes: size, source: Source::None };
            self.take(hash, offset, bytes, part, Some(Piece { size, packed: None }))
        }
        #[cfg(not(feature = "pack"))]
        self.append(hash, offset, bytes)
    }

    /// The next bytes of a partial blob, deflated.
    pub fn unpack(
        &mut self,
        hash: Hash,
        offset: u64,
        size: u32,
        dictionary: Option<Dictionary>,
        packed: Vec<u8>,
    ) -> Result<Progress, Problem> {
        if !self.is_next(hash, offset, u64::from(size)) {
            return Ok(Progress::Nothing);
        }
        let known = match dictionary {
            None => &[][..],
            Some(dictionary) if dictionary.bytes as usize > DICTIONARY_BYTES_MAX => {
                let text = format!("its parent named a dictionary of {} bytes", dictionary.bytes);
                return Err(self.refuse(hash, &text));
            }
            Some(Dictionary { from, at, bytes }) => {
                if self.source(from).is_none() {
                    return Ok(Progress::Unknown);
                }
                match self.stretch(from, at, bytes as usize) {
                    Some(known) => known,
                    None => return Err(self.refuse(hash, &outside(from, at, u64::from(bytes)))),
                }
            }
        };
        let bytes = match unpack(known, &packed, size as usize) {
            Ok(bytes) => bytes,
            Err(why) => return Err(self.refuse(hash, &format!("its parent sent {why}"))),
        };
        #[cfg(feature = "pack")]
        {
            use super::parts::{Part, Piece, Source};
            let source = dictionary.map_or(Source::None, |Dictionary { from, at, bytes }| {
                Source::Dictionary { from, at, bytes }
            });
            let piece = Piece { size, packed: Some(packed) };
            self.take(hash, offset, &bytes, Part { offset, bytes: size, source }, Some(piece))
        }
        #[cfg(not(feature = "pack"))]
        self.append(hash, offset, &bytes)
    }

    /// The next bytes of a partial blob stand in another one.
    pub fn copy(
        &mut self,
        hash: Hash,
        offset: u64,
        from: Hash,
        at: u64,
        bytes: u64,
    ) -> Result<Progress, Problem> {
        if !self.is_next(hash, offset, bytes) {
            return Ok(Progress::Nothing);
        }
        if bytes == 0 || bytes > COPY_BYTES_MAX as u64 {
            let text = format!("its parent named {bytes} bytes at once, not 1 to {COPY_BYTES_MAX}");
            return Err(self.refuse(hash, &text));
        }
        let Some(source) = self.source(from) else { return Ok(Progress::Unknown) };
        let begin = usize::try_from(at).unwrap_or(usize::MAX);
        let Some(known) = source.get(begin..begin.saturating_add(bytes as usize)) else {
            return Err(self.refuse(hash, &outside(from, at, bytes)));
        };
        #[cfg(feature = "pack")]
        {
            use super::parts::{Part, Source};
            let part = Part { offset, bytes: bytes as u32, source: Source::Copy { from, at } };
            self.take(hash, offset, known, part, None)
        }
        #[cfg(not(feature = "pack"))]
        self.append(hash, offset, known)
    }

    #[cfg(feature = "pack")]
    fn take(
        &mut self,
        hash: Hash,
        offset: u64,
        bytes: &[u8],
        part: super::parts::Part,
        piece: Option<super::parts::Piece>,
    ) -> Result<Progress, Problem> {
        let fits = self.arrived(hash) == Some(offset);
        let progress = self.append(hash, offset, bytes)?;
        if fits && progress != Progress::Nothing {
            self.note(hash, part, piece);
        }
        Ok(progress)
    }

    /// Whether a message holds bytes of a blob that is arriving which are not here yet, and no gap is before them.
    fn is_next(&self, hash: Hash, offset: u64, bytes: u64) -> bool {
        // What stands for no bytes is looked at: it is refused.
        let new = |have: u64| offset <= have && (offset.saturating_add(bytes) > have || bytes == 0);
        self.arrived(hash).is_some_and(new)
    }

    /// How much of a partial blob is here.
    fn arrived(&self, hash: Hash) -> Option<u64> {
        match &self.blobs.get(&hash)?.content {
            Content::Partial { bytes, .. } => Some(bytes.len() as u64),
            Content::Whole(_) => None,
        }
    }

    /// A whole blob that another refers to. More of that may, so it counts as used.
    fn source(&mut self, hash: Hash) -> Option<alloc::sync::Arc<[u8]>> {
        let used = self.tick();
        let blob = self.blobs.get_mut(&hash)?;
        let Content::Whole(bytes) = &blob.content else { return None };
        blob.used = used;
        Some(bytes.clone())
    }

    /// So many bytes of a blob that is here.
    pub(super) fn stretch(&self, hash: Hash, at: u64, bytes: usize) -> Option<&[u8]> {
        self.read(hash, at, bytes).filter(|known| known.len() == bytes)
    }

    fn refuse(&mut self, hash: Hash, why: &str) -> Problem {
        self.remove(hash);
        damaged(hash, why)
    }
}

fn outside(from: Hash, at: u64, bytes: u64) -> alloc::string::String {
    format!("its parent named {bytes} bytes of blob {} from {at} on, which it does not have", from.short())
}
