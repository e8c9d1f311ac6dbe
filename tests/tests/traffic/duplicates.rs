//! Addresses that somebody on the wire has already are found before an endpoint uses them; the wire is told who has them now.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use etherparse::{Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
use ipvlan_tests::{
    Maker, Network, Sandbox,
    harness::{Need, test},
    packet::PacketSocket,
    sandbox::{INTERFACE, LAN_MAC, mac},
    watch::ARRIVAL,
};
use libtest_mimic::Trial;
use serde_json::Value;

const NEEDS: &[Need] = &[Need::Root, Need::Ipvlan];
const NET: Network = Network::bridge("db_net", 1);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("duplicates::are_found_on_the_wire", NEEDS, found),
        test("duplicates::an_endpoint_announces_itself", NEEDS, announced),
    ]
}

fn found() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    let (foreign4, foreign6) = (NET.ipv4(3), NET.ipv6(2));
    sandbox.lan.ip_batch(&format!(
        "addr add {foreign4}/24 dev {INTERFACE}\naddr add {foreign6}/64 dev {INTERFACE} nodad\n"
    ))?;
    // The host has the second of each family, and the LAN host the first.
    sandbox.host.ip(&format!("addr del {foreign6}/64 dev {INTERFACE}"))?;
    let netns = sandbox.netns("a")?;
    let attach = format!("attach {} --netns {} --name a", NET.name, netns.name());
    for (option, address) in [("--ip", foreign4.to_string()), ("--ip6", foreign6.to_string())] {
        let output = sandbox.try_ctl(&format!("{attach} {option} {address}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{option} {address} ends with {}: {said}", output.status);
        ensure!(said.contains(&address) && said.contains(&mac(LAN_MAC)), "{option}: {said}");
    }
    ensure!(sandbox.ctl_json::<Vec<Value>>("ps")?.is_empty(), "a refused attach leaves an endpoint");

    let output = sandbox.try_ctl(&format!("--format json {attach}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    for address in [foreign4.to_string(), foreign6.to_string()] {
        ensure!(said.contains(&format!("warning: {address}")), "no warning for {address}: {said}");
    }
    let endpoint: Value = serde_json::from_slice(&output.stdout)?;
    let (next4, next6) = (NET.ipv4(4).to_string(), NET.ipv6(3).to_string());
    ensure!(endpoint["ipv4"] == next4 && endpoint["ipv6"] == next6, "{endpoint}");
    ensure!(netns.pings(&NET.ipv4(1).to_string(), 56, 20)?, "a can't ping the LAN");

    let spare = sandbox.netns("b")?;
    let attach = format!("attach {} --netns {} --no-probe --ip {foreign4}", NET.name, spare.name());
    sandbox.ctl(&attach).map(drop)
}

fn announced() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    sandbox.network(&NET)?;
    let tap = PacketSocket::wiretap(&sandbox.lan, INTERFACE)?;
    let endpoint = sandbox.endpoint(&NET, "a", 11)?;
    let mut wanted = vec![IpAddr::V4(endpoint.ipv4), IpAddr::V6(endpoint.ipv6)];
    let deadline = Instant::now() + ARRIVAL;
    while !wanted.is_empty() {
        match tap.receive()? {
            Some(frame) => wanted.retain(|address| announcement(&frame) != Some(*address)),
            None => {
                ensure!(Instant::now() < deadline, "not announced: {wanted:?}");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    Ok(())
}

/// Whose address an unsolicited ARP message or neighbour advertisement announces.
fn announcement(frame: &[u8]) -> Option<IpAddr> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    match (&packet.net, &packet.transport) {
        (Some(NetSlice::Arp(arp)), _) => {
            let sender: [u8; 4] = arp.sender_protocol_addr().try_into().ok()?;
            (arp.target_protocol_addr() == sender).then(|| Ipv4Addr::from(sender).into())
        }
        (_, Some(TransportSlice::Icmpv6(message))) => {
            let Icmpv6Type::NeighborAdvertisement(_) = message.icmp_type() else { return None };
            let target: [u8; 16] = message.payload().get(..16)?.try_into().ok()?;
            Some(Ipv6Addr::from(target).into())
        }
        _ => None,
    }
}
