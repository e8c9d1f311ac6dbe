//! What each filter costs real frames: between two namespaces, over a veth, on this machine's kernel.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use ipvlan_ctl::bench::arrived;
use ipvlan_tests::{
    Netns,
    sandbox::{INTERFACE, mac},
};
use serde::Serialize;

use crate::{
    crowd::{Crowd, MAC},
    plot::{Bar, Plot, plot},
    policy::{Filter, Pair, address},
    report::Section,
    sample::Middle,
};

/// How much is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Effort {
    /// Rounds over all filters, forth and back in turn.
    pub(crate) rounds: usize,
    /// Datagrams in each.
    pub(crate) datagrams: u32,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 12, datagrams: 200_000 };
    pub(crate) const QUICK: Self = Self { rounds: 2, datagrams: 5_000 };
}

/// Members of the network.
pub(crate) const MEMBERS: u16 = 1_000;
/// A port that somebody listens at, and doesn't read from while it is measured: cheap, and counted.
const PORT: u16 = 4242;
const PAYLOAD: [u8; 64] = [0; 64];

/// What one filter was seen to cost.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    /// The filter.
    pub(crate) filter: String,
    /// Nanoseconds a datagram, sender and receiver together, round by round.
    pub(crate) nanos: Vec<f64>,
}

/// Two namespaces on one veth, whose ends have one MAC, as ipvlan's slaves do.
struct Link {
    sender: Netns,
    receiver: Netns,
    /// From the sender's own address, and from somebody else's.
    own: UdpSocket,
    spoofed: UdpSocket,
    listener: UdpSocket,
}

impl Link {
    fn new() -> Result<Self> {
        let name = |side: &str| format!("ipvlan-bench-{}-{side}", std::process::id());
        let (sender, receiver) = (Netns::create(name("sender"))?, Netns::create(name("receiver"))?);
        let shared = mac(MAC);
        sender.ip(&format!(
            "link add {INTERFACE} address {shared} type veth peer name {INTERFACE} netns {} address {shared}",
            receiver.name()
        ))?;
        let (first, last) = (address(0)?, address(MEMBERS - 1)?);
        // An address that no member has, on the sender too.
        let stranger = address(MEMBERS)?;
        for (netns, own, peer) in [(&sender, last, first), (&receiver, first, last)] {
            netns.ip_batch(&format!(
                "addr add {own}/8 dev {INTERFACE}\nlink set {INTERFACE} up\n\
                 neigh replace {peer} lladdr {shared} dev {INTERFACE}\n"
            ))?;
        }
        sender.ip(&format!("addr add {stranger}/8 dev {INTERFACE}"))?;
        let listener = receiver.enter(|| Ok(UdpSocket::bind((first, PORT))?))?;
        listener.set_nonblocking(true)?;
        let connect = |from| {
            sender.enter(|| {
                let socket = UdpSocket::bind(SocketAddr::from((from, 0)))?;
                socket.connect((first, PORT))?;
                Ok(socket)
            })
        };
        let (own, spoofed) = (connect(last)?, connect(stranger)?);
        Ok(Self { sender, receiver, own, spoofed, listener })
    }

    /// Sends so many; returns nanoseconds each, and how many have arrived.
    fn send(&self, socket: &UdpSocket, datagrams: u32) -> Result<(f64, u64)> {
        let before = arrived(&self.listener, &self.receiver)?;
        let begin = Instant::now();
        for _ in 0..datagrams {
            // A filter on the way may refuse it to the sender.
            let _refused = socket.send(&PAYLOAD);
        }
        let nanos = begin.elapsed().as_nanos() as f64 / f64::from(datagrams);
        // What the last ones left to another CPU.
        thread::sleep(Duration::from_millis(20));
        Ok((nanos, arrived(&self.listener, &self.receiver)? - before))
    }
}

