//! Facts of machines that exist only as a folder of files.

use super::*;
use std::fs;
use tempfile::TempDir;

struct Fixture {
    dir: TempDir,
    machine: Machine,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let kernel = Kernel {
            system: "Linux".into(),
            node: "web1".into(),
            release: "6.1.0-40-amd64".into(),
            version: "#1 SMP".into(),
            architecture: "x86_64".into(),
        };
        let machine = Machine { root: dir.path().to_owned(), kernel, uid: 1000, gid: 1000, now: 951_782_400 };
        Fixture { dir, machine }
    }

    fn file(self, path: &str, text: &str) -> Fixture {
        let path = self.dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn facts(&self) -> Value {
        facts_of(&self.machine)
    }
}

fn debian() -> Fixture {
    Fixture::new()
        .file("/etc/os-release", "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n")
        .file("/etc/hosts", "127.0.0.1 localhost\n192.0.2.2 web1.example.org web1 # this one\n")
        .file("/etc/machine-id", "0123456789abcdef\n")
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\ndeploy:x:1000:1000::/home/deploy:/bin/sh\n")
        .file("/usr/bin/apt-get", "")
        .file("/run/systemd/system/x", "")
        .file("/proc/uptime", "1234.56 99.9\n")
        .file("/proc/loadavg", "0.10 0.20 0.30 1/99 7\n")
        .file("/proc/meminfo", "MemTotal:       2048000 kB\nMemFree:        1024000 kB\nSwapTotal:             0 kB\n")
        .file("/proc/cpuinfo", "processor\t: 0\nmodel name\t: A CPU\nphysical id\t: 0\ncpu cores\t: 2\nflags\t: fpu hypervisor\n\nprocessor\t: 1\nmodel name\t: A CPU\nphysical id\t: 0\ncpu cores\t: 2\n")
        .file("/sys/class/net/eth0/address", "02:fc:00:00:00:01\n")
        .file("/sys/class/net/eth0/mtu", "1500\n")
        .file("/sys/class/net/lo/mtu", "65536\n")
        .file("/sys/class/dmi/id/sys_vendor", "QEMU\n")
        .file("/proc/net/fib_trie", "Main:\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.2\n        /32 host LOCAL\n")
        .file("/proc/self/mounts", "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\n")
}

/// The kernel's tables are in the byte order of the machine that wrote them.
fn route_table() -> String {
    let hex = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
    format!(
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth0 {} {} 0003 0 0 0 {} 0 0 0\neth0 {} {} 0001 0 0 0 {} 0 0 0\n",
        hex([0, 0, 0, 0]),
        hex([192, 0, 2, 1]),
        hex([0, 0, 0, 0]),
        hex([192, 0, 2, 0]),
        hex([0, 0, 0, 0]),
        hex([255, 255, 255, 0]),
    )
}

