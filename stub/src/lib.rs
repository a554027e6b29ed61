//! What a stub does for its runs: workers that execute tasks, programs that tasks may start, and the
//! certainty that all of them end with it.
//!
//! ```text
//!   keeper (subreaper: cleans up if the stub is killed)
//!     stub (subreaper; links, pool) ---- socket pair ---- worker (one module, walled in)
//!                                   ---- socket pair ---- supervisor (subreaper) -- program -- its children
//! ```
//!
//! Knows no links and no routes; the binary beside this library connects the two.

mod base64;
pub mod facts;
pub mod policy;
pub mod pool;
pub mod process;
pub mod program;
pub mod worker;

use waft_proto::msg::Profile;

/// The profile this machine can run: `fast` needs some gigabytes of address space that nobody uses.
pub fn profile() -> Profile {
    if worker::can_reserve() { Profile::Fast } else { Profile::Small }
}

/// The walls that executions stand behind here, for the hello. Each result says it again, of its own worker.
///
/// Must be called before the process has a second thread.
pub fn walls() -> Vec<String> {
    worker::walls::expected().into_iter().map(str::to_owned).collect()
}

/// The name of a user, or the number where the machine knows no name. A static program has no NSS: only
/// `/etc/passwd` is asked.
pub fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    find_user(&passwd, uid).map_or_else(|| uid.to_string(), str::to_owned)
}

fn find_user(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let found = fields.nth(1)?.parse::<u32>().ok()?;
        (found == uid && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::find_user;

    #[test]
    fn users_are_found_by_number_and_odd_lines_are_passed_over() {
        let passwd =
            "# comment\nroot:x:0:0:root:/root:/bin/sh\n+nis\nbad:x:seven:1::/:/bin/sh\nweb:x:33:33::/:\n";
        assert_eq!(find_user(passwd, 0), Some("root"));
        assert_eq!(find_user(passwd, 33), Some("web"));
        assert_eq!(find_user(passwd, 7), None);
    }
}
