//! What a file that replaces another has of the other besides mode and owner: its ACL, and `user.*` attributes.

use waft_sdk::Error;
use waft_sdk::file;

const ACL: &str = "system.posix_acl_access";

/// Copies them; true when an ACL was set or removed. Labels of SELinux and capabilities are not copied: no task may write them.
pub(super) fn copy(from: &str, to: &str) -> Result<bool, Error> {
    let (old, new) = (names(from)?, names(to)?);
    let mut is_other = false;
    for name in old.iter().filter(|name| is_kept(name)) {
        if let Some(value) = file::get_xattr(from, name)? {
            let changed = file::set_xattr(to, name, &value).or_else(none)?;
            is_other |= changed && name == ACL;
        }
    }
    // What the directory gives to new files is not for those who could not read the old one.
    if new.iter().any(|name| name == ACL) && !old.iter().any(|name| name == ACL) {
        is_other |= file::remove_xattr(to, ACL)?;
    }
    Ok(is_other)
}

fn is_kept(name: &str) -> bool {
    name == ACL || name.starts_with("user.") && !name.starts_with("user.overlay.")
}

fn names(path: &str) -> Result<Vec<String>, Error> {
    file::list_xattr(path).or_else(none)
}

/// Some file systems have none, as may the overlay of a dry run.
fn none<T: Default>(error: Error) -> Result<T, Error> {
    if error.code == "file.unsupported" { Ok(T::default()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use waft_sdk::testing::{Fake, with_host};

    #[test]
    fn an_acl_and_what_users_noted_are_copied_and_no_more() {
        let host = Fake::new();
        let dir = host.dir();
        let (old, new) = (dir.join("old"), dir.join("new"));
        fs::write(&old, "").unwrap();
        fs::write(&new, "").unwrap();
        let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
        with_host(host.clone(), || {
            for name in ["user.note", "user.overlay.opaque", "security.selinux", ACL] {
                file::set_xattr(old, name, b"\x02\xff").unwrap();
            }
            assert_eq!(copy(old, new), Ok(true));
            assert_eq!(file::list_xattr(new).unwrap(), [ACL, "user.note"]);
            assert_eq!(file::get_xattr(new, ACL).unwrap().as_deref(), Some(&b"\x02\xff"[..]));
            assert_eq!(copy(old, new), Ok(false));
            // Of the directory, and not of the old file.
            file::remove_xattr(old, ACL).unwrap();
            assert_eq!(copy(old, new), Ok(true));
            assert_eq!(file::list_xattr(new).unwrap(), ["user.note"]);
        });
    }
}
