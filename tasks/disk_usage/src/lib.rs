//! Sums and shares. A library of its own, so that its tests run on the machine that builds it.

use serde::Serialize;

/// How much of it is used, as df(1) has it: what only root may take counts as used by nobody.
pub fn used_percent(total: u64, free: u64, available: u64) -> f64 {
    let used = total.saturating_sub(free);
    let all = used + available;
    if all == 0 { 0.0 } else { (used as f64 * 1000.0 / all as f64).round() / 10.0 }
}

#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Part {
    pub path: String,
    pub bytes: u64,
}

/// The largest of many, of which no more are kept.
pub struct Largest {
    most: usize,
    parts: Vec<Part>,
}

impl Largest {
    pub fn new(most: usize) -> Largest {
        Largest { most, parts: Vec::new() }
    }

    pub fn add(&mut self, path: &str, bytes: u64) {
        let at = self.parts.partition_point(|part| part.bytes >= bytes);
        if at < self.most {
            self.parts.insert(at, Part { path: path.to_owned(), bytes });
            self.parts.truncate(self.most);
        }
    }

    pub fn parts(self) -> Vec<Part> {
        self.parts
    }
}

/// Directories that are open while a tree is walked, each with what was added up in it and below.
#[derive(Default)]
pub struct Sums(Vec<(String, u32, u64)>);

impl Sums {
    /// What comes next is this deep: deeper directories are complete.
    pub fn at(&mut self, depth: u32, complete: &mut dyn FnMut(&str, u64)) {
        while self.0.last().is_some_and(|(_, open, _)| *open >= depth) {
            if let Some((path, _, bytes)) = self.0.pop() {
                complete(&path, bytes);
                self.add(bytes);
            }
        }
    }

    pub fn open(&mut self, path: &str, depth: u32) {
        self.0.push((path.to_owned(), depth, 0));
    }

    pub fn add(&mut self, bytes: u64) {
        if let Some((.., sum)) = self.0.last_mut() {
            *sum += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_df() {
        assert_eq!(used_percent(1_000, 500, 400), 55.6);
        assert_eq!(
            (used_percent(0, 0, 0), used_percent(10, 0, 0), used_percent(10, 10, 10)),
            (0.0, 100.0, 0.0)
        );
    }

    #[test]
    fn the_largest_are_kept() {
        let mut largest = Largest::new(2);
        for (path, bytes) in [("a", 1), ("b", 3), ("c", 2), ("d", 3)] {
            largest.add(path, bytes);
        }
        let parts: Vec<_> = largest.parts().into_iter().map(|part| (part.path, part.bytes)).collect();
        assert_eq!(parts, [("b".to_owned(), 3), ("d".to_owned(), 3)]);
        let mut none = Largest::new(0);
        none.add("a", 1);
        assert!(none.parts().is_empty());
    }

    #[test]
    fn directories_have_what_is_below_them() {
        // In a: 1, and in b below it 5; in c: 4.
        let (mut sums, mut done) = (Sums::default(), Vec::new());
        let mut complete = |path: &str, bytes| done.push((path.to_owned(), bytes));
        for (path, depth, bytes) in [
            ("a", 1, None),
            ("a/1", 2, Some(1)),
            ("a/b", 2, None),
            ("a/b/2", 3, Some(5)),
            ("c", 1, None),
            ("c/4", 2, Some(4)),
        ] {
            sums.at(depth, &mut complete);
            match bytes {
                Some(bytes) => sums.add(bytes),
                None => sums.open(path, depth),
            }
        }
        sums.at(0, &mut complete);
        assert_eq!(done, [("a/b".to_owned(), 5), ("a".to_owned(), 6), ("c".to_owned(), 4)]);
    }
}
