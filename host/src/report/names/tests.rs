use super::*;

fn folded(names: &[&str]) -> String {
    compress(names).join(",")
}

#[test]
fn numbers_become_ranges() {
    for (names, expected) in [
        (&["web1"][..], "web1"),
        (&["web01", "web02", "web03", "web05"], "web[01-03,05]"),
        (&["web05", "web01", "web03", "web02"], "web[01-03,05]"),
        (&["web1", "db1", "web2"], "web[1-2],db1"),
        (&["n8", "n9", "n10", "n11"], "n[8-11]"),
        (&["n08", "n09", "n10"], "n[08-10]"),
        (&["n098", "n099", "n100"], "n[098-100]"),
        (&["n98", "n99", "n100"], "n[98-100]"),
        // Padded names and plain ones are different hosts, and a range may only mean one kind.
        (&["n1", "n01", "n2"], "n[1,01,2]"),
        (&["n09", "n10", "n11", "n9"], "n[9,09-11]"),
        (&["n0", "n1"], "n[0-1]"),
        (&["alpha", "beta"], "alpha,beta"),
        (&["10.0.0.1", "10.0.0.2", "10.0.0.4"], "10.0.0.[1-2,4]"),
        (&["root@web1:2222", "root@web2:2222"], "root@web[1-2]:2222"),
        (&["db1.eu", "db2.eu", "db1.us"], "db[1-2].eu,db1.us"),
        (&["r1n1", "r1n2", "r2n1", "r2n2"], "r1n[1-2],r2n[1-2]"),
        (&["r1n1", "r2n1", "r3n1"], "r[1-3]n1"),
        (&["[fe80::1]:22", "[fe80::2]:22"], "[fe80::1]:22,[fe80::2]:22"),
        (&["s99999999999999999999", "s99999999999999999998"], "s99999999999999999999,s99999999999999999998"),
        (&["ü1", "ü2"], "ü[1-2]"),
        (&[], ""),
    ] {
        assert_eq!(folded(names), expected);
    }
}

#[test]
fn a_thousand_hosts_are_one_word() {
    let names: Vec<String> = (1..=1000).map(|n| format!("node{n:04}.example.net")).collect();
    assert_eq!(compress(&names), ["node[0001-1000].example.net"]);
}

#[test]
fn what_does_not_fit_is_counted() {
    let names = ["alpha", "beta", "gamma", "delta"];
    assert_eq!(joined(&names, 40, "…"), "alpha,beta,gamma,delta");
    assert_eq!(joined(&names, 22, "…"), "alpha,beta,gamma,delta");
    assert_eq!(joined(&names, 21, "…"), "alpha,… (4 hosts)");
    assert_eq!(joined(&names, 3, "…"), "… (4 hosts)");
    assert_eq!(joined(&["a-very-long-name"], 5, "…"), "a-very-long-name");
}
