//! What becomes of the lines. A library of its own, so that its tests run on the machine that builds it.

use waft_sdk::Error;
use waft_tasks_common::files::{Insert, bare, replaced};

/// The lines around a block.
pub struct Markers {
    begin: String,
    end: String,
}

impl Markers {
    pub fn new(marker: &str, begin: &str, end: &str) -> Result<Markers, Error> {
        let wrong = |text: &str, hint: &str| {
            Err(Error { hint: Some(hint.into()), ..Error::new("params.marker", text) })
        };
        if !marker.contains("{mark}") {
            return wrong("`marker` holds no `{mark}`", "for example \"# {mark} of the hosts\"");
        }
        let [begin, end] = [begin, end].map(|mark| marker.replace("{mark}", mark));
        if begin.contains(['\n', '\r']) || end.contains(['\n', '\r']) {
            return wrong(
                "a marker is one line, and here is the end of one in it",
                "leave the end of the line out",
            );
        }
        if begin == end {
            return wrong("both marker lines are the same", "give `marker_begin` and `marker_end`");
        }
        Ok(Markers { begin, end })
    }
}

/// The text with this block in it, or without any when it is empty, and what was done; `None` when there is nothing to do.
pub fn with_block(
    path: &str,
    text: &str,
    block: &str,
    markers: &Markers,
    insert: &Insert,
) -> Result<Option<(String, &'static str)>, Error> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let last = |test: &dyn Fn(&str) -> bool| lines.iter().rposition(|line| test(bare(line)));
    let ends = (last(&|line| line == markers.begin), last(&|line| line == markers.end));
    let (found, at, after) = match ends {
        (Some(begin), Some(end)) if begin < end => (true, begin, end + 1),
        (None, None) => {
            let at = insert.at(&lines, last);
            (false, at, at)
        }
        // Nobody knows what of it is the block.
        (begin, end) => {
            let number = begin.or(end).map_or(0, |at| at + 1);
            let why = if begin.is_some() && end.is_some() {
                "they are the wrong way round"
            } else {
                "the other is missing"
            };
            let message = format!("{path}, line {number}: here is one marker of the block, and {why}");
            let hint = "put the file right by hand, or give another `marker`";
            return Err(Error { hint: Some(hint.into()), ..Error::new("blockinfile.marker", message) });
        }
    };
    let around = |mark| (!block.is_empty()).then_some(mark);
    let new = around(markers.begin.as_str()).into_iter().chain(block.lines()).chain(around(&markers.end));
    let changed = replaced(&lines, at, after, new);
    let what = match (found, block.is_empty()) {
        _ if changed == text => return Ok(None),
        (true, true) => "block removed",
        (true, false) => "block updated",
        (false, _) => "block inserted",
    };
    Ok(Some((changed, what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, block: &str, insert: &Insert) -> Result<Option<String>, Error> {
        let markers = Markers::new("# {mark} x", "BEGIN", "END").unwrap();
        let changed = with_block("/f", text, block, &markers, insert)?.map(|(text, _)| text);
        if let Some(changed) = &changed {
            assert_eq!(with_block("/f", changed, block, &markers, insert)?, None, "a second time");
        }
        Ok(changed)
    }

    #[test]
    fn a_block_is_put_in_changed_and_taken_out() {
        let one = set("a\nb", "1\n2\n", &Insert::Last).unwrap().unwrap();
        assert_eq!(one, "a\nb\n# BEGIN x\n1\n2\n# END x\n");
        let two = set(&one, "3", &Insert::First).unwrap().unwrap();
        assert_eq!(two, "a\nb\n# BEGIN x\n3\n# END x\n", "it stays where it is");
        assert_eq!(set(&two, "", &Insert::Last).unwrap().as_deref(), Some("a\nb\n"));
        assert_eq!(set("a\n", "", &Insert::Last).unwrap(), None);
        assert_eq!(set("", "1", &Insert::Last).unwrap().as_deref(), Some("# BEGIN x\n1\n# END x\n"));
        assert_eq!(
            set("a\r\n", "1", &Insert::Last).unwrap().as_deref(),
            Some("a\r\n# BEGIN x\r\n1\r\n# END x\r\n")
        );
    }

    #[test]
    fn it_goes_where_it_was_asked_for() {
        let after = |text| Insert::new(Some(text), None).unwrap();
        let before = |text| Insert::new(None, Some(text)).unwrap();
        let block = "# BEGIN x\n1\n# END x\n";
        for (insert, expected) in [
            (Insert::First, [block, "a\nb\na\n"].concat()),
            (after("^b"), ["a\nb\n", block, "a\n"].concat()),
            (before("^a"), ["a\nb\n", block, "a\n"].concat()),
            (before("none"), ["a\nb\na\n", block].concat()),
        ] {
            assert_eq!(set("a\nb\na\n", "1", &insert).unwrap().as_deref(), Some(expected.as_str()));
        }
    }

    #[test]
    fn half_a_block_is_not_guessed_at() {
        for text in ["# BEGIN x\n1\n", "1\n# END x\n", "# END x\n# BEGIN x\n"] {
            let error = set(text, "2", &Insert::Last).unwrap_err();
            assert!(error.code == "blockinfile.marker" && error.message.contains("/f, line "), "{error}");
        }
        for (marker, begin, end) in [("x", "B", "E"), ("{mark}", "B", "B"), ("{mark}\n", "B", "E")] {
            assert_eq!(Markers::new(marker, begin, end).err().unwrap().code, "params.marker");
        }
    }
}
