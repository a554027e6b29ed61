//! What it runs on: processors, memory, uptime, load, and whether the machine is a guest.

use super::{Facts, Machine};
use serde_json::json;
use std::collections::BTreeSet;

pub(super) fn gather(machine: &Machine, facts: &mut Facts) {
    processors(machine, facts);
    memory(machine, facts);
    let uptime = machine.line("/proc/uptime");
    facts.put("uptime_seconds", uptime.and_then(|line| line.split('.').next()?.parse::<u64>().ok()));
    facts.put("loadavg", machine.line("/proc/loadavg").and_then(|line| load(&line)));
    let (kind, role) = virtualization(machine);
    facts.put_text("virtualization_type", &kind);
    facts.put_text("virtualization_role", role);
}

/// Values of all lines `key : value` of /proc/cpuinfo.
fn values<'a>(cpuinfo: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(move |(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim())
}

fn processors(machine: &Machine, facts: &mut Facts) {
    let cpuinfo = machine.read("/proc/cpuinfo").unwrap_or_default();
    let online = machine.line("/sys/devices/system/cpu/online").and_then(|line| range_len(&line));
    let listed = values(&cpuinfo, "processor").count() as u64;
    facts.put("processor_vcpus", online.or((listed > 0).then_some(listed)));
    // ARM and RISC-V have no packages in cpuinfo: nothing is said there rather than 1.
    let packages = values(&cpuinfo, "physical id").collect::<BTreeSet<_>>().len();
    facts.put("processor_count", (packages > 0).then_some(packages));
    facts.put("processor_cores", values(&cpuinfo, "cpu cores").next().and_then(|n| n.parse::<u64>().ok()));
    let model =
        ["model name", "Model", "cpu model", "uarch"].iter().find_map(|key| values(&cpuinfo, key).next());
    facts.put_text("processor_model", model.unwrap_or(""));
}

/// How many numbers `0-3,8` names.
fn range_len(ranges: &str) -> Option<u64> {
    ranges.split(',').try_fold(0_u64, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

fn memory(machine: &Machine, facts: &mut Facts) {
    const KB_PER_MB: u64 = 1024;
    let meminfo = machine.read("/proc/meminfo").unwrap_or_default();
    let mb = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / KB_PER_MB)
    };
    facts.put("memtotal_mb", mb("MemTotal"));
    facts.put("memfree_mb", mb("MemFree"));
    facts.put("memavailable_mb", mb("MemAvailable"));
    facts.put("swaptotal_mb", mb("SwapTotal"));
    facts.put("swapfree_mb", mb("SwapFree"));
}

fn load(line: &str) -> Option<serde_json::Value> {
    let mut words = line.split_whitespace().map(hundredths);
    Some(json!({"1m": words.next()??, "5m": words.next()??, "15m": words.next()??}))
}

/// A number of the form 0.00, as the kernel writes it. std reads any number, by tables of 15 kB.
fn hundredths(word: &str) -> Option<f64> {
    let (whole, rest) = word.split_once('.').filter(|(_, rest)| rest.len() == 2)?;
    let (whole, rest) = (whole.parse::<u32>().ok()?, rest.parse::<u8>().ok()?);
    Some((f64::from(whole) * 100.0 + f64::from(rest)) / 100.0)
}

/// `NA` is Ansible's word for "nothing of the kind seen"; a guest of an unknown host is `("NA", "guest")`.
///
/// Best effort: a container or a host that hides well is not found out.
fn virtualization(machine: &Machine) -> (String, &'static str) {
    container(machine).or_else(|| hypervisor(machine)).unwrap_or_else(|| {
        if machine.exists("/dev/kvm") { ("kvm".into(), "host") } else { ("NA".into(), "NA") }
    })
}

fn container(machine: &Machine) -> Option<(String, &'static str)> {
    if machine.exists("/.dockerenv") {
        return Some(("docker".into(), "guest"));
    }
    if machine.exists("/run/.containerenv") {
        return Some(("podman".into(), "guest"));
    }
    // systemd as pid 1 writes down what its manager told it; any other pid 1 has it in its environment, root may read it.
    let told = machine.line("/run/systemd/container").or_else(|| {
        let environment = machine.read("/proc/1/environ")?;
        let kind = environment.split('\0').find_map(|variable| variable.strip_prefix("container="))?;
        (!kind.is_empty()).then(|| super::cut(kind))
    });
    if let Some(kind) = told {
        return Some((kind, "guest"));
    }
    let release = machine.kernel.release.to_ascii_lowercase();
    release.contains("microsoft").then(|| ("wsl".into(), "guest"))
}

fn hypervisor(machine: &Machine) -> Option<(String, &'static str)> {
    if machine.line("/sys/hypervisor/type").is_some_and(|kind| kind == "xen") {
        return Some(("xen".into(), "guest"));
    }
    let dmi = |field: &str| machine.line(&format!("/sys/class/dmi/id/{field}")).unwrap_or_default();
    let (vendor, product) = (dmi("sys_vendor"), dmi("product_name"));
    let kind = match (vendor.as_str(), product.as_str()) {
        (_, "VirtualBox") => "virtualbox",
        ("VMware, Inc.", _) => "VMware",
        // Their physical machines have other products, and other vendors' guests carry no such name.
        ("Microsoft Corporation", "Virtual Machine") => "VirtualPC",
        ("Xen", _) => "xen",
        ("Parallels Software International Inc." | "Parallels International GmbH.", _) => "parallels",
        ("QEMU", _) | (_, "KVM" | "Google Compute Engine" | "OpenStack Nova") => "kvm",
        // EC2 names bare machines, too, but those end in `.metal`.
        ("Amazon EC2", product) if !product.ends_with(".metal") => "kvm",
        ("DigitalOcean" | "Hetzner", _) => "kvm",
        _ => {
            let cpuinfo = machine.read("/proc/cpuinfo")?;
            let guest = values(&cpuinfo, "flags").next()?.split_whitespace().any(|flag| flag == "hypervisor");
            return guest.then(|| ("NA".into(), "guest"));
        }
    };
    Some((kind.into(), "guest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_processors_are_counted() {
        assert_eq!(range_len("0"), Some(1));
        assert_eq!(range_len("0-3,8,10-11"), Some(7));
        for bad in ["", "3-1", "a-b", "0-18446744073709551615"] {
            assert_eq!(range_len(bad), None, "{bad}");
        }
    }

    #[test]
    fn load_needs_three_numbers() {
        assert_eq!(load("0.10 0.20 0.30 1/99 7"), Some(json!({"1m": 0.1, "5m": 0.2, "15m": 0.3})));
        assert_eq!(load("0.10 0.20"), None);
        assert_eq!(load("0.10 0.20 0.3"), None);
        for hundredth in 0..100_000 {
            let word = format!("{}.{:02}", hundredth / 100, hundredth % 100);
            assert_eq!(hundredths(&word), word.parse().ok(), "{word}");
        }
    }
}