#[test]
fn a_debian_machine() {
    let facts = debian().file("/proc/net/route", &route_table()).facts();
    for (name, expected) in [
        ("hostname", "web1"),
        ("fqdn", "web1.example.org"),
        ("domain", "example.org"),
        ("kernel", "6.1.0-40-amd64"),
        ("architecture", "x86_64"),
        ("distribution", "Debian"),
        ("distribution_version", "12"),
        ("distribution_release", "bookworm"),
        ("os_family", "Debian"),
        ("machine_id", "0123456789abcdef"),
        ("pkg_mgr", "apt"),
        ("service_mgr", "systemd"),
        ("processor_model", "A CPU"),
        ("virtualization_type", "kvm"),
        ("virtualization_role", "guest"),
        ("user_id", "deploy"),
        ("user_dir", "/home/deploy"),
        ("user_shell", "/bin/sh"),
    ] {
        assert_eq!(facts[name], expected, "{name}");
    }
    for (name, expected) in [
        ("processor_vcpus", 2),
        ("processor_count", 1),
        ("processor_cores", 2),
        ("memtotal_mb", 2000),
        ("memfree_mb", 1000),
        ("swaptotal_mb", 0),
        ("uptime_seconds", 1234),
        ("user_uid", 1000),
    ] {
        assert_eq!(facts[name], expected, "{name}");
    }
    assert_eq!(facts["date_time"]["iso8601"], "2000-02-29T00:00:00Z");
    assert_eq!(facts["interfaces"], serde_json::json!(["eth0", "lo"]));
    assert_eq!(facts["all_ipv4_addresses"], serde_json::json!(["192.0.2.2"]));
    let default = &facts["default_ipv4"];
    assert_eq!(default["address"], "192.0.2.2");
    assert_eq!(default["netmask"], "255.255.255.0");
    assert_eq!(default["gateway"], "192.0.2.1");
    assert_eq!(default["interface"], "eth0");
    assert_eq!(default["macaddress"], "02:fc:00:00:00:01");
    assert_eq!(default["mtu"], 1500);
    let mounts = facts["mounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 1);
    assert_eq!(mounts[0]["mount"], "/");
    assert!(mounts[0]["size_total"].as_u64().unwrap() > 0);
}

#[test]
fn a_machine_that_says_nothing_still_has_its_kernel_and_user() {
    let facts = Fixture::new().facts();
    assert_eq!(facts["kernel"], "6.1.0-40-amd64");
    assert_eq!(facts["user_uid"], 1000);
    assert_eq!(facts["virtualization_type"], "NA");
    for missing in
        ["distribution", "memtotal_mb", "user_id", "default_ipv4", "mounts", "truncated", "pkg_mgr"]
    {
        assert!(facts.get(missing).is_none(), "{missing}");
    }
}

/// Every file replaced by each kind of nonsense: facts may shrink, never fail.
#[test]
fn nonsense_in_any_file_is_survived() {
    let paths = [
        "/etc/os-release",
        "/etc/hosts",
        "/etc/machine-id",
        "/etc/passwd",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/cpuinfo",
        "/proc/net/fib_trie",
        "/proc/net/route",
        "/proc/net/if_inet6",
        "/proc/net/ipv6_route",
        "/proc/self/mounts",
        "/sys/class/net/eth0/mtu",
        "/sys/devices/system/cpu/online",
    ];
    for path in paths {
        for nonsense in [
            "",
            "\n\n\n",
            ":::::::",
            "=",
            "\u{fffd}\0\0 x y z \\0",
            "-1 -1 -1 -1 -1 -1 -1 -1 -1 -1",
            &"9".repeat(4096),
        ] {
            let facts = debian().file(path, nonsense).facts();
            assert_eq!(facts["hostname"], "web1", "{path} {nonsense:?}");
            assert!(facts.to_string().len() <= FACTS_BYTES_MAX, "{path} {nonsense:?}");
        }
    }
}

#[test]
fn a_crowded_machine_stays_within_the_bound_and_says_what_is_missing() {
    let mounts: String =
        (0..500).map(|n| format!("/dev/disk{n} /srv/{}{n} ext4 rw 0 0\n", "volume".repeat(5))).collect();
    let trie: String = (0..250).map(|n| format!("     |-- 10.0.0.{n}\n        /32 host LOCAL\n")).collect();
    let mut fixture = debian().file("/proc/self/mounts", &mounts).file("/proc/net/fib_trie", &trie);
    for n in 0..200 {
        fixture = fixture.file(&format!("/sys/class/net/veth{n:08}/mtu"), "1500\n");
    }
    let facts = fixture.facts();
    assert!(facts.to_string().len() <= FACTS_BYTES_MAX, "{} bytes", facts.to_string().len());
    let truncated: Vec<&str> =
        facts["truncated"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(truncated.contains(&"mounts"), "{truncated:?}");
    assert!(!facts["mounts"].as_array().unwrap().is_empty());
    assert_eq!(facts["user_id"], "deploy");
}

#[test]
fn texts_alone_cannot_pass_the_bound_either() {
    let facts: Map<String, Value> =
        (0..100).map(|n| (format!("fact{n:03}"), "x".repeat(TEXT_CHARS_MAX).into())).collect();
    assert!(within(facts, FACTS_BYTES_MAX).to_string().len() <= FACTS_BYTES_MAX);
}

#[test]
fn a_fifo_where_a_file_should_be_does_not_block() {
    let fixture = Fixture::new();
    let path = fixture.dir.path().join("etc");
    fs::create_dir_all(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, path.join("hosts"), rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(fixture.facts()["fqdn"], "web1");
}

#[test]
fn families_are_found_by_likeness() {
    let family = |release: &str| Fixture::new().file("/etc/os-release", release).facts()["os_family"].clone();
    assert_eq!(family("ID=linuxmint\nNAME=Mint\nID_LIKE=\"ubuntu debian\"\n"), "Debian");
    assert_eq!(family("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n"), "RedHat");
    assert_eq!(family("ID=void\nNAME=Void\n"), "Void");
}

#[test]
fn containers_are_seen_before_the_machine_below_them() {
    let kind = |path: &str, text: &str| debian().file(path, text).facts()["virtualization_type"].clone();
    assert_eq!(kind("/.dockerenv", ""), "docker");
    assert_eq!(kind("/run/.containerenv", ""), "podman");
    assert_eq!(kind("/run/systemd/container", "systemd-nspawn\n"), "systemd-nspawn");
    assert_eq!(kind("/proc/1/environ", "A=b\0container=lxc\0"), "lxc");
}

#[test]
fn this_machine() {
    let facts = facts();
    assert!(facts.to_string().len() <= FACTS_BYTES_MAX);
    assert_eq!(facts["user_uid"], rustix::process::geteuid().as_raw());
    assert_eq!(facts["system"], "Linux");
    assert!(facts["memtotal_mb"].as_u64().is_some_and(|mb| mb > 0));
}
