//! What targets were the last time: their machine, and how they take a stub. Spares a question per cold
//! connect; when it is wrong the delivery line notices, and the host is asked after all.
//!
//! A small text file under the state directory: `name arch exact`, one host a line. Losing it costs time only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use waft_proto::msg::{Arch, Remembered};

/// Hosts kept; beyond it the file starts anew.
const HOSTS_MAX: usize = 100_000;

#[derive(Default)]
pub struct Memory {
    file: Option<PathBuf>,
    hosts: BTreeMap<String, Remembered>,
    changed: bool,
}

impl Memory {
    /// Nothing remembered, nothing kept.
    pub fn none() -> Memory {
        Memory::default()
    }

    pub fn load(file: PathBuf) -> Memory {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let hosts = text.lines().filter_map(parse).take(HOSTS_MAX).collect();
        Memory { file: Some(file), hosts, changed: false }
    }

    pub fn recall(&self, name: &str) -> Option<Remembered> {
        self.hosts.get(name).copied()
    }

    pub fn learn(&mut self, name: &str, remembered: Remembered) {
        let writable = !name.is_empty() && !name.contains(char::is_whitespace);
        if writable && self.hosts.insert(name.to_owned(), remembered) != Some(remembered) {
            self.changed = true;
        }
    }

    pub fn forget(&mut self, name: &str) {
        self.changed |= self.hosts.remove(name).is_some();
    }

    /// Writes the file when something changed. Two commands at once: the later one wins, which loses
    /// nothing that cannot be asked again.
    pub fn save(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.changed) else { return };
        if self.hosts.len() > HOSTS_MAX {
            self.hosts.clear();
        }
        let lines = self
            .hosts
            .iter()
            .map(|(name, host)| format!("{name} {} {}\n", host.arch.word(), u8::from(host.exact)));
        if let Err(error) = crate::files::write_private(file, lines.collect::<String>().as_bytes()) {
            tracing::warn!("{} could not be written: {}", file.display(), crate::files::plain(&error));
        }
        self.changed = false;
    }
}

fn parse(line: &str) -> Option<(String, Remembered)> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let arch = Arch::parse(words.next()?)?;
    let exact = words.next()? == "1";
    Some((name, Remembered { arch, exact }))
}

#[cfg(test)]
mod tests;
