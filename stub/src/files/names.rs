//! Names of users and groups. A static program has no name service: only `/etc/passwd` and `/etc/group` are asked.

use crate::facts::read_bounded;
use std::path::Path;

pub(super) const PASSWD: &str = "/etc/passwd";
pub(super) const GROUP: &str = "/etc/group";

/// The name of a user, or the number where the machine knows no name.
pub fn user_name(uid: u32) -> String {
    name_in(PASSWD, uid).unwrap_or_else(|| uid.to_string())
}

/// The number of a user whom the machine knows by that name.
#[cfg(feature = "site")]
pub(crate) fn user_number(name: &str) -> Option<u32> {
    id_of(&read(PASSWD), name)
}

/// The name of a group, or the number where the machine knows no name.
pub(crate) fn group_name(gid: u32) -> String {
    name_in(GROUP, gid).unwrap_or_else(|| gid.to_string())
}

/// The name that a text in the form of either file gives a number.
fn name_of(text: &str, id: u32) -> Option<&str> {
    entries(text).find_map(|(name, number, _)| (number == id).then_some(name))
}

pub(super) fn id_of(text: &str, name: &str) -> Option<u32> {
    entries(text).find_map(|(known, number, _)| (known == name).then_some(number))
}

pub(super) fn name_in(file: &str, id: u32) -> Option<String> {
    name_of(&read(file), id).map(str::to_owned)
}

pub(super) fn read(file: &str) -> String {
    read_bounded(Path::new(file)).unwrap_or_default()
}

/// Name, number and the other fields. Lines begin with name, password and number; odd ones are passed over.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(4, ':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name, fields.nth(1)?.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::{id_of, name_of};

    #[test]
    fn users_are_found_by_number_and_name_and_odd_lines_are_passed_over() {
        let passwd = "# comment\nroot:x:0:0:root:/root:/bin/sh\n+nis\nbad:x:seven:1::/:/bin/sh\nweb:x:33:33::/:\n:x:34:\n";
        assert_eq!(name_of(passwd, 0), Some("root"));
        assert_eq!(name_of(passwd, 33), Some("web"));
        assert_eq!((name_of(passwd, 7), name_of(passwd, 34)), (None, None));
        assert_eq!(id_of(passwd, "web"), Some(33));
        assert_eq!((id_of(passwd, "bad"), id_of(passwd, "")), (None, None));
    }
}
