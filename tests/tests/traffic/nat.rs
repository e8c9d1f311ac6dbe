//! The host puts an address of its own in the place of its endpoints', as root's rules for `MASQUERADE` do.

use std::process::Command;

use anyhow::{Result, ensure};
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Door, Network, frame,
    harness::{Need, test},
    sandbox::{HOST, INTERFACE, LAN, SHARED},
};
use libtest_mimic::Trial;

use crate::lab::{Lab, datagram};

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const NET: Network = Network::bridge("db_net", 1);

pub(crate) fn tests() -> Vec<Trial> {
    ["l3", "l3s"]
        .into_iter()
        .map(|mode| test(&format!("nat::{mode}_where_granted"), NEEDS, move || where_granted(mode)))
        .collect()
}

fn where_granted(mode: &'static str) -> Result<()> {
    let (net, natted) = (NET.mode(mode), Network::bridge("web_net", 2).mode(mode).snat());
    let lab = Lab::new(&[(net, &["a"]), (natted, &["b"])])?;
    let (a, b) = (lab.endpoint("a"), lab.endpoint("b"));
    masquerade(&lab)?;
    for (to, reason) in [
        (net.ipv4(LAN).to_string(), DropReason::SourceIpv4),
        (net.ipv6(LAN).to_string(), DropReason::SourceIpv6),
    ] {
        lab.dropped(&format!("not granted, to {to}"), (reason, "a"), |marker| {
            datagram(&a.netns, &to, marker)
        })?;
    }
    for to in [natted.ipv4(LAN).to_string(), natted.ipv6(LAN).to_string()] {
        lab.delivered(&format!("granted, to {to}"), &["lan"], |marker| datagram(&b.netns, &to, marker))?;
        // The LAN host knows no way to the endpoint: it answers the host. In l3 the host's stack has none to the endpoint either.
        let answered = b.netns.pings(&to, 56, 5)?;
        ensure!(answered == (mode == "l3s"), "b pings {to} in {mode}: {answered}");
    }
    lab.recount()?;
    lab.refused(
        "the host's source, claimed by the endpoint",
        (DropReason::SourceIpv4, "b"),
        ("b", Door::Queue),
        |marker| frame::udp4(SHARED, natted.ipv4(HOST), natted.ipv4(LAN), marker),
    )
}

fn masquerade(lab: &Lab) -> Result<()> {
    let rules = format!(
        "add table inet nat; add chain inet nat out {{ type nat hook postrouting priority srcnat; }}; \
         add rule inet nat out oifname {INTERFACE} masquerade"
    );
    let output = lab.sandbox.host.output(Command::new("nft").arg(rules))?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
