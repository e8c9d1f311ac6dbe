//! `ipvlan-ctl reconcile`: what others have done is found, what can be is mended, and looking changes nothing.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, HashMap, Map, MapData, ProgramArray};
use ipvlan_common::{
    Slot, SlotEntry,
    schema::{ABI_VERSION, IPV4_MAP, SHARED_MAP, SLOT_MAP},
    types::Ipv4Key,
};
use ipvlan_tests::{
    Maker, Network, Sandbox, Snapshot,
    harness::{Need, kernel_version, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{lab::Lab, lifecycle::is_enforced};

const NET: Network = Network::bridge("db_net", 1);
const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("reconcile::mends_what_others_have_taken_away", NEEDS, taken_away),
        test("reconcile::clears_away_what_nobody_has", NEEDS, nobodys),
        test("reconcile::reports_what_is_for_the_user", NEEDS, reported),
        test("reconcile::parents_go_and_come_back", NEEDS, parents),
        test("reconcile::a_damaged_store_is_named_and_left", &[Need::Root], damaged_store),
    ]
}

fn has_tcx() -> bool {
    kernel_version() >= (6, 6)
}

/// What `reconcile` finds: kind and outcome of each, in order of kind. Its exit status says whether anything remains.
pub(crate) fn reconcile(sandbox: &Sandbox, options: &str) -> Result<Vec<(String, String)>> {
    let output = sandbox.try_ctl(&format!("--format json reconcile {options}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<Value> = serde_json::from_str(&text)
        .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = rows.iter().map(|row| (field(row, "kind"), field(row, "outcome"))).collect();
    found.sort();
    let well = found.iter().all(|(_, outcome)| outcome == "mended");
    ensure!(output.status.code() == Some(i32::from(!well)), "it ends with {}: {text}", output.status);
    Ok(found)
}

fn each<'a>(kinds: &[&'a str], outcome: &'a str) -> Vec<(String, String)> {
    kinds.iter().map(|kind| ((*kind).to_owned(), outcome.to_owned())).collect()
}

/// A dry run finds `kinds` and changes nothing; a real one mends them all, and then all is well.
fn mends(lab: &Lab, kinds: &[&str]) -> Result<()> {
    let before = Snapshot::take(&lab.sandbox, &lab.namespaces())?;
    let found = reconcile(&lab.sandbox, "--dry-run")?;
    ensure!(found == each(kinds, "mendable"), "not {kinds:?} are found, but {found:?}");
    let changes = Snapshot::take(&lab.sandbox, &lab.namespaces())?.changes(&before);
    ensure!(changes.is_empty(), "a dry run changes: {changes:#?}");
    let mended = reconcile(&lab.sandbox, "")?;
    ensure!(mended == each(kinds, "mended"), "not {kinds:?} are mended, but {mended:?}");
    let left = reconcile(&lab.sandbox, "--dry-run")?;
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

pub(crate) fn link_pin(sandbox: &Sandbox, slot: &str, program: &str) -> std::path::PathBuf {
    sandbox.pins().join(format!("v{ABI_VERSION}/links/{slot}-{program}"))
}

pub(crate) fn slot_of(sandbox: &Sandbox, name: &str) -> Result<String> {
    let rows: Vec<Value> = sandbox.ctl_json("ps")?;
    let row = rows.iter().find(|row| row["name"] == name).context("no such endpoint")?;
    Ok(row["slot"].to_string())
}

fn taken_away() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b"])])?;
    let Lab { sandbox, .. } = &lab;
    ensure!(reconcile(sandbox, "")?.is_empty(), "something is found where all is well");
    let a = &lab.endpoint("a").netns;
    // The programs of a slave, of a parent and of lo.
    if has_tcx() {
        fs::remove_file(link_pin(sandbox, &slot_of(sandbox, "a")?, "slave_egress"))?;
        fs::remove_file(link_pin(sandbox, "1", "parent_egress"))?;
        fs::remove_file(link_pin(sandbox, "1", "loopback_egress"))?;
    } else {
        a.tc(&format!("qdisc del dev {INTERFACE} clsact"))?;
        sandbox.host.tc(&format!("filter del dev {INTERFACE} egress"))?;
        sandbox.host.tc("filter del dev lo ingress")?;
    }
    mends(&lab, &["parent-unenforced", "slave-unenforced"])?;
    is_enforced(&lab)?;
    // One that all endpoints share: nothing passes.
    let mut shared: ProgramArray<_> = open(&map(sandbox, SHARED_MAP))?;
    shared.clear_index(&0)?;
    let b = lab.endpoint("b").ipv4.to_string();
    ensure!(!a.pings(&b, 56, 1)?, "a reaches b without the shared program");
    mends(&lab, &["parent-unenforced"])?;
    ensure!(a.pings(&b, 56, 20)?, "a doesn't reach b");
    // Entries of the maps.
    let mut slots: Array<_, SlotEntry> = open(&map(sandbox, SLOT_MAP))?;
    slots.set(slot_of(sandbox, "b")?.parse()?, &SlotEntry::default(), 0)?;
    let mut ipv4: HashMap<_, Ipv4Key, Slot> = open(&map(sandbox, IPV4_MAP))?;
    ipv4.remove(&Ipv4Key::new(1, lab.endpoint("a").ipv4.octets()))?;
    mends(&lab, &["entry-missing", "entry-missing"])?;
    fs::remove_dir_all(sandbox.pins())?;
    mends(&lab, &["maps-gone"])?;
    is_enforced(&lab)
}

