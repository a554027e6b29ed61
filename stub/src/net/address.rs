//! Which addresses a name may stand for. See docs/decisions/0022.
//!
//! A grant that names a *name* trusts whoever answers for it with the choice of an address. What it must not get by that:
//! services that trust everybody who reaches them because only the node itself can (loopback), or its next neighbours
//! (link-local, and the metadata services of clouds there). An address in a grant was written by somebody and is taken as it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Services that give a machine its credentials and have no link-local address: Alibaba's, Oracle's, and that of Amazon for IPv6.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Why an address is no good as the answer for a name; none when it is good. `own`: it is a name of the node itself.
pub(super) fn refused(address: IpAddr, own: bool) -> Option<&'static str> {
    let kind = match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    };
    kind.filter(|kind| !own || *kind != LOOPBACK)
}

const LOOPBACK: &str = "loopback";

fn v4(address: Ipv4Addr) -> Option<&'static str> {
    match address {
        // 0.0.0.0/8 is "this network": Linux connects 0.0.0.0 to the machine itself.
        _ if address.octets().first() == Some(&0) => Some("unspecified"),
        _ if address.is_loopback() => Some(LOOPBACK),
        _ if address.is_link_local() => Some("link-local"),
        _ if address.is_multicast() => Some("multicast"),
        _ if address.is_broadcast() => Some("broadcast"),
        _ if METADATA_V4.contains(&address) => Some("metadata service"),
        _ => None,
    }
}

fn v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        _ if address.is_unspecified() => Some("unspecified"),
        _ if address.is_loopback() => Some(LOOPBACK),
        _ if address.is_unicast_link_local() => Some("link-local"),
        _ if address.is_multicast() => Some("multicast"),
        _ if address == METADATA_V6 => Some("metadata service"),
        // An IPv4 address in other clothes: mapped, compatible (long given up), NAT64 (RFC 6052, 8215), 6to4.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

/// Whether a name is one of the node itself, `node` being what it calls itself.
pub(super) fn is_own(name: &str, node: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || (!node.is_empty() && name.eq_ignore_ascii_case(node))
}

#[cfg(test)]
mod tests {
    use super::{is_own, refused};

    fn kind(address: &str) -> Option<&'static str> {
        refused(address.parse().expect("an address"), false)
    }

    #[test]
    fn a_name_may_stand_for_public_and_private_addresses_only() {
        for good in [
            "93.184.216.34",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "2001:db8::1",
            "fd12::1",
            "::ffff:10.0.0.5",
            "64:ff9b::a00:5",
            "2002:a00:5::1",
        ] {
            assert_eq!(kind(good), None, "{good}");
        }
        for (bad, why) in [
            ("127.0.0.1", "loopback"),
            ("127.255.0.9", "loopback"),
            ("::1", "loopback"),
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("::", "unspecified"),
            ("169.254.169.254", "link-local"),
            ("169.254.0.1", "link-local"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("224.0.0.251", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("100.100.100.200", "metadata service"),
            ("192.0.0.192", "metadata service"),
            ("fd00:ec2::254", "metadata service"),
        ] {
            assert_eq!(kind(bad), Some(why), "{bad}");
        }
    }

    #[test]
    fn an_address_in_other_clothes_is_the_same_address() {
        let inner = [(0x7f00, 1, "loopback"), (0xa9fe, 0xa9fe, "link-local"), (0xe000, 1, "multicast")];
        for (high, low, why) in inner {
            for dressed in [
                format!("::ffff:{high:x}:{low:x}"),
                format!("::{high:x}:{low:x}"),
                format!("64:ff9b::{high:x}:{low:x}"),
                format!("64:ff9b:1:2:3:4:{high:x}:{low:x}"),
                format!("2002:{high:x}:{low:x}::7"),
            ] {
                assert_eq!(kind(&dressed), Some(why), "{dressed}");
            }
        }
        assert_eq!(kind("::ffff:0.0.0.0"), Some("unspecified"));
    }

    #[test]
    fn only_names_of_the_node_itself_may_be_loopback_and_nothing_else_that_is_refused() {
        let own = |address: &str| refused(address.parse().expect("an address"), true);
        assert_eq!((own("127.0.1.1"), own("::1"), own("::ffff:127.0.0.1")), (None, None, None));
        assert_eq!((own("169.254.169.254"), own("0.0.0.0")), (Some("link-local"), Some("unspecified")));
        assert!(is_own("localhost", "web1") && is_own("db.localhost", "web1") && is_own("web1", "Web1"));
        assert!(!is_own("localhost.example.com", "web1") && !is_own("notlocalhost", "web1"));
        assert!(!is_own("", "") && !is_own("web1.example.com", "web1"));
    }
}
