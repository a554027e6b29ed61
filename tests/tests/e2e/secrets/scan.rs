//! Looks for a value wherever it could have gone.

use crate::home::holds_some;
use memchr::memmem::Finder;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use waft_tests::process;

/// Of each end of the value, bytes.
const END_BYTES: usize = 12;
/// No file is larger that could hold it.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The forms of both ends of a value: what is escaped is between them.
pub(crate) struct Search(Vec<Finder<'static>>);

impl Search {
    pub(crate) fn of(value: &str) -> Search {
        let mut forms: Vec<Vec<u8>> = Vec::new();
        let bytes = value.as_bytes();
        let ends = bytes.first_chunk::<END_BYTES>().into_iter().chain(bytes.last_chunk::<END_BYTES>());
        for end in ends {
            let hex: String = end.iter().map(|byte| format!("{byte:02x}")).collect();
            forms.extend([end.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()]);
            forms.extend((0..3).map(|before| base64_inside(end, before)));
        }
        assert_eq!(forms.len(), 12, "the value has two ends");
        Search(forms.iter().map(|form| Finder::new(form).into_owned()).collect())
    }

    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|form| form.find(bytes).is_some())
    }

    /// Processes of this machine that have it in their arguments, and those that have it in their environment.
    pub(crate) fn in_arguments_and_environments(&self) -> [Vec<String>; 2] {
        ["cmdline", "environ"].map(|file| {
            let all = process::all().into_iter();
            let has =
                |pid: u32| fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| self.is_in(&bytes));
            all.filter(|process| has(process.id.pid)).map(|process| process.to_string()).collect()
        })
    }

    /// Of these, the processes that have it in their memory.
    pub(crate) fn in_memory_of(&self, pids: impl IntoIterator<Item = u32>) -> Vec<u32> {
        pids.into_iter().filter(|pid| holds_some(*pid, |bytes| self.is_in(bytes))).collect()
    }

    /// Files below a directory that hold it, or are called so.
    pub(crate) fn in_files(&self, below: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        self.look(below, &|_| true, &mut found);
        found
    }

    /// The same, of what belongs to an account.
    pub(crate) fn in_files_of(&self, uid: u32, below: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        self.look(below, &|metadata| metadata.uid() == uid, &mut found);
        found
    }

    fn look(&self, below: &Path, wanted: &dyn Fn(&fs::Metadata) -> bool, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(below).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            if !wanted(&metadata) {
                continue;
            }
            let named = self.is_in(path.as_os_str().as_encoded_bytes());
            let readable = metadata.is_file() && metadata.len() <= FILE_BYTES_MAX;
            if named || readable && fs::read(&path).is_ok_and(|bytes| self.is_in(&bytes)) {
                found.push(path.clone());
            }
            if metadata.is_dir() {
                self.look(&path, wanted, found);
            }
        }
    }
}

/// The characters of base64 that are made of `text` alone, when so many bytes are before it.
fn base64_inside(text: &[u8], before: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded = [&vec![0; before], text].concat();
    let bit = |at: usize| padded[at / 8] >> (7 - at % 8) & 1;
    let digit = |at: usize| (0..6).fold(0, |digit, more| digit << 1 | bit(6 * at + more));
    let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    (first..end).map(|at| DIGITS[usize::from(digit(at))]).collect()
}

#[test]
fn the_search_finds_what_coreutils_make_of_a_value() {
    use std::process::Command;
    use waft_tests::process::run_tool;
    let value = super::fresh("value");
    let search = Search::of(&value);
    for before in ["", "a", "ab", "abc"] {
        for line in ["cat", "base64 -w0", "basenc --base16 -w0", "od -An -v -tx1 | tr -d ' \\n'"] {
            let mut shell = Command::new("sh");
            shell.args(["-c", line]);
            let made = run_tool(shell, format!("{before}{value}zz").as_bytes()).expect("it runs");
            assert!(search.is_in(made.as_bytes()), "{line}: {made}");
            assert!(!Search::of(&super::fresh("other")).is_in(made.as_bytes()), "{line}: {made}");
        }
    }
}
