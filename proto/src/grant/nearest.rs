//! "Did you mean": the one known word that is near an unknown one.

use alloc::vec::Vec;

/// Words longer than this are no typing mistakes; bounds the work, in characters.
const CHARS_MAX: usize = 64;

/// The known word with the fewest changes (a letter more, less, other, or two neighbours swapped), when
/// they are at most a third of the word: more would be guessing. The first one wins among equals.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let chars =
        |text: &str| text.chars().flat_map(char::to_lowercase).take(CHARS_MAX + 1).collect::<Vec<_>>();
    let word = chars(word);
    if word.is_empty() || word.len() > CHARS_MAX {
        return None;
    }
    let mut best = None;
    for candidate in known {
        let other = chars(candidate);
        let most = word.len().max(other.len()).div_ceil(3);
        if other.len() > CHARS_MAX || word.len().abs_diff(other.len()) > most {
            continue;
        }
        let changes = distance(&word, &other);
        // Nothing in common is no resemblance, however short the words are.
        if changes <= most
            && changes < word.len().max(other.len())
            && best.is_none_or(|(least, _)| changes < least)
        {
            best = Some((changes, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn distance(a: &[char], b: &[char]) -> usize {
    // Three rows of the usual table: before the last, last, current.
    let mut older: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut before_a = None;
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        let mut left = i + 1;
        row.push(left);
        let mut before_b = None;
        for (j, (&y, pair)) in b.iter().zip(last.windows(2)).enumerate() {
            let [diagonal, above] = pair else { continue };
            let mut least = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            if before_a == Some(y) && before_b == Some(x) {
                let swapped = j.checked_sub(1).and_then(|at| older.get(at));
                least = swapped.map_or(least, |cost| least.min(cost + 1));
            }
            row.push(least);
            left = least;
            before_b = Some(y);
        }
        older = core::mem::replace(&mut last, row);
        before_a = Some(x);
    }
    last.last().copied().unwrap_or(a.len())
}
