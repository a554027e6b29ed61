//! What runs here: kernel, distribution, names, service manager, package manager, security modules.

use super::{Facts, Machine};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn gather(machine: &Machine, facts: &mut Facts) {
    let kernel = &machine.kernel;
    facts.put_text("system", &kernel.system);
    facts.put_text("kernel", &kernel.release);
    facts.put_text("kernel_version", &kernel.version);
    facts.put_text("architecture", &kernel.architecture);
    names(machine, facts);
    distribution(machine, facts);
    facts.put("service_mgr", service_manager(machine));
    facts.put("pkg_mgr", package_manager(machine));
    facts.put("machine_id", machine.line("/etc/machine-id"));
    facts.put("boot_id", machine.line("/proc/sys/kernel/random/boot_id"));
    facts.put("fips", machine.line("/proc/sys/crypto/fips_enabled").map(|enabled| enabled == "1"));
    let selinux = match machine.line("/sys/fs/selinux/enforce").as_deref() {
        Some("1") => json!({"status": "enabled", "mode": "enforcing"}),
        Some(_) => json!({"status": "enabled", "mode": "permissive"}),
        None => json!({"status": "disabled"}),
    };
    facts.put("selinux", Some(selinux));
    let apparmor =
        machine.line("/sys/module/apparmor/parameters/enabled").is_some_and(|enabled| enabled == "Y");
    facts.put("apparmor", Some(json!({"status": if apparmor { "enabled" } else { "disabled" }})));
}

/// `fqdn` is the node name when that has a domain, or the name in /etc/hosts that begins with it. A name server is not
/// asked: facts never wait for the network.
fn names(machine: &Machine, facts: &mut Facts) {
    let node = machine.kernel.node.as_str();
    let host = node.split('.').next().unwrap_or(node);
    let fqdn = if node.contains('.') {
        node.to_owned()
    } else {
        let prefix = format!("{host}.");
        let hosts = machine.read("/etc/hosts").unwrap_or_default();
        hosts
            .lines()
            .filter_map(|line| line.split('#').next())
            .flat_map(|line| line.split_whitespace().skip(1))
            .find(|name| !host.is_empty() && name.starts_with(&prefix))
            .unwrap_or(node)
            .to_owned()
    };
    facts.put_text("nodename", node);
    facts.put_text("hostname", host);
    facts.put_text("domain", fqdn.split_once('.').map_or("", |(_, domain)| domain));
    facts.put_text("fqdn", &fqdn);
}

fn distribution(machine: &Machine, facts: &mut Facts) {
    let text =
        machine.read("/etc/os-release").or_else(|| machine.read("/usr/lib/os-release")).unwrap_or_default();
    let release = os_release(&text);
    let field = |name: &str| release.get(name).map_or("", String::as_str);
    let id = field("ID");
    let name = distribution_name(id).unwrap_or(field("NAME"));
    facts.put_text("distribution", name);
    facts.put_text("distribution_version", field("VERSION_ID"));
    facts.put_text("distribution_major_version", field("VERSION_ID").split('.').next().unwrap_or(""));
    facts.put_text("distribution_release", field("VERSION_CODENAME"));
    let family = std::iter::once(id).chain(field("ID_LIKE").split_whitespace()).find_map(os_family);
    facts.put_text("os_family", family.unwrap_or(name));
}

/// `KEY=value` lines with the quoting of a shell, as os-release(5) has them.
fn os_release(text: &str) -> BTreeMap<&str, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(key, value)| {
            let value = value.trim();
            let quoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
            (key, quoted.unwrap_or(value).replace('\\', ""))
        })
        .collect()
}

/// The names Ansible has for what os-release calls by its `ID`; the others go by their `NAME`.
fn distribution_name(id: &str) -> Option<&'static str> {
    Some(match id {
        "almalinux" => "AlmaLinux",
        "alpine" => "Alpine",
        "amzn" => "Amazon",
        "arch" => "Archlinux",
        "centos" => "CentOS",
        "debian" => "Debian",
        "fedora" => "Fedora",
        "gentoo" => "Gentoo",
        "ol" => "OracleLinux",
        "opensuse-leap" => "openSUSE Leap",
        "opensuse-tumbleweed" => "openSUSE Tumbleweed",
        "rhel" => "RedHat",
        "rocky" => "Rocky",
        "sles" => "SLES",
        "ubuntu" => "Ubuntu",
        _ => return None,
    })
}

fn os_family(id: &str) -> Option<&'static str> {
    Some(match id {
        "debian" | "ubuntu" => "Debian",
        "rhel" | "fedora" | "centos" | "rocky" | "almalinux" | "ol" | "amzn" => "RedHat",
        "suse" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" | "sles" => "Suse",
        "arch" => "Archlinux",
        "alpine" => "Alpine",
        "gentoo" => "Gentoo",
        _ => return None,
    })
}

fn service_manager(machine: &Machine) -> Option<String> {
    if machine.exists("/run/systemd/system") {
        return Some("systemd".into());
    }
    machine.line("/proc/1/comm")
}

fn package_manager(machine: &Machine) -> Option<&'static str> {
    // Fedora and its kin have yum as a second name of dnf, so dnf is asked first.
    const KNOWN: [(&str, &str); 8] = [
        ("/usr/bin/apt-get", "apt"),
        ("/usr/bin/dnf5", "dnf5"),
        ("/usr/bin/dnf", "dnf"),
        ("/usr/bin/yum", "yum"),
        ("/usr/bin/zypper", "zypper"),
        ("/sbin/apk", "apk"),
        ("/usr/bin/pacman", "pacman"),
        ("/usr/bin/emerge", "portage"),
    ];
    KNOWN.iter().find(|(program, _)| machine.exists(program)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_unquoted() {
        let fields =
            os_release("NAME=\"Debian GNU/Linux\"\n# comment\nID=debian\nX='a b'\nEMPTY=\nY=\"a\\$b\"\n");
        assert_eq!(fields["NAME"], "Debian GNU/Linux");
        assert_eq!(fields["ID"], "debian");
        assert_eq!(fields["X"], "a b");
        assert_eq!(fields["EMPTY"], "");
        assert_eq!(fields["Y"], "a$b");
    }
}
