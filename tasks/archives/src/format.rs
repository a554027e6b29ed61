//! Which archive it is.

use waft_sdk::Error;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Tar,
    Gzip,
    Zstd,
    Zip,
}

impl Format {
    /// As a parameter names it.
    pub fn named(name: &str) -> Result<Format, Error> {
        match name {
            "tar" => Ok(Format::Tar),
            "gz" | "tgz" | "tar.gz" => Ok(Format::Gzip),
            "zst" | "zstd" | "tar.zst" => Ok(Format::Zstd),
            "zip" => Ok(Format::Zip),
            _ => {
                let text = format!("`format` is `{}`, expected tar, gz, zst or zip", name.escape_debug());
                Err(Error::new("params.format", text))
            }
        }
    }

    /// As the name of a file ends.
    pub fn of_name(name: &str) -> Option<Format> {
        [
            (".tar", Format::Tar),
            (".gz", Format::Gzip),
            (".tgz", Format::Gzip),
            (".zst", Format::Zstd),
            (".zip", Format::Zip),
        ]
        .into_iter()
        .find(|(end, _)| name.ends_with(end))
        .map(|(_, format)| format)
    }

    /// By the first bytes.
    pub fn of_bytes(bytes: &[u8]) -> Format {
        match bytes {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Format::Zip,
            _ => Format::Tar,
        }
    }
}
