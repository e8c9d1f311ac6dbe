//! The store's own tests, and rows that others use.

use super::*;
use crate::model::{
    Addresses, Endpoint, IfName, Made, Name, NetnsRef, NetworkSpec, Parent, RawNetwork, State, link_local,
};

pub(crate) fn in_memory() -> Store {
    Store::prepare(Connection::open_in_memory().unwrap()).unwrap()
}

pub(crate) fn spec(name: &str, subnets: &[&str]) -> NetworkSpec {
    NetworkSpec::parse(&RawNetwork {
        name: name.into(),
        subnets: subnets.iter().map(ToString::to_string).collect(),
        options: vec!["parent=eth0".into(), "mtu=1400".into()],
        ..RawNetwork::default()
    })
    .unwrap()
}

pub(crate) fn parent(slot: Slot) -> Parent {
    Parent {
        slot,
        key: [u64::MAX, 1],
        ifindex: 3,
        name: IfName::parse("eth0").unwrap(),
        mac: [2, 0, 0, 0, 0, 1],
        mode: crate::model::Mode::L2,
        xdp: crate::model::Xdp::Auto,
        made_qdisc: false,
        has_xdp: false,
        made: None,
        host_addresses: BTreeSet::new(),
    }
}

pub(crate) fn endpoint(slot: Slot, name: &str, network: u32, ipv4: &str) -> Endpoint {
    Endpoint {
        slot,
        key: [2, u64::MAX - 3],
        name: Name::parse("endpoint", name).unwrap(),
        network,
        parent: 1,
        addresses: Addresses {
            ipv4: ipv4.parse().ok(),
            ipv6: None,
            link_local: Some(link_local([2, 0, 0, 0, 0, 1], slot)),
        },
        ifname: IfName::parse("eth0").unwrap(),
        ifindex: 44,
        netns: NetnsRef { label: "red".into(), path: "/run/netns/red".into(), cookie: u64::MAX - 1 },
        state: State::Creating,
        owner: None,
        host_access: false,
    }
}

#[test]
fn round_trip() {
    let mut store = in_memory();
    let mut asked = spec("db_net", &["10.0.0.0/24", "fd00::/64", "10.1.0.0/24"]);
    asked.labels.insert("a".into(), "b=\"c\"".into());
    asked.pools[0].set_range("10.0.0.0/25".parse().unwrap()).unwrap();
    asked.pools[0].aux.insert("nas".into(), "10.0.0.7".parse().unwrap());
    let vlan = Parent { made: Some(Made::Vlan), ..parent(1) };
    let network = store.insert_network(&asked, &vlan).unwrap();
    assert_eq!(store.networks().unwrap(), std::slice::from_ref(&network));
    assert_eq!(store.parents().unwrap(), [vlan]);

    let written = endpoint(2, "ipv1", network.id, "10.0.0.9");
    store.insert_endpoint(&written).unwrap();
    assert_eq!(store.endpoints().unwrap(), std::slice::from_ref(&written));
    assert_eq!(store.addresses(1).unwrap()[&"10.0.0.9".parse().unwrap()], written.name);
    let subnet = network.spec.pools[0].subnet;
    assert_eq!(store.last_address(network.id, subnet).unwrap(), "10.0.0.9".parse().ok());
    let other = network.spec.pools[2].subnet;
    assert_eq!(store.last_address(network.id, other).unwrap(), None, "each subnet goes its own round");

    store.set_endpoint_state(2, State::Up).unwrap();
    let read = store.endpoints().unwrap().remove(0);
    assert_eq!(read.state, State::Up);

    store.set_made_qdisc(1, true).unwrap();
    store.set_network_state(network.id, State::Up).unwrap();
    assert!(store.parents().unwrap()[0].made_qdisc);
    assert_eq!(store.networks().unwrap()[0].state, State::Up);
}

#[test]
fn an_address_is_given_once_on_a_parent() {
    let mut store = in_memory();
    let network = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
    store.insert_endpoint(&endpoint(2, "one", network.id, "10.0.0.9")).unwrap();
    assert!(store.insert_endpoint(&endpoint(3, "two", network.id, "10.0.0.9")).is_err());
    assert_eq!(store.endpoints().unwrap().len(), 1, "a refused endpoint leaves no row");
}

#[test]
fn the_last_network_takes_its_parent_along() {
    let mut store = in_memory();
    let first = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
    let second = store.insert_network(&spec("b", &["10.1.0.0/24"]), &parent(1)).unwrap();
    store.delete_network(first.id).unwrap();
    assert_eq!(store.parents().unwrap().len(), 1);
    store.delete_network(second.id).unwrap();
    assert!(store.parents().unwrap().is_empty());
    let third = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
    assert!(third.id > second.id, "a network's number is never used again");
}

