//! Which test tries what of each task that waft ships. A task without a row, a test that is gone or that does not try what it is
//! here for, a case that nobody tries and that has no reason, and one that is tried and has one, fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What is tried: something is changed, nothing is to be done, dry runs, what they show,
/// bad parameters, no grant, and an ordinary account. Root is whoever else runs the tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Case {
    Change,
    Same,
    Check,
    Diff,
    Params,
    Grant,
    Ordinary,
}
use Case::{Change, Check, Diff, Grant, Ordinary, Params, Same};

const CASES: [Case; 7] = [Change, Same, Check, Diff, Params, Grant, Ordinary];

impl Case {
    /// Of these one is in the text of a test that tries it. One that begins with a letter is a whole name, and no method's.
    fn marks(self) -> &'static [&'static str] {
        match self {
            Change => &["twice(", ", true)?", "\"changed\""],
            Same => &["twice(", ", false)?", "\"ok\""],
            Check => &["\"--check\"", "check(", ".would("],
            Diff => &["diffs(", "change(", "\"changes\"", "\"diff"],
            Params => &[
                "unsent(",
                ".unsent(",
                "no_params(",
                "\"params.",
                ", 2, \"",
                ".expect_code(2)",
                "Some(2 | 3)",
            ],
            Grant => &["\"grant.missing", "needs_grant(", "needs_grants(", "hint(&refused)"],
            Ordinary => &["Desk::each(", "Desk::ordinary(", "Whole::ordinary("],
        }
    }

    fn is_tried_by(self, text: &str) -> bool {
        self.marks().iter().any(|mark| has(text, mark))
    }
}

fn has(text: &str, mark: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let is_name = mark.starts_with(char::is_alphabetic);
    text.match_indices(mark).any(|(at, _)| !(is_name && text[..at].ends_with(continues)))
}

const BY_PROGRAMS: &str = "what programs would change is told in words: `msg`, `before` and `after`";
const NO_FILE: &str = "it changes no file";
const READ: &[(Case, &str)] = &[(Change, "it only reads"), (Diff, "it only reads")];
const RUNS: &str = "what it is told to do it does each time";

/// Tests by the tasks they try, `MODULE::NAME`, and the cases that need none, with the reason.
struct Row {
    task: &'static str,
    tests: &'static [&'static str],
    without: &'static [(Case, &'static str)],
}

const fn row(
    task: &'static str,
    tests: &'static [&'static str],
    without: &'static [(Case, &'static str)],
) -> Row {
    Row { task, tests, without }
}

const TABLE: &[Row] = &[
    row(
        "ansible",
        &[
            "ansible::a_binary_module_runs_from_memory",
            "ansible::modules_that_take_json_run_by_their_interpreter",
            "ansible::modules_of_ansible_run_where_there_is_no_ansible",
        ],
        &[],
    ),
    row("archive", &["archive::what_is_packed_is_unpacked_and_others_read_it"], &[]),
    row("assert", &["asserting::assert_is_about_facts_and_values"], READ),
    row("blockinfile", &["blockinfile::blocks_are_there_or_not"], &[]),
    row("cert_check", &["cert_check::a_certificate_is_read_from_a_file_and_from_a_port"], READ),
    row(
        "command",
        &[
            "command::command_runs_one_program_without_a_shell",
            "command::command_refuses_what_names_no_program",
        ],
        &[(Diff, NO_FILE)],
    ),
    row(
        "copy",
        &[
            "copy::files_have_the_content_that_they_are_given",
            "copy::files_come_from_the_controller_and_from_the_target",
        ],
        &[],
    ),
    row(
        "cron",
        &[
            "cron::jobs_come_and_go_by_a_program_that_stands_for_crontab",
            "cron::jobs_in_a_file_of_the_system_and_of_an_ordinary_account",
        ],
        &[],
    ),
    row("disk_usage", &["disk_usage::room_and_sums_are_told"], READ),
    row("exec", &["exec::a_program_becomes_the_task"], &[(Diff, NO_FILE)]),
    row("facts", &["facts::facts_are_those_that_were_asked_for"], READ),
    row(
        "file",
        &[
            "file::files_and_directories_are_as_asked",
            "file::empty_files_are_made_and_times_set",
            "file::links_lead_where_asked",
            "file::root_gives_files_away",
            "file::where_a_dry_run_has_no_overlay_the_host_says_so",
        ],
        &[],
    ),
    row("find", &["find::files_are_found_by_what_they_are"], READ),
    row(
        "get_url",
        &[
            "get_url::a_file_is_downloaded_and_only_when_it_has_to_be",
            "get_url::what_cannot_be_downloaded_is_said",
        ],
        &[(Diff, "a dry run asks nobody for the content")],
    ),
    row(
        "group",
        &["accounts::groups_come_change_and_go", "accounts::an_ordinary_account_is_told_that_only_root_can"],
        &[(Diff, BY_PROGRAMS)],
    ),
    row("hash_tree", &["hash_tree::trees_have_the_hash_of_what_is_in_them"], READ),
    row("lineinfile", &["lineinfile::lines_are_there_or_not"], &[]),
    row("log_tail", &["log_tail::last_lines_are_told_and_none_twice"], READ),
    row("mounts", &["mounts::mounts_are_told"], READ),
    row(
        "package",
        &["package::packages_by_a_real_apt", "package::an_ordinary_account_installs_nothing"],
        &[(Diff, BY_PROGRAMS)],
    ),
    row("processes", &["processes::processes_are_those_that_ps_tells"], READ),
    row("reboot", &["reboot::a_reboot_is_ordered_of_programs_that_only_keep_the_order"], &[(Diff, NO_FILE)]),
    row(
        "script",
        &["script::a_script_becomes_the_task", "script::what_is_wrong_with_a_script_is_said"],
        &[(Same, RUNS), (Diff, NO_FILE)],
    ),
    row(
        "service",
        &[
            "service::services_of_system_v_by_their_scripts",
            "service::an_ordinary_account_sees_services_and_changes_none",
        ],
        &[(Diff, BY_PROGRAMS)],
    ),
    row("sysctl", &["sysctl::settings_of_the_kernel_now_and_in_a_file"], &[]),
    row("template", &["template::files_are_made_of_templates"], &[]),
    row("unarchive", &["archive::what_is_packed_is_unpacked_and_others_read_it"], &[]),
    row("uri", &["uri::a_web_server_is_asked_and_told", "uri::what_cannot_be_asked_is_said"], READ),
    row(
        "user",
        &[
            "accounts::accounts_come_change_and_go",
            "accounts::an_ordinary_account_is_told_that_only_root_can",
        ],
        &[(Diff, BY_PROGRAMS)],
    ),
    row(
        "wait_for",
        &[
            "wait_for::a_port_is_waited_for",
            "wait_for::a_file_is_waited_for_and_what_is_in_it",
            "wait_for::a_web_server_is_waited_for_and_bad_parameters_are_said",
        ],
        READ,
    ),
];

