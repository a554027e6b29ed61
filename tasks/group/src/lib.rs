//! What is to be done. A library of its own, so that its tests run on the machine that builds it.

use serde::Deserialize;
pub use waft_tasks_common::State;
use waft_tasks_common::accounts::Group;
use waft_tasks_common::{Yes, programs::Step};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    #[serde(alias = "group")]
    pub name: String,
    #[serde(default)]
    pub state: State,
    pub gid: Option<u32>,
    #[serde(default)]
    pub system: Yes,
}

/// None or one step.
pub fn plan(params: &Params, found: Option<&Group>) -> Vec<Step> {
    let gid = params.gid.map(|gid| gid.to_string());
    let gid = gid.as_deref();
    let name = [params.name.as_str()];
    let option =
        |letter: &'static str| gid.map(|gid| [letter, gid]).into_iter().flatten().collect::<Vec<_>>();
    let system = |letter: &'static str| if params.system.0 { vec![letter] } else { Vec::new() };
    match (params.state, found) {
        (State::Present, None) => vec![Step::new(
            "create",
            &[
                &[&["groupadd"][..], &option("-g"), &system("-r"), &name].concat(),
                &[&["addgroup"][..], &option("-g"), &system("-S"), &name].concat(),
            ],
        )],
        (State::Present, Some(found)) if params.gid.is_some_and(|gid| gid != found.gid) => {
            vec![Step::new("change the number of", &[&[&["groupmod"][..], &option("-g"), &name].concat()])]
        }
        (State::Absent, Some(_)) => {
            vec![Step::new("remove", &[&["groupdel", &params.name], &["delgroup", &params.name]])]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(params: &str, gid: Option<u32>) -> Vec<String> {
        let found = gid.map(|gid| Group { name: "web".into(), gid });
        let plan = plan(&serde_json::from_str(params).unwrap(), found.as_ref());
        plan.iter().flat_map(|step| &step.ways).map(|words| words.join(" ")).collect()
    }

    #[test]
    fn what_is_done_and_what_not() {
        assert_eq!(planned(r#"{"name":"web"}"#, None), ["groupadd web", "addgroup web"]);
        assert_eq!(
            planned(r#"{"group":"web","gid":7,"system":"yes"}"#, None),
            ["groupadd -g 7 -r web", "addgroup -g 7 -S web"]
        );
        assert_eq!(planned(r#"{"name":"web","gid":7}"#, Some(8)), ["groupmod -g 7 web"]);
        assert_eq!(planned(r#"{"name":"web","state":"absent"}"#, Some(8)), ["groupdel web", "delgroup web"]);
        assert!(planned(r#"{"name":"web","gid":7}"#, Some(7)).is_empty());
        assert!(planned(r#"{"name":"web","state":"absent"}"#, None).is_empty());
        assert!(planned(r#"{"name":"web"}"#, Some(7)).is_empty());
        for bad in [
            r#"{}"#,
            r#"{"name":"web","state":"gone"}"#,
            r#"{"name":"web","gid":-1}"#,
            r#"{"name":"web","x":1}"#,
        ] {
            assert!(serde_json::from_str::<Params>(bad).is_err(), "{bad}");
        }
    }
}
