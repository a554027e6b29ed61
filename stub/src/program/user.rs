//! Users and their groups, from `/etc/passwd` and `/etc/group`: a static program has no NSS.

use crate::files::entries;
use serde::{Deserialize, Serialize};

/// Groups of one user, number; the kernel takes 65536.
const GROUPS_MAX: usize = 1024;

/// Whom a program is started as.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

impl User {
    /// The user with this name or number. A number needs no line in `/etc/passwd`: its group is then the same number.
    pub(crate) fn find(who: &str) -> Option<User> {
        let read = |file| std::fs::read(file).unwrap_or_default();
        let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
        find(who, &String::from_utf8_lossy(&passwd), &String::from_utf8_lossy(&group))
    }
}

fn find(who: &str, passwd: &str, group: &str) -> Option<User> {
    let number: Option<u32> = who.parse().ok().filter(|_| who.bytes().all(|byte| byte.is_ascii_digit()));
    let known = entries(passwd).find_map(|(name, uid, rest)| {
        let gid: u32 = rest.split(':').next()?.parse().ok()?;
        (name == who || Some(uid) == number).then_some((name, uid, gid))
    });
    let Some((name, uid, gid)) = known else {
        // The largest number means "leave it as it is" to the kernel.
        return number.filter(|uid| *uid != u32::MAX).map(|uid| User { uid, gid: uid, groups: vec![uid] });
    };
    let member = |(_, gid, rest): (&str, u32, &str)| {
        rest.split(':').next()?.split(',').any(|member| member.trim() == name).then_some(gid)
    };
    let mut groups = vec![gid];
    for other in entries(group).filter_map(member) {
        if !groups.contains(&other) && groups.len() < GROUPS_MAX {
            groups.push(other);
        }
    }
    (uid != u32::MAX && gid != u32::MAX).then_some(User { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::{User, find};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n+nis\nweb:x:33:34::/:\nall:x:4294967295:1::/:\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:syslog,web\nweb:x:34:web\n+\nodd:x:nine:web\nlog:x:5: web\n";

    #[test]
    fn names_and_numbers_are_found_with_their_groups() {
        let web = User { uid: 33, gid: 34, groups: vec![34, 4, 5] };
        assert_eq!(find("web", PASSWD, GROUP), Some(web.clone()));
        assert_eq!(find("33", PASSWD, GROUP), Some(web));
        assert_eq!(find("777", PASSWD, GROUP), Some(User { uid: 777, gid: 777, groups: vec![777] }));
        for unknown in ["nobody", "", "+33", "-1", "4294967295", "all", "4294967296"] {
            assert_eq!(find(unknown, PASSWD, GROUP), None, "{unknown}");
        }
    }
}
