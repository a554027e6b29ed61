use crate::interpreted::{calls_everything, draws_other_numbers_each_time, put, tests_pass};
use crate::page;
use crate::project::Project;
use waft_tests::Result;

#[test]
fn what_is_new_builds_tests_and_runs() -> Result<()> {
    let (project, said) = page::followed("python", "greets-python")?;
    assert!(said.contains("test_it_greets") && said.contains("Ran 2 tests"), "{said}");
    project.greets()
}

#[test]
fn every_import_can_be_called_by_the_module() -> Result<()> {
    let project = Project::new("python", "calls-python")?;
    put(&project, "python/calls.py", "app.py");
    tests_pass(&project, "python", "python3", &["-m", "unittest", "test_binding.py"])?;
    project.make(None)?;
    calls_everything(&project)?;
    draws_other_numbers_each_time(&project)
}