fn nobodys() -> Result<()> {
    let mut lab = Lab::new(&[(NET, &["a", "b", "c"])])?;
    let mut slots: Array<_, SlotEntry> = open(&map(&lab.sandbox, SLOT_MAP))?;
    slots.set(99, &SlotEntry { network: 1, ..SlotEntry::default() }, 0)?;
    let mut ipv4: HashMap<_, Ipv4Key, Slot> = open(&map(&lab.sandbox, IPV4_MAP))?;
    ipv4.insert(&Ipv4Key::new(1, [192, 0, 2, 1]), &99, 0)?;
    let mut kinds = vec!["netns-gone", "stray-entry", "stray-entry"];
    if has_tcx() {
        // A link whose interface has gone with its namespace.
        let slot = slot_of(&lab.sandbox, "c")?;
        fs::rename(
            link_pin(&lab.sandbox, &slot, "slave_egress"),
            link_pin(&lab.sandbox, "98", "slave_egress"),
        )?;
        kinds.push("stray-pin");
    }
    lab.remove("c");
    crate::lab::eventually("the end of a namespace", || {
        let rows: Vec<Value> = lab.sandbox.ctl_json("ps")?;
        Ok(rows.iter().any(|row| row["state"] == "gone"))
    })?;
    mends(&lab, &kinds)?;
    is_enforced(&lab)
}

fn reported() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a", "b", "m"])])?;
    let Lab { sandbox, .. } = &lab;
    let (a, b, m) = (&lab.endpoint("a").netns, &lab.endpoint("b").netns, &lab.endpoint("m").netns);
    a.ip(&format!("link del {INTERFACE}"))?;
    b.ip(&format!("addr add 192.0.2.9/32 dev {INTERFACE}"))?;
    sandbox.host.ip(&format!("link add link {INTERFACE} name mine type ipvlan mode l2"))?;
    sandbox.host.ip(&format!("link set mine netns {}", b.name()))?;
    let elsewhere = sandbox.netns("elsewhere")?;
    m.ip(&format!("link set {INTERFACE} netns {} name moved", elsewhere.name()))?;
    let kinds = ["foreign-address", "foreign-slave", "slave-gone", "slave-moved"];
    for options in ["--dry-run", ""] {
        let found = reconcile(sandbox, options)?;
        ensure!(found == each(&kinds, "left"), "not {kinds:?} are found with '{options}', but {found:?}");
    }
    let table = String::from_utf8(sandbox.try_ctl("reconcile --dry-run")?.stdout)?;
    let removal = format!("ip -n {} link del mine", b.name());
    let moved = format!("moved in '{}'", elsewhere.name());
    let state = if has_tcx() { "it stays enforced" } else { "nothing it sends arrives" };
    let table = table.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["192.0.2.9", &removal, &moved, state, "ipvlan-ctl detach a", "ipvlan-ctl detach m"] {
        ensure!(table.contains(part), "no word of {part}: {table}");
    }
    // As it says.
    sandbox.ctl("detach a m")?;
    b.ip("link del mine")?;
    b.ip(&format!("addr del 192.0.2.9/32 dev {INTERFACE}"))?;
    let found = reconcile(sandbox, "--dry-run")?;
    ensure!(found.is_empty(), "left: {found:?}");
    Ok(())
}

fn parents() -> Result<()> {
    let lab = Lab::new(&[(NET, &["a"])])?;
    let Lab { sandbox, .. } = &lab;
    sandbox.host.ip(&format!("link del {INTERFACE}"))?;
    let found = reconcile(sandbox, "")?;
    ensure!(found == each(&["parent-gone", "slave-gone"], "left"), "{found:?}");
    sandbox.wire()?;
    sandbox.addresses(&NET)?;
    let found = reconcile(sandbox, "")?;
    let expected = [each(&["parent-unenforced"], "mended"), each(&["slave-gone"], "left")].concat();
    ensure!(found == expected, "{found:?}");
    let rows: Vec<Value> = sandbox.ctl_json("network ls")?;
    ensure!(rows[0]["state"] == "up", "the network isn't up again: {rows:?}");
    sandbox.ctl("detach a").map(drop)
}

fn damaged_store() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let path = sandbox.root().join("store.sqlite");
    fs::write(&path, "no database, whatever it is")?;
    for words in ["ps", "network ls", "detach a", "reconcile", "reconcile --dry-run", "stats"] {
        let output = sandbox.try_ctl(words)?;
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{words} ends with {}", output.status);
        let lines: Vec<_> = text.lines().collect();
        ensure!(lines.len() == 2 && lines[0].contains(&path.display().to_string()), "{words}: {text}");
        ensure!(lines[1].starts_with("hint: "), "{words}: {text}");
    }
    ensure!(fs::read(&path)? == b"no database, whatever it is", "the damaged store was written to");
    Ok(())
}

pub(crate) fn map(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    sandbox.pins().join(format!("v{ABI_VERSION}/maps")).join(name)
}

pub(crate) fn open<T: TryFrom<Map, Error = aya::maps::MapError>>(pin: &Path) -> Result<T> {
    Ok(Map::from_map_data(MapData::from_pin(pin)?)?.try_into()?)
}
