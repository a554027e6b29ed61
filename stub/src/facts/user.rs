//! Whom the stub runs as. From /etc/passwd alone: a static program has no name service, and facts never wait for one.

use super::{Facts, Machine};

pub(super) fn gather(machine: &Machine, facts: &mut Facts) {
    facts.put("user_uid", Some(machine.uid));
    facts.put("user_gid", Some(machine.gid));
    let passwd = machine.read("/etc/passwd").unwrap_or_default();
    let Some(entry) = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|uid| uid.parse::<u32>().ok()) == Some(machine.uid))
    else {
        return;
    };
    for (name, field) in [("user_id", 0), ("user_dir", 5), ("user_shell", 6)] {
        facts.put_text(name, entry.get(field).copied().unwrap_or(""));
    }
}
