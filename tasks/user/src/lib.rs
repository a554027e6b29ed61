//! What is to be done. A library of its own, so that its tests run on the machine that builds it.

use serde::Deserialize;
pub use waft_tasks_common::State;
use waft_tasks_common::accounts::{Group, User};
use waft_tasks_common::programs::Step;
use waft_tasks_common::{Words, Yes};

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePassword {
    #[default]
    Always,
    OnCreate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    #[serde(alias = "user")]
    pub name: String,
    #[serde(default)]
    pub state: State,
    pub uid: Option<u32>,
    pub group: Option<String>,
    pub groups: Option<Words>,
    #[serde(default)]
    pub append: Yes,
    pub comment: Option<String>,
    pub home: Option<String>,
    #[serde(alias = "createhome")]
    pub create_home: Option<Yes>,
    #[serde(default)]
    pub move_home: Yes,
    pub shell: Option<String>,
    #[serde(default)]
    pub system: Yes,
    pub password: Option<String>,
    #[serde(default)]
    pub update_password: UpdatePassword,
    #[serde(default)]
    pub remove: Yes,
    #[serde(default)]
    pub force: Yes,
}

/// What the target says of the account and of what it shall have.
#[derive(Clone, Default)]
pub struct Found {
    pub user: Option<User>,
    /// Names, without the first group.
    pub groups: Vec<String>,
    /// Those that the parameters ask for, in the same form.
    pub wanted_groups: Option<Vec<String>>,
    /// The number of the group that the parameters ask for.
    pub wanted_gid: Option<u32>,
    /// Whether there is a group of the account's name.
    pub has_namesake: bool,
    /// Whether it has another password than the one that is given.
    pub other_password: bool,
}

/// The names of groups that may have been given by number, each once, without the first group of the account: it is in
/// that anyway, and `id` does not tell it among the others.
pub fn others(named: Vec<Group>, primary: Option<u32>) -> Vec<String> {
    let mut names = Vec::new();
    for group in named.into_iter().filter(|group| Some(group.gid) != primary) {
        if !names.contains(&group.name) {
            names.push(group.name);
        }
    }
    names
}

/// A line of the program, with what is set of these options.
fn words<'a>(program: &'a str, options: &[(&'a str, Option<&'a str>)], rest: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![program];
    for (option, value) in options {
        words.extend(value.iter().flat_map(|value| [*option, *value]));
    }
    words.extend(rest);
    words
}

/// In order; the password comes after them.
pub fn plan(params: &Params, found: &Found) -> Vec<Step> {
    match (params.state, &found.user) {
        (State::Present, None) => create(params, found),
        (State::Present, Some(user)) => modify(params, found, user),
        (State::Absent, None) => Vec::new(),
        (State::Absent, Some(_)) => {
            let name = params.name.as_str();
            let mut userdel = vec!["userdel"];
            userdel.extend(params.force.0.then_some("-f"));
            userdel.extend(params.remove.0.then_some("-r"));
            userdel.push(name);
            let mut deluser = vec!["deluser"];
            deluser.extend(params.remove.0.then_some("--remove-home"));
            deluser.push(name);
            vec![Step::new("remove", &[&userdel, &deluser])]
        }
    }
}