/// Shipped, and tried elsewhere.
const ELSEWHERE: &[(&str, &str)] = &[("lua", "interpreters")];

/// The code of a test of a task, from its attribute to its end.
fn text(task: &str, test: &str) -> String {
    let (module, name) = test.split_once("::").expect("MODULE::NAME");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core");
    let source = fs::read_to_string(folder.join(format!("{module}.rs"))).unwrap_or_default();
    let begins = format!("#[test]\nfn {name}() -> Result<()> {{\n");
    let (_, rest) = source.split_once(&begins).unwrap_or_else(|| panic!("there is no test {test}"));
    let text = rest.split_once("\n}\n").map_or(rest, |(text, _)| text);
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    assert!(code.contains(&format!("\"{task}\"")), "{test} says nothing of {task}");
    code
}

#[test]
fn each_task_is_tried_in_each_case() {
    let tasks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tasks");
    let folders = fs::read_dir(tasks).expect("the tasks").map(|entry| entry.expect("an entry").path());
    let shipped = folders.filter(|folder| folder.join("waft.toml").is_file());
    let shipped: BTreeSet<String> =
        shipped.filter_map(|folder| folder.file_name()?.to_str().map(str::to_owned)).collect();
    let (mut known, mut untried, mut tried) = (BTreeSet::new(), Vec::new(), Vec::new());
    for row in TABLE {
        assert!(known.insert(row.task.to_owned()), "{} has two rows", row.task);
        let texts: Vec<String> = row.tests.iter().map(|test| text(row.task, test)).collect();
        for case in CASES {
            let is_tried = texts.iter().any(|text| case.is_tried_by(text));
            let reason = row.without.iter().find(|(other, _)| *other == case);
            match (is_tried, reason) {
                (false, None) => untried.push(format!("{case:?} of {}", row.task)),
                (true, Some((_, reason))) => tried.push(format!("{case:?} of {} ({reason})", row.task)),
                (true, None) | (false, Some(_)) => {}
            }
        }
    }
    assert!(untried.is_empty(), "nobody tries {}", untried.join(", "));
    assert!(tried.is_empty(), "what has a reason not to be tried is tried: {}", tried.join(", "));
    let elsewhere: BTreeSet<String> = ELSEWHERE.iter().map(|(task, _)| (*task).to_owned()).collect();
    let missing: Vec<&String> =
        shipped.difference(&known).filter(|task| !elsewhere.contains(*task)).collect();
    assert!(missing.is_empty(), "tasks without a row: {missing:?}");
    let gone: Vec<&String> = known.difference(&shipped).collect();
    assert!(gone.is_empty(), "rows of tasks that are gone: {gone:?}");
}

#[test]
fn only_what_tries_a_case_is_a_mark_of_it() {
    for (case, tries, text) in [
        (Params, true, "fails(desk, \"file\", &params, \"params.path\", &[])?;"),
        (Params, false, "let object = params.as_object_mut();"),
        (Params, true, "desk.unsent(\"file\", &params, &[], &[])?;"),
        (Check, true, "let would = check(desk, \"file\", &params, \"changed\")?;"),
        (
            Check,
            false,
            "whole.answer(\"cert_check\", &params, false)?; cert_check(&params); guard.check(&grant);",
        ),
        (Diff, false, "let has = exchange(&a, &b);"),
        (Change, false, "(None, true) => \"root\","),
    ] {
        assert_eq!(case.is_tried_by(text), tries, "{case:?}: {text}");
    }
}
