//! Links between the pages of this repository: each leads to a file that is there, and to a heading that is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What is built or downloaded.
const NOT_OURS: [&str; 2] = ["target", "node_modules"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository")
}

/// The pages of a folder and of what is below it; what begins with a dot is none of them.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let kind = entry.file_type().expect("a kind");
        if name.starts_with('.') || NOT_OURS.contains(&&*name) {
            continue;
        }
        if kind.is_dir() {
            pages(&path, found);
        } else if kind.is_file() && name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The lines of a page that are no code, with their numbers.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    page.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence && !line.starts_with("    ")).then_some((at + 1, line))
    })
}

/// What a link to this heading says behind `#`.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(page: &str) -> BTreeSet<String> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(page).filter_map(|(_, line)| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
    });
    let numbered = headings.map(|heading| {
        let anchor = anchor(heading);
        let before = times.entry(anchor.clone()).or_default();
        *before += 1;
        if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
    });
    numbered.collect()
}

/// Where the links of a line lead: `[text](there)` and `[name]: there`. What is between backticks is code.
fn links(line: &str) -> Vec<String> {
    let text: String = line.split('`').step_by(2).collect();
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let defined = text.strip_prefix('[').and_then(|rest| Some(rest.split_once("]: ")?.1.trim()));
    inline.chain(defined).filter(|there| !there.is_empty()).map(str::to_owned).collect()
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Why a link on this page leads nowhere.
fn broken(page: &Path, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let path = if file.is_empty() { page.to_owned() } else { plain(&page.with_file_name("").join(file)) };
    if !path.starts_with(repository()) || !path.exists() {
        return Some(format!("there is no {}", path.display()));
    }
    let heading = heading.filter(|_| path.extension().is_some_and(|end| end == "md"))?;
    let text = fs::read_to_string(&path).expect("a page");
    (!anchors(&text).contains(heading)).then(|| format!("{} has no such heading", path.display()))
}

#[test]
fn each_link_leads_somewhere() {
    let mut all = Vec::new();
    pages(repository(), &mut all);
    let (mut followed, mut wrong) = (0, Vec::new());
    for page in &all {
        let text = fs::read_to_string(page).expect("a page");
        for (number, link) in
            prose(&text).flat_map(|(at, line)| links(line).into_iter().map(move |to| (at, to)))
        {
            followed += 1;
            if let Some(why) = broken(page, &link) {
                wrong.push(format!("{}:{number}: {link}: {why}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // As many as there are pages of tasks, at least: they are linked from their list.
    assert!(followed > fs::read_dir(repository().join("docs/tasks")).expect("pages").count(), "{followed}");
}

#[test]
fn each_page_of_a_task_is_in_the_list() {
    let list = repository().join("docs/tasks.md");
    let text = fs::read_to_string(&list).expect("a page");
    let linked: BTreeSet<PathBuf> = prose(&text)
        .flat_map(|(_, line)| links(line))
        .map(|link| list.with_file_name(link.split('#').next().unwrap_or_default()))
        .collect();
    let mut tasks = Vec::new();
    pages(&repository().join("docs/tasks"), &mut tasks);
    let missing: Vec<&PathBuf> = tasks.iter().filter(|page| !linked.contains(*page)).collect();
    assert!(!tasks.is_empty() && missing.is_empty(), "docs/tasks.md does not name {missing:?}");
}

#[test]
fn links_and_headings_are_read_as_a_browser_shows_them() {
    assert_eq!(links("see [a](b.md#c), [`d`](../e.md \"title\") and `[no](link)`"), ["b.md#c", "../e.md"]);
    assert_eq!(links("[name]: there.md"), ["there.md"]);
    let page = "# What `waft run` says\n## Twice\n```\n# code\n```\n    # code\n## Twice\n";
    let expected = ["what-waft-run-says", "twice", "twice-1"].map(str::to_owned);
    assert_eq!(anchors(page), BTreeSet::from(expected));
    let page = repository().join("docs/tasks.md");
    for (link, leads) in [
        ("tasks/file.md", true),
        ("../README.md", true),
        ("tasks/none.md", false),
        ("#no-such-heading", false),
    ] {
        assert_eq!(broken(&page, link).is_none(), leads, "{link}");
    }
    assert!(broken(&page, "https://example.com/").is_none());
}
