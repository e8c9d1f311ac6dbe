//! What a network's specification takes, and what it says to the rest.

use super::*;

fn raw(subnets: &[&str], options: &[&str]) -> RawNetwork {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    RawNetwork {
        name: "db_net".into(),
        subnets: owned(subnets),
        options: owned(options),
        ..RawNetwork::default()
    }
}

#[test]
fn defaults() {
    let spec = NetworkSpec::parse(&raw(&["192.168.1.0/24", "fd00::/64"], &["parent=eth0"])).unwrap();
    assert_eq!((spec.mode, spec.flag, spec.internal, spec.mtu), (Mode::L2, Flag::Bridge, false, None));
    assert_eq!(spec.multicast, Multicast::On);
    assert_eq!(spec.pools.len(), 2);
    assert_eq!(spec.pools_of(false).next().unwrap().gateway.to_string(), "fd00::1");
    assert!(spec.has_family(true) && spec.labels.is_empty());
}

#[test]
fn without_a_parent_it_is_internal() {
    let spec = NetworkSpec::parse(&raw(&[], &[])).unwrap();
    assert_eq!((spec.parent, spec.internal, spec.pools.len()), (None, true, 0));
}

#[test]
fn labels() {
    let labels = ["a=b=c", "d"].map(str::to_owned).to_vec();
    let spec = NetworkSpec::parse(&RawNetwork { labels, ..raw(&[], &[]) }).unwrap();
    assert_eq!((spec.labels["a"].as_str(), spec.labels["d"].as_str()), ("b=c", ""));
    for (labels, message) in [
        (&["=x"][..], "invalid label '=x': not KEY or KEY=VALUE"),
        (&["a", "a=b"], "label 'a' is given twice"),
    ] {
        let labels = labels.iter().map(ToString::to_string).collect();
        let error = NetworkSpec::parse(&RawNetwork { labels, ..raw(&[], &[]) }).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn refusals() {
    let ok = "10.0.0.0/24";
    for (subnets, options, message, hint) in [
        (
            &[ok][..],
            &["ipvlan_flag=vepa"][..],
            "ipvlan_flag=vepa needs a parent: nothing would send frames back",
            "-o parent=eth0",
        ),
        (&[ok], &["internal=false"], "a network without a parent is internal", "-o parent=eth0"),
        (&[ok], &["parent=lo"], "loopback interface is not a valid ipvlan parent link", "-o parent=eth0"),
        (&[ok], &["parent=a b"], "invalid interface name 'a b'", "15 characters"),
        (
            &[ok],
            &["parent=eth0", "ipvlan_mode=l9"],
            "requested ipvlan mode 'l9' is not valid",
            "l2 (the default), l3, l3s",
        ),
        (
            &[ok],
            &["parent=eth0", "ipvlan_flag=x"],
            "requested ipvlan flag 'x' is not valid",
            "bridge (the default), private, vepa",
        ),
        (
            &[ok],
            &["parent=eth0", "multicast_rate=many"],
            "invalid value 'many' for network option 'multicast_rate'",
            "frames a second",
        ),
        (
            &[ok],
            &["parent=eth0", "arp_suppress=maybe"],
            "invalid value 'maybe' for network option 'arp_suppress'",
            "on (the default), off",
        ),
        (
            &[ok],
            &["parent=eth0", "ipvlan_mode=l3", "snat=maybe"],
            "invalid value 'maybe' for network option 'snat'",
            "off (the default), on",
        ),
        (
            &[ok],
            &["parent=eth0", "snat=on"],
            "snat=on goes with modes l3 and l3s: in l2 the host doesn't route what endpoints send",
            "leave snat out",
        ),
        (
            &[ok],
            &["parent=eth0", "host_access=maybe"],
            "invalid value 'maybe' for network option 'host_access'",
            "true or false",
        ),
        (
            &[ok],
            &["parent=eth0", "ipvlan_flag=vepa", "host_access=true"],
            "host access doesn't go with ipvlan_flag=vepa: there the switch has what endpoints send to the host",
            "bridge or private",
        ),
        (
            &[ok],
            &["parent=eth0", "ipvlan_mode=l3", "internal=true", "host_access=true"],
            "host access doesn't go with an internal network of mode l3 or l3s: the host's NAT could lead its frames out",
            "ipvlan_mode=l2",
        ),
        (
            &[ok],
            &["parent=eth0", "multicast=some"],
            "invalid value 'some' for network option 'multicast'",
            "on (the default), local, off",
        ),
        (&[ok], &["vlan=3"], "unknown network option 'vlan'", "valid options: parent, ipvlan_mode"),
        (&[ok], &["parent"], "invalid network option 'parent': not KEY=VALUE", "valid options"),
        (&[ok], &["mtu=1", "mtu=2"], "network option 'mtu' is given twice", ""),
        (
            &["fd00::/64"],
            &["parent=eth0", "mtu=600"],
            "invalid mtu '600': a network with IPv6 needs 1280 to 65535",
            "",
        ),
        (
            &[ok],
            &["parent=eth0", "internal=maybe"],
            "invalid value 'maybe' for network option 'internal'",
            "true or false",
        ),
    ] {
        let error = NetworkSpec::parse(&raw(subnets, options)).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.hint().unwrap_or_default().contains(hint), "{message}: {:?}", error.hint());
    }
}

#[test]
fn overlapping_networks() {
    let spec = |subnet| NetworkSpec::parse(&raw(&[subnet], &["parent=eth0"])).unwrap();
    assert!(spec("10.0.0.0/8").overlap(&spec("10.9.0.0/16")).is_some());
    assert!(spec("10.9.0.0/16").overlap(&spec("10.0.0.0/8")).is_some());
    assert!(spec("10.0.0.0/16").overlap(&spec("10.1.0.0/16")).is_none());
    assert!(spec("10.0.0.0/16").overlap(&spec("fd00::/64")).is_none());
}
