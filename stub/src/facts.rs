//! Facts of the machine this stub runs on, as one JSON object.
//!
//! Named as in Ansible's setup module without the `ansible_` prefix, so that what people know applies. Units are in the
//! names (`_mb`, `_seconds`) or, for mounts, bytes.
//!
//! What it may not do: start a program, wait for a network file system, fail. What a machine does not tell is left out;
//! a stub also runs in containers without /proc. The object stays under [`FACTS_BYTES_MAX`], because a thousand targets
//! answer at once: lists that do not fit are shortened, and `truncated` names them.
//!
//! Everything but the system calls in [`Machine::this`] and `statvfs` is read below a root path, which is how it is tested.

mod machine;
mod mounts;
mod network;
mod system;
mod time;
mod user;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Of the facts as JSON text.
pub const FACTS_BYTES_MAX: usize = 3 * 1024;

/// Of any file read. The largest that matters is /proc/cpuinfo: 1.5 kB for each processor.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Of any text taken from a file: a name, a model, an address. Longer ones are cut.
const TEXT_CHARS_MAX: usize = 128;

/// Entries of any list, before the whole is measured.
const LIST_ENTRIES_MAX: usize = 32;

/// The facts of this machine.
pub fn facts() -> Value {
    facts_of(&Machine::this())
}

/// What cannot be read from a file below the root.
struct Machine {
    root: PathBuf,
    kernel: Kernel,
    uid: u32,
    gid: u32,
    /// Seconds since 1970, UTC.
    now: u64,
}

/// What uname(2) says.
struct Kernel {
    system: String,
    node: String,
    release: String,
    version: String,
    architecture: String,
}

impl Machine {
    fn this() -> Machine {
        let uname = rustix::system::uname();
        let text = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
        Machine {
            root: PathBuf::from("/"),
            kernel: Kernel {
                system: text(uname.sysname()),
                node: text(uname.nodename()),
                release: text(uname.release()),
                version: text(uname.version()),
                architecture: text(uname.machine()),
            },
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }

    /// A path below the root, given absolute.
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The text of a regular file, as far as it is UTF-8 and within [`FILE_BYTES_MAX`].
    fn read(&self, path: &str) -> Option<String> {
        read_bounded(&self.path(path))
    }

    /// The only line of a file such as those of /sys and /etc/machine-id.
    fn line(&self, path: &str) -> Option<String> {
        let text = self.read(path)?;
        let line = text.lines().next()?.trim();
        (!line.is_empty()).then(|| cut(line))
    }

    /// The names in a directory, sorted, because the order of readdir is nobody's.
    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// The text of a regular file, as far as it is UTF-8 and within [`FILE_BYTES_MAX`].
pub(crate) fn read_bounded(path: &Path) -> Option<String> {
    // A FIFO or a device would block here for ever.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Facts being gathered. What is `None` stays out.
#[derive(Default)]
struct Facts(Map<String, Value>);

impl Facts {
    fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.into(), value.into());
        }
    }

    fn put_text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.0.insert(name.into(), cut(text).into());
        }
    }

    fn put_list<V: Into<Value>>(&mut self, name: &str, values: impl IntoIterator<Item = V>) {
        let values: Vec<Value> = values.into_iter().take(LIST_ENTRIES_MAX).map(Into::into).collect();
        if !values.is_empty() {
            self.0.insert(name.into(), values.into());
        }
    }
}

fn facts_of(machine: &Machine) -> Value {
    let mut facts = Facts::default();
    system::gather(machine, &mut facts);
    machine::gather(machine, &mut facts);
    user::gather(machine, &mut facts);
    network::gather(machine, &mut facts);
    mounts::gather(machine, &mut facts);
    facts.put("date_time", Some(time::date_time(machine.now)));
    within(facts.0, FACTS_BYTES_MAX)
}

/// Shortens the list that takes most until the whole fits. Each turn takes one entry away, so it ends.
fn within(mut facts: Map<String, Value>, bytes_max: usize) -> Value {
    let mut truncated: Vec<Value> = Vec::new();
    loop {
        if !truncated.is_empty() {
            facts.insert("truncated".into(), truncated.clone().into());
        }
        if text_bytes(&facts) <= bytes_max {
            return Value::Object(facts);
        }
        let largest = facts
            .iter()
            .filter(|(name, value)| {
                *name != "truncated" && value.as_array().is_some_and(|list| !list.is_empty())
            })
            .max_by_key(|(_, value)| value.to_string().len())
            .map(|(name, _)| name.clone());
        // Without lists it is some forty texts of bounded length; were they all at their bound, the last ones go.
        let last = || facts.keys().rfind(|name| *name != "truncated").cloned();
        let Some(name) = largest.or_else(last) else {
            return Value::Object(Map::new());
        };
        if !truncated.iter().any(|known| *known == name) {
            truncated.push(name.clone().into());
        }
        let emptied = facts.get_mut(&name).and_then(Value::as_array_mut).is_none_or(|list| {
            list.pop();
            list.is_empty()
        });
        if emptied {
            facts.remove(&name);
        }
    }
}

fn text_bytes(facts: &Map<String, Value>) -> usize {
    serde_json::to_string(facts).map_or(usize::MAX, |text| text.len())
}
