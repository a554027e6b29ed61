//! The page that says which test holds which attack: each is there.

use std::fs;
use std::path::Path;

/// Where the page's paths begin.
const ROOTS: [&str; 3] = ["tests/tests", "stub/tests", "."];
/// Rows of the table.
const ATTACKS_MIN: usize = 20;

#[test]
fn each_test_of_the_page_exists() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(repository.join("docs/threat-model.md")).expect("the page");
    let table =
        page.split("\n## Attacks\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the table");
    let rows =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit(" | ").next());
    let (mut source, mut named) = (String::new(), 0);
    for cell in rows.skip(1) {
        named += 1;
        for word in cell.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                let found =
                    ROOTS.iter().find_map(|root| fs::read_to_string(repository.join(root).join(word)).ok());
                source = found.unwrap_or_else(|| panic!("there is no {word}"));
            } else {
                let is_there = [format!("fn {word}("), format!("const {word}:")]
                    .iter()
                    .any(|text| source.contains(text));
                assert!(is_there, "`{word}` is not in the file before it: {cell}");
            }
        }
    }
    assert!(named >= ATTACKS_MIN, "{named} rows");
}
