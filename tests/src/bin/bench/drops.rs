//! What it takes to refuse a frame from the wire that claims a member's address, and where it is refused.

use std::{net::Ipv4Addr, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunAttrs, TestRunOptions,
    maps::PerCpuArray,
    programs::{Xdp, XdpMode},
};
use indicatif::ProgressBar;
use ipvlan_common::DropReason;
use ipvlan_ctl::bpf::BENCH;
use ipvlan_tests::{
    Netns,
    frame::{self, Link},
    netns::run,
    offload::{self, Offload},
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
/// Frames that are on their way at once: as many as a driver takes in one poll.
const BATCH: u32 = 64;
const SETTLE: Duration = Duration::from_millis(20);

/// Where it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before it is on the wire: what the others are held against.
    Sender,
    /// By a program that refuses all, in the driver: the least it can cost.
    All,
    /// By the parent's XDP program, in the driver.
    Xdp,
    /// By the parent's tc program.
    Tc,
    /// By nft's netdev hook, with the members in a set with counters.
    Nft,
}

impl Place {
    const ALL: [Self; 5] = [Self::Sender, Self::All, Self::Xdp, Self::Tc, Self::Nft];

    const fn name(self) -> &'static str {
        match self {
            Self::Sender => "not sent",
            Self::All => "all, XDP in the driver",
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
    frame: Vec<u8>,
    refuses_all: Option<Ebpf>,
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
        [&lan, &host].into_iter().try_for_each(|it| it.ip(&format!("link set {INTERFACE} up")).map(drop))?;
        host.ip(&format!("addr add {HOST}/8 dev {INTERFACE}"))?;
        host.enter(|| offload::switch(INTERFACE, Offload::GenericReceive, true))?;
        let link = Link { source: LAN_MAC, destination: MAC };
        let frame = frame::udp4(link, address(MEMBERS - 1)?, HOST, &[0; 64])?;
        Ok(Self { crowd: Crowd::new(MEMBERS)?, lan, host, frame, refuses_all: None })
    }

    fn apply(&mut self, place: Place) -> Result<()> {
        let dataplane = &self.crowd.dataplane;
        match place {
            Place::Sender => Ok(()),
            Place::All => {
                let mut programs = bench(0)?;
                let program = send_xdp(&mut programs)?;
                let ifindex = self.host.ifindex(INTERFACE)?;
                self.host.enter(|| Ok(program.attach(ifindex, XdpMode::Driver)?))?;
                self.refuses_all = Some(programs);
                Ok(())
            }
            Place::Xdp => self.host.enter(|| Ok(dataplane.attach_xdp(&parent(), INTERFACE, false)?)),
            Place::Tc => self.host.enter(|| Ok(dataplane.attach_parent(&parent(), INTERFACE)?)),
            Place::Nft => {
                let rules = "ip saddr @members counter name refused drop\naccept\n";
                let known = format!("counter refused {{ }}\n{}", set_of(0..=MEMBERS - 1)?);
                nft(&self.host, &chain("ingress", &known, rules))
            }
        }
    }

    fn remove(&mut self, place: Place) -> Result<()> {
        match place {
            Place::Sender => Ok(()),
            Place::All => {
                self.refuses_all = None;
                Ok(())
            }
            Place::Nft => nft(&self.host, "flush ruleset\n"),
            Place::Xdp | Place::Tc => {
                self.host.enter(|| Ok(self.crowd.dataplane.detach_parent(PARENT, Some(INTERFACE))?))?;
                gone(&self.host)
            }
        }
    }

    /// Frames that were refused for the address they claim.
    fn refused(&self, place: Place) -> Result<u64> {
        match place {
            Place::Sender => return Ok(0),
            Place::All => {
                let counters = self.refuses_all.as_ref().and_then(|it| it.map("COUNTERS"));
                let counters = PerCpuArray::<_, u64>::try_from(counters.context("nothing refuses all")?)?;
                return Ok(counters.get(&0, 0)?.iter().sum());
            }
            Place::Nft => {}
            Place::Xdp | Place::Tc => {
                let drops = self.crowd.dataplane.counters(PARENT)?.drops;
                let spoofs = drops.iter().find(|(reason, _)| *reason == DropReason::WireSpoof);
                return Ok(spoofs.map_or(0, |(_, count)| *count));
            }
        }
        let text = self.host.enter(|| run(Command::new("nft").args(["-j", "list", "counters"])))?;
        let listed: Value = serde_json::from_str(&text)?;
        let counters = listed["nftables"].as_array().into_iter().flatten();
        let count = counters.filter_map(|it| it["counter"]["packets"].as_u64()).sum();
        Ok(count)
    }

    fn once(&self, place: Place, frames: u32) -> Result<f64> {
        let wire = if place == Place::Sender { 0 } else { self.lan.ifindex(INTERFACE)? };
        let mut programs = bench(wire)?;
        let sender = &*send_xdp(&mut programs)?;
        self.send(sender, frames / 10)?;
        // What the last ones left to another CPU.
        thread::sleep(SETTLE);
        let before = self.refused(place)?;
        let nanos = self.send(sender, frames)?;
        thread::sleep(SETTLE);
        let sent = if place == Place::Sender { 0 } else { u64::from(frames) };
        let refused = self.refused(place)? - before;
        ensure!(refused == sent, "{refused} of {sent} frames were refused");
        Ok(nanos)
    }

    /// Has the kernel make so many frames for the program, and do with them what it says; returns nanoseconds each.
    fn send(&self, sender: &Xdp, frames: u32) -> Result<f64> {
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        let result = self.lan.enter(|| Ok(sender.test_run(options)?))?;
        Ok(result.duration.as_nanos() as f64)
    }
}

/// The programs that send to the interface `wire`, or refuse where it is 0.
fn bench(wire: u32) -> Result<Ebpf> {
    Ok(EbpfLoader::new().override_global("WIRE", &wire, true).load(BENCH)?)
}

fn send_xdp(programs: &mut Ebpf) -> Result<&mut Xdp> {
    let program: &mut Xdp = programs.program_mut("send_xdp").context("no such program")?.try_into()?;
    program.load()?;
    Ok(program)
}

/// Measures, and says what came of it.
pub(crate) fn section(effort: Effort) -> Result<Section> {
    let mut wire = Wire::new()?;
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
    let xdp = refused.get(1).map_or(f64::NAN, |it| it.over(base).median);
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
            "UDP datagrams from the wire that claim the address of one of {MEMBERS} members, sent to a veth as XDP frames, as a card \
             receives them, so that an skb is made only where it is not refused before: nanoseconds each, sender and receiver on one \
             CPU, median of {} rounds of {} (first and third quartile), and what they take more than frames that are made, and not \
             sent.",
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
