//! What it takes to refuse a frame from the wire that claims a member's address, and where it is refused.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use ipvlan_common::DropReason;
use ipvlan_tests::{
    Netns,
    netns::run,
    sandbox::{INTERFACE, mac},
};
use serde_json::Value;

use crate::{
    crowd::{Crowd, MAC, PARENT, parent},
    plot::{Bar, Plot, plot},
    policy::{address, chain, gone, nft, set_of},
    report::Section,
    traffic::{Cost, Effort, MEMBERS},
};

const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const HOST: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
const PORT: u16 = 4242;

/// Where it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On its way out already, by nft: what the others are held against.
    Sender,
    /// By the parent's XDP program, in the driver.
    Xdp,
    /// By the parent's tc program.
    Tc,
    /// By nft's netdev hook, with the members in a set with counters.
    Nft,
}

impl Place {
    const ALL: [Self; 4] = [Self::Sender, Self::Xdp, Self::Tc, Self::Nft];

    const fn name(self) -> &'static str {
        match self {
            Self::Sender => "not sent",
            Self::Xdp => "ours, XDP in the driver",
            Self::Tc => "ours, tc ingress",
            Self::Nft => "nft, ingress, a set",
        }
    }
}

/// The wire, and the host whose interface is the parent.
struct Wire {
    crowd: Crowd,
    lan: Netns,
    host: Netns,
    socket: UdpSocket,
}

impl Wire {
    fn new() -> Result<Self> {
        let name = |side: &str| format!("ipvlan-bench-{}-{side}", std::process::id());
        let (lan, host) = (Netns::create(name("lan"))?, Netns::create(name("host"))?);
        lan.ip(&format!(
            "link add {INTERFACE} address {} type veth peer name {INTERFACE} netns {} address {}",
            mac(LAN_MAC),
            host.name(),
            mac(MAC)
        ))?;
        let member = address(MEMBERS - 1)?;
        for (netns, own) in [(&lan, member), (&host, HOST)] {
            netns.ip_batch(&format!("addr add {own}/8 dev {INTERFACE}\nlink set {INTERFACE} up\n"))?;
        }
        lan.ip(&format!("neigh replace {HOST} lladdr {} dev {INTERFACE}", mac(MAC)))?;
        let socket = lan.enter(|| {
            let socket = UdpSocket::bind(SocketAddr::from((member, 0)))?;
            socket.connect((HOST, PORT))?;
            Ok(socket)
        })?;
        Ok(Self { crowd: Crowd::new(MEMBERS)?, lan, host, socket })
    }

    fn apply(&self, place: Place) -> Result<()> {
        let dataplane = &self.crowd.dataplane;
        match place {
            Place::Sender => nft(
                &self.lan,
                &chain(
                    "egress",
                    "counter refused { }",
                    &format!("ip daddr {HOST} counter name refused drop\naccept\n"),
                ),
            ),
            Place::Xdp => self.host.enter(|| Ok(dataplane.attach_xdp(&parent(), INTERFACE, false)?)),
            Place::Tc => self.host.enter(|| Ok(dataplane.attach_parent(&parent(), INTERFACE)?)),
            Place::Nft => {
                let rules = "ip saddr @members counter name refused drop\naccept\n";
                let known = format!("counter refused {{ }}\n{}", set_of(0..=MEMBERS - 1)?);
                nft(&self.host, &chain("ingress", &known, rules))
            }
        }
    }

    fn remove(&self, place: Place) -> Result<()> {
        match place {
            Place::Sender => nft(&self.lan, "flush ruleset\n"),
            Place::Nft => nft(&self.host, "flush ruleset\n"),
            Place::Xdp | Place::Tc => {
                self.host.enter(|| Ok(self.crowd.dataplane.detach_parent(PARENT, Some(INTERFACE))?))?;
                gone(&self.host)
            }
        }
    }

    /// Frames that were refused for the address they claim.
    fn refused(&self, place: Place) -> Result<u64> {
        let netns = match place {
            Place::Sender => &self.lan,
            Place::Nft => &self.host,
            Place::Xdp | Place::Tc => {
                let drops = self.crowd.dataplane.counters(PARENT)?.drops;
                let spoofs = drops.iter().find(|(reason, _)| *reason == DropReason::WireSpoof);
                return Ok(spoofs.map_or(0, |(_, count)| *count));
            }
        };
        let text = netns.enter(|| run(Command::new("nft").args(["-j", "list", "counters"])))?;
        let listed: Value = serde_json::from_str(&text)?;
        let counters = listed["nftables"].as_array().into_iter().flatten();
        let count = counters.filter_map(|it| it["counter"]["packets"].as_u64()).sum();
        Ok(count)
    }

    fn once(&self, place: Place, datagrams: u32) -> Result<f64> {
        let send = |datagrams| {
            // A filter on the way out may refuse it to the sender.
            (0..datagrams).for_each(|_| drop(self.socket.send(&[0; 64])));
        };
        send(datagrams / 10);
        thread::sleep(Duration::from_millis(20));
        let (before, begin) = (self.refused(place)?, Instant::now());
        send(datagrams);
        let nanos = begin.elapsed().as_nanos() as f64 / f64::from(datagrams);
        thread::sleep(Duration::from_millis(20));
        let refused = self.refused(place)? - before;
        ensure!(refused == u64::from(datagrams), "{refused} of {datagrams} datagrams were refused");
        Ok(nanos)
    }
}

/// Measures, and says what came of it.
pub(crate) fn section(effort: Effort) -> Result<Section> {
    let wire = Wire::new()?;
    let mut costs = Place::ALL.map(|it| Cost { filter: it.name().to_owned(), nanos: Vec::new() });
    let progress = ProgressBar::new((effort.rounds * costs.len()) as u64).with_style(crate::progress()?);
    for round in 0..effort.rounds {
        let mut order: Vec<_> = Place::ALL.into_iter().zip(&mut costs).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (place, cost) in order {
            wire.apply(place).with_context(|| place.name())?;
            let nanos = wire.once(place, effort.datagrams);
            wire.remove(place).with_context(|| place.name())?;
            cost.nanos.push(nanos.with_context(|| place.name())?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let [base, refused @ ..] = &costs;
    let xdp = refused.first().map_or(f64::NAN, |it| it.over(base).median);
    let row = |cost: &Cost| {
        let over = cost.over(base);
        vec![
            cost.filter.clone(),
            cost.middle().to_string(),
            over.to_string(),
            format!("{:.2}", over.median / xdp),
        ]
    };
    let bar = |cost: &Cost| Bar { name: cost.filter.clone(), middles: vec![cost.over(base)] };
    let bars: Vec<_> = refused.iter().map(bar).collect();
    Ok(Section {
        name: "drops".to_owned(),
        title: "What a refused frame costs".to_owned(),
        about: format!(
            "UDP datagrams from the wire that claim the address of one of {MEMBERS} members, over a veth: nanoseconds each, sender \
             and receiver on one CPU, median of {} rounds of {} (first and third quartile), and what they take more than datagrams \
             that are refused before they are sent. A veth's driver makes an XDP frame of what a socket sends, which a card doesn't \
             have to.",
            effort.rounds, effort.datagrams
        ),
        head: ["refused", "whole", "more than not sent", "to XDP"].map(str::to_owned).to_vec(),
        rows: refused.iter().map(row).collect(),
        note: "In each round, as many were counted as refused as were sent.".to_owned(),
        plot: plot(&Plot {
            unit: "nanoseconds a datagram, more than one that isn't sent",
            series: &[],
            bars: &bars,
        })?,
        samples: serde_json::to_value(&costs)?,
        machine: None,
    })
}
