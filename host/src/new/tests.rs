use super::*;

/// What a manifest would be refused for is no name of a project either.
#[test]
fn a_name_is_one_of_a_task_and_of_a_package() {
    for good in ["hello", "Hello-2", "a", "restart_nginx"] {
        assert!(name::check(good).is_ok(), "{good}");
        assert!(waft_proto::grant::Grant::parse(&format!("call:{good}")).is_ok(), "{good}");
    }
    let long = "a".repeat(65);
    for bad in ["", "-x", "2x", "a b", "a/b", "../x", ".", "a.b", "käse", "x\n", "std", "waft", &long] {
        let problem = name::check(bad).unwrap_err();
        assert_eq!(problem.code, "new.name", "{bad}");
        assert!(problem.hint.is_some(), "{bad}");
    }
}

#[test]
fn an_unknown_language_is_told_with_the_nearest_and_every_problem_at_once() {
    let problems = Project::plan("a b", "rsut").unwrap_err();
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["new.name", "new.lang"]);
    assert_eq!(problems[1].hint.as_deref(), Some("did you mean --lang rust?"));
    let hint = Project::plan("a", "cobol").unwrap_err().remove(0).hint.unwrap();
    assert!(languages().all(|language| hint.contains(language)), "{hint}");
}

/// Of every language: no place is left for a name, the manifest's name is the task's, and what is typed is there.
#[test]
fn every_template_is_filled_in() {
    for language in languages() {
        let project = Project::plan("say-hello", language).unwrap();
        let mut named = 0;
        for (place, bytes) in project.files() {
            assert!(!place.contains("__name__") && !place.starts_with('/'), "{language}: {place}");
            if place.starts_with("vendor/") {
                continue;
            }
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("{{name}}") && !text.contains("{{ident}}"), "{language}: {place}");
            named += usize::from(text.contains("say-hello"));
        }
        assert!(named > 0, "{language}: the task's name is nowhere");
        for needed in ["Makefile", "README.md"] {
            assert!(project.files().any(|(place, _)| place == needed), "{language}: {needed}");
        }
    }
}

#[test]
fn a_project_is_written_once_and_over_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let project = Project::plan("hello", "rust").unwrap();
    let new = dir.path().join("a/hello");
    let written = project.write(&new).unwrap();
    assert_eq!(written, project.files().count());
    for (place, bytes) in project.files() {
        assert_eq!(fs::read(new.join(place)).unwrap(), bytes, "{place}");
    }
    assert_eq!(project.write(&new).unwrap_err().code, "new.exists");
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    project.write(&empty).unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(project.write(&file).unwrap_err().code, "new.dir");
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn words_are_quoted_for_a_shell_where_they_have_to_be() {
    assert_eq!(shell_word("a/b-c.d"), "a/b-c.d");
    assert_eq!(shell_word("a b"), "'a b'");
    assert_eq!(shell_word("it's"), r"'it'\''s'");
    assert_eq!(shell_word(""), "''");
}