fn create(params: &Params, found: &Found) -> Vec<Step> {
    let name = params.name.as_str();
    let uid = params.uid.map(|uid| uid.to_string());
    let groups =
        found.wanted_groups.as_ref().map(|groups| groups.join(",")).filter(|groups| !groups.is_empty());
    let home = params.create_home.unwrap_or(Yes(true)).0;
    let mut flags = vec![if home { "-m" } else { "-M" }];
    flags.extend(params.system.0.then_some("-r"));
    // Otherwise useradd makes a group of that name, which is there.
    flags.extend((params.group.is_none() && found.has_namesake).then_some("-N"));
    flags.push(name);
    let useradd = words(
        "useradd",
        &[
            ("-u", uid.as_deref()),
            ("-g", params.group.as_deref()),
            ("-G", groups.as_deref()),
            ("-c", params.comment.as_deref()),
            ("-d", params.home.as_deref()),
            ("-s", params.shell.as_deref()),
        ],
        &flags,
    );
    let mut flags = vec!["-D"];
    flags.extend((!home).then_some("-H"));
    flags.extend(params.system.0.then_some("-S"));
    flags.push(name);
    let namesake = found.has_namesake.then_some(name);
    let adduser = words(
        "adduser",
        &[
            ("-u", uid.as_deref()),
            ("-G", params.group.as_deref().or(namesake)),
            ("-g", params.comment.as_deref()),
            ("-h", params.home.as_deref()),
            ("-s", params.shell.as_deref()),
        ],
        &flags,
    );
    vec![Step::new("create", &[&useradd, &adduser])]
}

fn modify(params: &Params, found: &Found, user: &User) -> Vec<Step> {
    let name = params.name.as_str();
    let uid = params.uid.filter(|uid| *uid != user.uid).map(|uid| uid.to_string());
    let gid = found.wanted_gid.filter(|gid| *gid != user.gid).map(|gid| gid.to_string());
    fn other<'a>(wanted: &'a Option<String>, is: &str) -> Option<&'a str> {
        wanted.as_deref().filter(|wanted| *wanted != is)
    }
    let (comment, home) = (other(&params.comment, &user.comment), other(&params.home, &user.home));
    let shell = other(&params.shell, &user.shell);
    let move_home: &[&str] = if home.is_some() && params.move_home.0 { &["-m"] } else { &[] };
    let options =
        [("-u", uid.as_deref()), ("-g", gid.as_deref()), ("-c", comment), ("-d", home), ("-s", shell)];
    let mut steps = Vec::new();
    if options.iter().any(|(_, value)| value.is_some()) {
        steps.push(Step::new("change", &[&words("usermod", &options, &[move_home, &[name]].concat())]));
    }
    steps.extend(memberships(params, found));
    steps
}

/// One step of usermod; for BusyBox one of each group.
fn memberships(params: &Params, found: &Found) -> Option<Step> {
    let wanted = found.wanted_groups.as_ref()?;
    let has_more = !params.append.0 && found.groups.iter().any(|group| !wanted.contains(group));
    let missing: Vec<&str> =
        wanted.iter().filter(|group| !found.groups.contains(group)).map(String::as_str).collect();
    if missing.is_empty() && !has_more {
        return None;
    }
    let name = params.name.as_str();
    let all = wanted.join(",");
    let more = missing.join(",");
    let usermod = if params.append.0 {
        vec!["usermod", "-a", "-G", &more, name]
    } else {
        vec!["usermod", "-G", &all, name]
    };
    Some(Step::new("change the groups of", &[&usermod]))
}

