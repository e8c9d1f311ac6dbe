//! The host's addresses on a parent come and go, and what the wire may send in their name with them.

use anyhow::{Context as _, Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Network, Plugin, Snapshot, frame,
    harness::{Need, test},
    sandbox::INTERFACE,
};
use libtest_mimic::Trial;

use crate::lab::{FROM_LAN, Lab, PARENT, eventually};

const NET: Network = Network::bridge("db_net", 1);
/// Not the host's at first.
const SECOND: u8 = 77;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("host_addresses::by_the_next_command", &[Need::Root, Need::Ipvlan], by_the_next_command),
        test("host_addresses::by_serve", &[Need::Root, Need::Ipvlan, Need::Tcx], by_serve),
        test("host_addresses::an_endpoints_stays_its", &[Need::Root, Need::Ipvlan], an_endpoints_stays_its),
    ]
}

fn lab() -> Result<Lab> {
    Lab::new(&[(NET, &["a"])])
}

impl Lab {
    fn second(&self, verb: &str) -> Result<()> {
        self.sandbox.host.ip(&format!("addr {verb} {}/24 dev {INTERFACE}", NET.ipv4(SECOND))).map(drop)
    }

    fn send_as_second(&self, marker: &[u8]) -> Result<()> {
        self.lan_sends(&frame::udp4(FROM_LAN, NET.ipv4(SECOND), self.endpoint("a").ipv4, marker)?)
    }

    fn is_somebodys(&self) -> Result<()> {
        self.delivered("from an address of the LAN", &["a"], |marker| self.send_as_second(marker))
    }

    fn is_hosts(&self) -> Result<()> {
        let spoof = (DropReason::WireSpoof, PARENT);
        self.dropped("from an address of the host", spoof, |marker| self.send_as_second(marker))
    }

    /// What a look finds about the host's addresses.
    fn found(&self) -> Result<String> {
        let look = self.sandbox.try_ctl("--format json reconcile --dry-run")?;
        String::from_utf8(look.stdout).context("not UTF-8")
    }
}

fn by_the_next_command() -> Result<()> {
    let lab = lab()?;
    lab.is_somebodys()?;
    lab.second("add")?;
    ensure!(lab.found()?.contains("host-address"), "not found: {}", lab.found()?);
    lab.sandbox.ctl("reconcile")?;
    ensure!(!lab.found()?.contains("host-address"), "found still: {}", lab.found()?);
    lab.is_hosts()?;
    lab.second("del")?;
    ensure!(lab.found()?.contains("host-address"), "not found: {}", lab.found()?);
    lab.sandbox.ctl("upgrade")?;
    ensure!(!lab.found()?.contains("host-address"), "found still: {}", lab.found()?);
    lab.is_somebodys()
}

fn by_serve() -> Result<()> {
    let lab = lab()?;
    let _plugin = Plugin::start(&lab.sandbox)?;
    for (verb, check) in [("add", Lab::is_hosts as fn(&Lab) -> Result<()>), ("del", Lab::is_somebodys)] {
        lab.second(verb)?;
        eventually(&format!("serve sees {verb}"), || Ok(!lab.found()?.contains("host-address")))?;
        check(&lab)?;
    }
    Ok(())
}

/// Whoever gives the host an endpoint's address doesn't take it from the endpoint.
fn an_endpoints_stays_its() -> Result<()> {
    let lab = lab()?;
    let before = Snapshot::take(&lab.sandbox, &[])?;
    let own = lab.endpoint("a").ipv4;
    for verb in ["add", "del"] {
        lab.sandbox.host.ip(&format!("addr {verb} {own}/24 dev {INTERFACE}"))?;
        lab.sandbox.ctl("reconcile")?;
        lab.dropped("from an endpoint's address", (DropReason::WireSpoof, PARENT), |marker| {
            lab.lan_sends(&frame::udp4(FROM_LAN, own, own, marker)?)
        })?;
    }
    let changes = Snapshot::take(&lab.sandbox, &[])?.changes(&before);
    ensure!(changes.is_empty(), "something is left: {changes:#?}");
    Ok(())
}
