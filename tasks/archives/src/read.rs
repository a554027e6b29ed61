//! From bytes to entries.

use crate::{Format, Member, broken, tar, unread, zip};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use std::io::{self, BufRead, BufReader, Read};
use waft_sdk::Error;

/// tar(1) pads to records, which are at most a few MiB; bytes.
const PADDING_BYTES_MAX: u64 = 64 << 20;

/// Calls `take` with each entry and its bytes, in the order of the archive.
pub fn each(
    input: impl Read,
    take: &mut dyn FnMut(&Member, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let format = Format::of_bytes(input.fill_buf().map_err(|error| unread(&error))?);
    match format {
        Format::Tar => tar::read(&mut input, take),
        Format::Gzip => to_the_end(&mut MultiGzDecoder::new(input), take),
        Format::Zstd => to_the_end(&mut Frames { input: Some(input), frame: None }, take),
        Format::Zip => zip::read(&mut input, take),
    }
}

/// Behind the last entry comes nothing but the checksum, and what pads the archive.
fn to_the_end(
    input: &mut dyn Read,
    take: &mut dyn FnMut(&Member, &mut dyn Read) -> Result<(), Error>,
) -> Result<(), Error> {
    tar::read(input, take)?;
    let padding = io::copy(&mut Read::take(input, PADDING_BYTES_MAX + 1), &mut io::sink());
    if padding.map_err(|error| unread(&error))? > PADDING_BYTES_MAX {
        let text = format!("the archive has more than {PADDING_BYTES_MAX} bytes behind its last entry");
        return Err(broken(text));
    }
    Ok(())
}

/// All frames of zstd behind each other.
struct Frames<R: BufRead> {
    input: Option<R>,
    frame: Option<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                match frame.read(into)? {
                    0 => {
                        let sum = frame.decoder.get_checksum_from_data();
                        if sum.is_some() && sum != frame.decoder.get_calculated_checksum() {
                            return Err(io::Error::other("the checksum of a frame is wrong"));
                        }
                        self.input = self.frame.take().map(StreamingDecoder::into_inner);
                    }
                    count => return Ok(count),
                }
            }
            let Some(mut input) = self.input.take() else { return Ok(0) };
            if input.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.frame =
                Some(StreamingDecoder::new(input).map_err(|error| io::Error::other(error.to_string()))?);
        }
    }
}
