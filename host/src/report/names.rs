//! Many host names in few words: `web[01-03,05],db1`. What is printed is a selector that `-t` takes.

use std::collections::HashMap;

/// Digit runs of one name that are tried, from the end: host names rarely count in more places.
const RUNS_MAX: usize = 4;
/// Digits of a number that is counted; longer ones (serial numbers) are left as they are.
const DIGITS_MAX: usize = 18;

/// A name with one of its numbers taken out.
#[derive(Clone, Copy)]
struct Split<'a> {
    prefix: &'a str,
    digits: &'a str,
    suffix: &'a str,
    value: u64,
}

impl<'a> Split<'a> {
    fn key(&self) -> (&'a str, &'a str) {
        (self.prefix, self.suffix)
    }

    /// No padding: the number as one would count.
    fn is_natural(&self) -> bool {
        self.digits == "0" || !self.digits.starts_with('0')
    }

    /// Whether a range that began with `first` and reached `last` goes on with `self`.
    fn follows(&self, first: &Split<'_>, last: &Split<'_>) -> bool {
        let same_width = self.digits.len() == last.digits.len();
        Some(self.value) == last.value.checked_add(1)
            && (same_width || (first.is_natural() && self.is_natural()))
    }
}

fn splits(name: &str) -> Vec<Split<'_>> {
    // These mean something to a selector: such a name is not touched.
    if name.contains(['[', ']', ',', '*', '?', '!']) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = name;
    while found.len() < RUNS_MAX {
        let Some(end) = rest.rfind(|c: char| c.is_ascii_digit()).map(|at| at + 1) else { break };
        let (head, _) = rest.split_at(end);
        let start = head.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (prefix, digits) = head.split_at(start);
        let (_, suffix) = name.split_at(end);
        if digits.len() <= DIGITS_MAX
            && let Ok(value) = digits.parse()
        {
            found.push(Split { prefix, digits, suffix, value });
        }
        rest = prefix;
    }
    found
}

/// The names in as few words as ranges allow, in the order of their first appearance. Every name is in exactly
/// one word.
pub fn compress<S: AsRef<str>>(names: &[S]) -> Vec<String> {
    let all: Vec<(&str, Vec<Split<'_>>)> = names.iter().map(|n| (n.as_ref(), splits(n.as_ref()))).collect();
    let mut popular: HashMap<(&str, &str), usize> = HashMap::new();
    for split in all.iter().flat_map(|(_, splits)| splits) {
        *popular.entry(split.key()).or_default() += 1;
    }
    let mut groups: Vec<(&str, Vec<Split<'_>>)> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for (name, splits) in &all {
        // The number that most names differ in; of equals the last in the name, which stands first here.
        let count = |split: &Split<'_>| popular.get(&split.key()).copied().unwrap_or(0);
        let best = splits.iter().rev().max_by_key(|split| count(split)).copied();
        match best {
            Some(split) if count(&split) > 1 => {
                match places.get(&split.key()).and_then(|&at| groups.get_mut(at)) {
                    Some((_, members)) => members.push(split),
                    None => {
                        places.insert(split.key(), groups.len());
                        groups.push((name, vec![split]));
                    }
                }
            }
            _ => groups.push((name, Vec::new())),
        }
    }
    groups
        .into_iter()
        .map(|(name, mut members)| match members.as_slice() {
            [] | [_] => name.to_owned(),
            [Split { prefix, suffix, .. }, ..] => {
                let (prefix, suffix) = (*prefix, *suffix);
                members.sort_by_key(|split| (split.value, split.digits.len()));
                members.dedup_by_key(|split| split.digits);
                format!("{prefix}[{}]{suffix}", ranges(&members))
            }
        })
        .collect()
}

/// `01-03,05`, from numbers in order.
fn ranges(numbers: &[Split<'_>]) -> String {
    let mut found: Vec<(Split<'_>, Split<'_>)> = Vec::new();
    for &number in numbers {
        match found.last_mut() {
            Some((first, last)) if number.follows(first, last) => *last = number,
            _ => found.push((number, number)),
        }
    }
    let word = |(first, last): (Split<'_>, Split<'_>)| match first.value == last.value {
        true => first.digits.to_owned(),
        false => format!("{}-{}", first.digits, last.digits),
    };
    found.into_iter().map(word).collect::<Vec<_>>().join(",")
}

/// All names in one word of at most `columns` columns; what does not fit is counted: `web[01-20],db1,… (25 hosts)`.
pub fn joined<S: AsRef<str>>(names: &[S], columns: usize, ellipsis: &str) -> String {
    let words = compress(names);
    let whole = words.join(",");
    if whole.chars().count() <= columns {
        return whole;
    }
    let tail = format!("{ellipsis} ({} hosts)", names.len());
    let mut left = columns.saturating_sub(tail.chars().count());
    let mut out = String::new();
    for word in &words {
        match left.checked_sub(word.chars().count() + 1) {
            Some(rest) => left = rest,
            None => break,
        }
        out.push_str(word);
        out.push(',');
    }
    if out.is_empty() && names.len() == 1 {
        // One long name says more than "1 hosts"; the table cuts it.
        return whole;
    }
    out.push_str(&tail);
    out
}

#[cfg(test)]
mod tests;
