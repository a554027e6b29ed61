//! The part of docs/benchmarks.md that is measured, between two markers. The rest of the page is written by hand.

use std::path::Path;

use waft_tests::{Context, Error, Result};

const BEGIN: &str =
    "<!-- measured: from here on written by `cargo run --release -p waft-benches -- --write` -->";
const END: &str = "<!-- end of what was measured -->";

pub(crate) fn write(page: &Path, measured: &str) -> Result<()> {
    let doing = || format!("cannot change {}", page.display());
    let old = std::fs::read_to_string(page).context(doing)?;
    let new = replaced(&old, measured)
        .ok_or_else(|| Error::new(format!("{} lacks the lines `{BEGIN}` and `{END}`", page.display())))?;
    std::fs::write(page, new).context(doing)
}

fn replaced(page: &str, measured: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", measured.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes_and_twice_is_as_once() {
        let page = format!("# Page\n{BEGIN}\nold\n{END}\nby hand\n");
        let once = replaced(&page, "new\n").unwrap();
        assert_eq!(once, format!("# Page\n{BEGIN}\n\nnew\n\n{END}\nby hand\n"));
        assert_eq!(replaced(&once, "new").unwrap(), once);
        assert!(replaced(&format!("{END}{BEGIN}"), "new").is_none());
    }

    #[test]
    fn the_page_has_a_place_for_it() {
        let page = std::fs::read_to_string(crate::repository().join("docs/benchmarks.md")).unwrap();
        assert!(replaced(&page, "").is_some());
    }
}
