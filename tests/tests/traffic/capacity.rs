//! Full maps: the one who comes too late is refused, and nobody else notices.

use std::path::Path;

use anyhow::{Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use ipvlan_common::{
    Slot,
    schema::{ABI_VERSION, IPV4_MAP, IPV6_MAP, entries},
    types::{Ipv4Key, Ipv6Key},
};
use ipvlan_tests::{
    Maker, Network, Sandbox, Snapshot,
    harness::{Need, test},
};
use libtest_mimic::Trial;

use crate::lab::Lab;

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
/// The parent and two endpoints.
const FULL: Slot = 3;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("capacity::no_slot_left", NEEDS, no_slot_left),
        test("capacity::no_address_left", NEEDS, no_address_left),
    ]
}

fn lab(capacity: Slot) -> Result<Lab> {
    let mut sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.set_capacity(capacity);
    Lab::inside(sandbox, &[(NET, &["a", "b"])])
}

/// An attach is refused with `says`; it leaves nothing, and the endpoints that are there lose nothing.
fn refused(lab: &Lab, says: &[&str]) -> Result<()> {
    let late = lab.sandbox.netns("late")?;
    let namespaces = [lab.namespaces(), vec![&late]].concat();
    let before = Snapshot::take(&lab.sandbox, &namespaces)?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    lab.recount()?;
    let output = lab.sandbox.try_ctl(&format!("attach {} --netns {} --name late", NET.name, late.name()))?;
    ensure!(output.status.code() == Some(1), "it ends with {}", output.status);
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(text.lines().count() == 2, "not one error and one hint: {text}");
    for part in says.iter().chain(&["detach an endpoint", "--capacity"]) {
        ensure!(text.contains(part), "the error doesn't say '{part}': {text}");
    }
    ensure!(a.netns.pings(&b.ipv4.to_string(), 56, 20)?, "endpoints can't ping each other");
    let drops = lab.rises()?;
    ensure!(drops.is_empty(), "somebody else's frames are dropped: {drops:?}");
    let changes = Snapshot::take(&lab.sandbox, &namespaces)?.changes(&before);
    ensure!(changes.is_empty(), "a refused attach leaves: {changes:#?}");
    Ok(())
}

fn no_slot_left() -> Result<()> {
    let mut lab = lab(FULL)?;
    refused(&lab, &["all 3 places"])?;
    // A second parent needs a slot as well.
    lab.sandbox.host.ip("link add dummy0 type dummy")?;
    let second = lab.sandbox.try_ctl("network create --subnet 10.9.0.0/24 -o parent=dummy0 second")?;
    let text = String::from_utf8_lossy(&second.stderr);
    ensure!(text.contains("all 3 places"), "a network that has no room is made, or refused so: {text}");
    // Whoever goes makes room.
    lab.sandbox.ctl("detach b")?;
    lab.remove("b");
    let late = lab.sandbox.netns("late")?;
    lab.sandbox.ctl(&format!("attach {} --netns {} --name late", NET.name, late.name()))?;
    ensure!(lab.endpoint("a").netns.pings(&NET.ipv4(1).to_string(), 56, 20)?, "the gateway doesn't answer");
    lab.sandbox.ctl("detach late").map(drop)
}

/// By design there are more addresses than slots, so somebody else's hand fills the maps here.
fn no_address_left() -> Result<()> {
    let lab = lab(FULL + 1)?;
    let pin = |name| lab.sandbox.pins().join(format!("v{ABI_VERSION}/maps")).join(name);
    let entries = |name| entries(name, FULL + 1).unwrap_or_default();

    let mut ipv4: HashMap<_, Ipv4Key, Slot> = open(&pin(IPV4_MAP))?;
    let key = |host| Ipv4Key::new(u16::MAX, [192, 0, 2, host]);
    let added: Vec<_> = (0..=255).take_while(|host| ipv4.insert(&key(*host), &0, 0).is_ok()).collect();
    refused(&lab, &[IPV4_MAP, &format!("{} entries", entries(IPV4_MAP))])?;
    for host in added {
        ipv4.remove(&key(host))?;
    }

    let mut ipv6: HashMap<_, Ipv6Key, Slot> = open(&pin(IPV6_MAP))?;
    let key = |host| Ipv6Key::new(u16::MAX, [host; 16]);
    let _full = (0..=255).find(|host| ipv6.insert(&key(*host), &0, 0).is_err());
    refused(&lab, &[IPV6_MAP, &format!("{} entries", entries(IPV6_MAP))])
}

fn open<T: TryFrom<Map, Error = aya::maps::MapError>>(pin: &Path) -> Result<T> {
    Ok(Map::from_map_data(MapData::from_pin(pin)?)?.try_into()?)
}