#[test]
fn slots_are_reused_last() {
    let mut store = in_memory();
    assert_eq!(store.free_slot(4).unwrap(), Some(1));
    let network = store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
    store.insert_endpoint(&endpoint(2, "one", network.id, "10.0.0.2")).unwrap();
    store.delete_endpoint(2).unwrap();
    assert_eq!(store.free_slot(4).unwrap(), Some(3));
    store.insert_endpoint(&endpoint(4, "two", network.id, "10.0.0.3")).unwrap();
    assert_eq!(store.free_slot(4).unwrap(), Some(2));
    store.insert_endpoint(&endpoint(2, "three", network.id, "10.0.0.4")).unwrap();
    store.insert_endpoint(&endpoint(3, "four", network.id, "10.0.0.5")).unwrap();
    assert_eq!(store.free_slot(4).unwrap(), None);
    assert_eq!(store.free_slot(5).unwrap(), Some(5), "the store itself sets no bound");
}

#[test]
fn a_file_is_private_and_reopens() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    assert!(Store::open_existing(&path).unwrap().is_none());
    let mut store = Store::open(&path).unwrap();
    store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
    drop(store);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Store::open_existing(&path).unwrap().unwrap().networks().unwrap().len(), 1);
}

#[test]
fn a_reader_leaves_an_older_store_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(schema::MIGRATIONS[0]).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let insert = "INSERT INTO parent (slot, seal, ifindex, name, mac, mode) VALUES (1, 7, 3, 'eth0', x'020000000001', 'l2');
         INSERT INTO network (name, parent, flag, internal, state) VALUES ('a', 1, 'bridge', 0, 'up');";
    old.execute_batch(insert).unwrap();
    let reader = Store::open_existing(&path).unwrap().unwrap();
    assert_eq!(reader.networks().unwrap()[0].spec.multicast_rate, 500);
    assert_eq!(version(&old).unwrap(), 1);
    assert_eq!(version(&Store::open(&path).unwrap().db).unwrap(), schema::VERSION);
}

#[test]
fn every_older_store_is_brought_up_to_date() {
    let rows = |key: &str, value: &str| {
        format!(
            "INSERT INTO parent (slot, {key}, ifindex, name, mac, mode) VALUES (1, {value}, 3, 'eth0', x'020000000001', 'l2');
             INSERT INTO network (name, parent, flag, internal, state) VALUES ('a', 1, 'bridge', 0, 'up');
             INSERT INTO pool (network, subnet, gateway) VALUES (1, '10.0.0.0/24', '10.0.0.1');
             INSERT INTO endpoint (slot, {key}, name, network, ifname, ifindex, netns_label, netns_path, netns_cookie, state)
             VALUES (2, {value}, 'one', 1, 'eth0', 44, 'red', '/run/netns/red', 7, 'up');
             INSERT INTO address (parent, address, kind, endpoint) VALUES (1, '10.0.0.9', 'ipv4', 2);"
        )
    };
    for age in 1..schema::MIGRATIONS.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.sqlite");
        let old = Connection::open(&path).unwrap();
        schema::MIGRATIONS[..age].iter().for_each(|step| old.execute_batch(step).unwrap());
        old.pragma_update(None, "user_version", age as u32).unwrap();
        let insert = if age < 3 { rows("seal", "7") } else { rows("key", "randomblob(16)") };
        old.execute_batch(&insert).unwrap();
        drop(old);
        let store = Store::open(&path).unwrap();
        assert_eq!(version(&store.db).unwrap(), schema::VERSION, "from version {age}");
        assert_eq!(store.networks().unwrap()[0].spec.pools.len(), 1, "from version {age}");
        let endpoint = store.endpoints().unwrap().remove(0);
        assert_eq!(endpoint.addresses.ipv4, "10.0.0.9".parse().ok(), "from version {age}");
        assert_ne!(endpoint.key, [0, 0], "from version {age}");
    }
}

#[test]
fn a_damaged_store_is_named_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    let mut store = Store::open(&path).unwrap();
    store.insert_network(&spec("a", &["10.0.0.0/24"]), &parent(1)).unwrap();
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let mut overwritten = whole.clone();
    overwritten[4096..8192].fill(0xa5);
    for bytes in [b"no database, whatever it is".repeat(9), whole[..whole.len() / 2].to_vec(), overwritten] {
        std::fs::write(&path, &bytes).unwrap();
        for error in [Store::open(&path).unwrap_err(), Store::open_existing(&path).unwrap_err()] {
            assert!(matches!(&error, StoreError::Damaged { path: named, .. } if *named == path), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_newer_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.sqlite");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(
        error.to_string(),
        format!(
            "the store has version 99, newer than {}, the newest that this program knows",
            schema::VERSION
        )
    );
}