/// What BusyBox does in place of usermod and of `useradd -G`: one program for each group.
pub fn one_by_one(params: &Params, found: &Found) -> Vec<Vec<String>> {
    let Some(wanted) = &found.wanted_groups else { return Vec::new() };
    let is_missing = |group: &&String| !found.groups.contains(group);
    let is_surplus = |group: &&String| !params.append.0 && !wanted.contains(group);
    let step = |program: &str, group: &String| vec![program.to_owned(), params.name.clone(), group.clone()];
    let missing = wanted.iter().filter(is_missing).map(|group| step("addgroup", group));
    missing.chain(found.groups.iter().filter(is_surplus).map(|group| step("delgroup", group))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops() -> User {
        User {
            name: "ops".into(),
            uid: 1000,
            gid: 1000,
            comment: "Ops".into(),
            home: "/home/ops".into(),
            shell: "/bin/sh".into(),
        }
    }

    fn planned(params: &str, found: &Found) -> Vec<String> {
        let params: Params = serde_json::from_str(params).unwrap();
        let wanted_groups = params.groups.as_ref().map(|groups| groups.0.clone());
        let plan = plan(&params, &Found { wanted_groups, ..found.clone() });
        plan.iter().flat_map(|step| &step.ways).map(|words| words.join(" ")).collect()
    }

    #[test]
    fn a_new_account() {
        let none = Found::default();
        assert_eq!(planned(r#"{"name":"a"}"#, &none), ["useradd -m a", "adduser -D a"]);
        let all = r#"{"name":"a","uid":7,"group":"g","groups":"x, y","comment":"A B","home":"/h","shell":"/s",
            "create_home":"no","system":true}"#;
        assert_eq!(
            planned(all, &none),
            [
                "useradd -u 7 -g g -G x,y -c A B -d /h -s /s -M -r a",
                "adduser -u 7 -G g -g A B -h /h -s /s -D -H -S a"
            ]
        );
        let namesake = Found { has_namesake: true, ..Found::default() };
        assert_eq!(planned(r#"{"name":"a"}"#, &namesake), ["useradd -m -N a", "adduser -G a -D a"]);
    }

    #[test]
    fn only_what_is_different_is_changed() {
        let groups = vec!["adm".to_owned(), "sudo".to_owned()];
        let found = Found { user: Some(ops()), groups, wanted_gid: Some(1000), ..Found::default() };
        let same = r#"{"name":"ops","uid":1000,"group":"ops","groups":["sudo","adm"],"comment":"Ops","home":"/home/ops",
            "shell":"/bin/sh"}"#;
        assert!(planned(same, &found).is_empty());
        assert_eq!(
            planned(r#"{"name":"ops","shell":"/bin/bash","home":"/srv/ops","move_home":true}"#, &found),
            ["usermod -d /srv/ops -s /bin/bash -m ops"]
        );
        assert_eq!(planned(r#"{"name":"ops","groups":"adm"}"#, &found), ["usermod -G adm ops"]);
        assert_eq!(planned(r#"{"name":"ops","groups":[]}"#, &found), ["usermod -G  ops"]);
        assert!(planned(r#"{"name":"ops","groups":"adm","append":true}"#, &found).is_empty());
        assert_eq!(
            planned(r#"{"name":"ops","groups":"adm,www","append":true}"#, &found),
            ["usermod -a -G www ops"]
        );
        let params = serde_json::from_str(r#"{"name":"ops","groups":"adm,www"}"#).unwrap();
        let found = Found { wanted_groups: Some(vec!["adm".into(), "www".into()]), ..found };
        let steps: Vec<_> = one_by_one(&params, &found).iter().map(|words| words.join(" ")).collect();
        assert_eq!(steps, ["addgroup ops www", "delgroup ops sudo"]);
    }

    #[test]
    fn groups_are_names_without_the_first_one() {
        let group = |name: &str, gid| Group { name: name.into(), gid };
        let named = || vec![group("ops", 1000), group("sudo", 27), group("adm", 4), group("sudo", 27)];
        assert_eq!(others(named(), Some(1000)), ["sudo", "adm"]);
        assert_eq!(others(named(), None), ["ops", "sudo", "adm"]);
        assert!(others(Vec::new(), Some(0)).is_empty());
    }

    #[test]
    fn away() {
        let found = Found { user: Some(ops()), ..Found::default() };
        let away = r#"{"name":"ops","state":"absent","remove":true,"force":true}"#;
        assert_eq!(planned(away, &found), ["userdel -f -r ops", "deluser --remove-home ops"]);
        assert!(planned(away, &Found::default()).is_empty());
        for bad in [r#"{}"#, r#"{"name":"a","uid":"x"}"#, r#"{"name":"a","update_password":"never"}"#] {
            assert!(serde_json::from_str::<Params>(bad).is_err(), "{bad}");
        }
    }
}