/// Measures every filter that this machine has.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Cost>> {
    let (crowd, link) = (Crowd::new(MEMBERS)?, Link::new()?);
    let pair = Pair { crowd: &crowd, sender: &link.sender, receiver: &link.receiver };
    let filters: Vec<_> = Filter::ALL.into_iter().filter(|it| it.is_there()).collect();
    let mut costs: Vec<_> = filters.iter().map(|it| Cost { filter: it.name(), nanos: Vec::new() }).collect();
    let progress = ProgressBar::new((effort.rounds * filters.len()) as u64).with_style(crate::progress()?);
    for round in 0..effort.rounds {
        let mut order: Vec<_> = filters.iter().zip(&mut costs).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (filter, cost) in order {
            let kept = filter.apply(&pair).with_context(|| filter.name())?;
            let nanos = once(&link, *filter, effort.datagrams);
            drop(kept);
            filter.remove(&pair).with_context(|| filter.name())?;
            cost.nanos.push(nanos.with_context(|| filter.name())?);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(costs)
}

/// One round of one filter, which is seen to let through and to refuse what it should.
fn once(link: &Link, filter: Filter, datagrams: u32) -> Result<f64> {
    const FEW: u32 = 1_000;
    let (_, spoofed) = link.send(&link.spoofed, FEW)?;
    let due = if filter.lets_all() { u64::from(FEW) } else { 0 };
    ensure!(spoofed == due, "{spoofed} of {FEW} datagrams from a stranger's address arrived");
    let (_, warm) = link.send(&link.own, datagrams / 10)?;
    let (nanos, arrived) = link.send(&link.own, datagrams)?;
    ensure!(
        (warm, arrived) == (u64::from(datagrams / 10), u64::from(datagrams)),
        "{arrived} of {datagrams} datagrams arrived"
    );
    Ok(nanos)
}

impl Cost {
    pub(crate) fn middle(&self) -> Middle {
        Middle::of(self.nanos.clone())
    }

    /// What it takes more than `base`, in the same round each.
    pub(crate) fn over(&self, base: &Self) -> Middle {
        Middle::of(self.nanos.iter().zip(&base.nanos).map(|(of, base)| of - base).collect())
    }
}

/// Measures, and says what came of it.
pub(crate) fn section(effort: Effort) -> Result<Section> {
    let costs = measure(effort)?;
    let (base, ours) = (find(&costs, Filter::Nothing)?, find(&costs, Filter::Ours)?);
    let own = ours.over(base);
    let row = |cost: &Cost| {
        let over = cost.over(base);
        let (over, ratio) = if std::ptr::eq(cost, base) {
            (String::new(), String::new())
        } else {
            (over.to_string(), format!("{:.2}", over.median / own.median))
        };
        vec![cost.filter.clone(), cost.middle().to_string(), over, ratio]
    };
    let bars = costs.iter().filter(|it| !std::ptr::eq(*it, base));
    let bars: Vec<_> = bars.map(|it| Bar { name: it.filter.clone(), middles: vec![it.over(base)] }).collect();
    Ok(Section {
        name: "traffic".to_owned(),
        title: "What a filter costs real frames".to_owned(),
        about: format!(
            "UDP datagrams of {} bytes, one by one through a socket and a veth to a socket in another namespace, sender and receiver \
             on one CPU: nanoseconds each, median of {} rounds of {} datagrams (first and third quartile). Empty programs, on the \
             hooks that ours are on, keep no policy. Every filter keeps the same one: the sender has one MAC and one address, and the \
             receiver hears the {MEMBERS} members of its network, or as many as there are rules, each with a counter. The sender \
             is the one whom a list of rules gets to last.",
            PAYLOAD.len(),
            effort.rounds,
            effort.datagrams
        ),
        head: ["filter", "whole", "more than nothing", "to ours"].map(str::to_owned).to_vec(),
        rows: costs.iter().map(row).collect(),
        note: "In each round all datagrams were counted at the receiver's socket, and of 1,000 from an address that isn't the \
               sender's, none was, but all with nothing and with empty programs."
            .to_owned(),
        plot: plot(&Plot { unit: "nanoseconds a datagram, more than without a filter", series: &[], bars: &bars })?,
        samples: serde_json::to_value(&costs)?,
        machine: None,
    })
}

fn find(costs: &[Cost], filter: Filter) -> Result<&Cost> {
    costs.iter().find(|it| it.filter == filter.name()).context("not measured")
}
