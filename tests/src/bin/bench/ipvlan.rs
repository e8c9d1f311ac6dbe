//! Real traffic of ipvlan, as it is and enforced, beside what a user would pick instead.

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use ipvlan_ctl::bench::Flow;
use serde::Serialize;

use crate::{
    kind::{Kind, World},
    plot::{Bar, Plot, plot},
    report::Section,
    sample::Middle,
};

/// How much is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Effort {
    /// Rounds over all kinds, forth and back in turn.
    rounds: usize,
    bytes: usize,
    datagrams: usize,
    requests: usize,
    /// Endpoints, where there are more than two.
    crowds: &'static [u8],
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { rounds: 6, bytes: 32 << 20, datagrams: 5_000, requests: 1_000, crowds: &[10, 200] };
    pub(crate) const QUICK: Self =
        Self { rounds: 2, bytes: 1 << 20, datagrams: 200, requests: 50, crowds: &[] };

    const fn amount(self, flow: Flow) -> usize {
        match flow {
            Flow::Tcp => self.bytes,
            Flow::Udp => self.datagrams,
            Flow::Requests => self.requests,
        }
    }
}

const PAIRS: [Kind; 10] = [
    Kind::Stock("l2"),
    Kind::Empty("l2"),
    Kind::Ours("l2"),
    Kind::Stock("l3"),
    Kind::Ours("l3"),
    Kind::Stock("l3s"),
    Kind::Ours("l3s"),
    Kind::Bridge { filtered: false },
    Kind::Bridge { filtered: true },
    Kind::Macvlan,
];
const CROWDS: [Kind; 3] = [Kind::Stock("l2"), Kind::Ours("l2"), Kind::Bridge { filtered: true }];

/// What came through in one world, one way.
#[derive(Debug, Serialize)]
struct Rates {
    kind: String,
    endpoints: usize,
    /// Bytes a second, round by round.
    tcp: Vec<f64>,
    /// Datagrams a second.
    udp: Vec<f64>,
    /// Requests a second.
    requests: Vec<f64>,
    #[serde(skip)]
    of: Kind,
}

impl Rates {
    fn new(world: &World) -> Self {
        let (of, endpoints) = (world.kind, world.endpoints());
        Self { kind: of.name(), endpoints, tcp: Vec::new(), udp: Vec::new(), requests: Vec::new(), of }
    }

    fn of(&self, flow: Flow) -> &[f64] {
        match flow {
            Flow::Tcp => &self.tcp,
            Flow::Udp => &self.udp,
            Flow::Requests => &self.requests,
        }
    }

    /// Round by round, since a machine's noise comes in waves.
    fn over(&self, base: &Self, flow: Flow) -> Middle {
        Middle::of(self.of(flow).iter().zip(base.of(flow)).map(|(of, base)| of / base).collect())
    }
}

/// Measures, and says what came of it.
pub(crate) fn sections(effort: Effort) -> Result<[Section; 2]> {
    let crowds = effort.crowds.iter().flat_map(|crowd| CROWDS.map(|kind| (kind, *crowd)));
    let wanted: Vec<_> = PAIRS.map(|kind| (kind, 2)).into_iter().chain(crowds).collect();
    let progress = ProgressBar::new(wanted.len() as u64).with_style(crate::progress()?);
    let mut worlds = Vec::new();
    for (kind, endpoints) in wanted {
        worlds.push(World::new(kind, endpoints).with_context(|| kind.name())?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let mut rates: Vec<_> = worlds.iter().map(|it| [Rates::new(it), Rates::new(it)]).collect();
    let progress = ProgressBar::new((effort.rounds * worlds.len()) as u64).with_style(crate::progress()?);
    for round in 0..effort.rounds {
        let mut order: Vec<_> = worlds.iter().zip(&mut rates).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (world, rates) in order {
            for (way, rates) in [world.to_peer(), world.to_lan()].iter().zip(rates) {
                let rate = |flow: Flow| {
                    // Warm: neighbours are known, and what was cold is not.
                    flow.rate(way, effort.amount(flow) / 10)?;
                    flow.rate(way, effort.amount(flow)).with_context(|| world.kind.name())
                };
                rates.tcp.push(rate(Flow::Tcp)?);
                rates.udp.push(rate(Flow::Udp)?);
                rates.requests.push(rate(Flow::Requests)?);
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let (peers, lan): (Vec<_>, Vec<_>) = rates.into_iter().map(|[peer, lan]| (peer, lan)).unzip();
    Ok([
        section("peers", "What comes through from endpoint to endpoint", effort, &peers)?,
        section("lan", "What comes through from an endpoint to the LAN", effort, &lan)?,
    ])
}

/// The one of ours that a kind is held against: in the same mode, l2 for those that have none, with as many endpoints.
fn ours<'a>(all: &'a [Rates], like: &Rates) -> Option<&'a Rates> {
    let mode = match like.of {
        Kind::Ours(_) => return None,
        Kind::Stock(mode) | Kind::Empty(mode) => mode,
        Kind::Bridge { .. } | Kind::Macvlan => "l2",
    };
    all.iter().find(|it| it.of == Kind::Ours(mode) && it.endpoints == like.endpoints)
}

fn section(name: &str, title: &str, effort: Effort, all: &[Rates]) -> Result<Section> {
    let base = all.first().context("nothing was measured")?;
    let row = |rates: &Rates| {
        let own = Flow::ALL.map(|flow| format!("{:.2}", rates.over(base, flow).median));
        let ours = ours(all, rates);
        let ratios = Flow::ALL.map(|flow| ours.map(|it| it.over(rates, flow).as_ratio()).unwrap_or_default());
        [rates.kind.clone(), rates.endpoints.to_string()].into_iter().chain(own).chain(ratios).collect()
    };
    let bar = |rates: &Rates| {
        let ours = ours(all, rates)?;
        let name = format!("{}, {} endpoints", rates.kind, rates.endpoints);
        Some(Bar { name, middles: Flow::ALL.map(|flow| ours.over(rates, flow)).into() })
    };
    let flows = Flow::ALL.map(Flow::name);
    let head = ["kind", "endpoints"].into_iter().chain(flows).map(str::to_owned);
    Ok(Section {
        name: name.to_owned(),
        title: title.to_owned(),
        about: format!(
            "One CPU, whose clock counts instructions; only ratios mean something. {} MiB over one TCP connection, {} UDP \
             datagrams of 64 bytes, {} times one byte there and back: how much comes in a second, to what plain ipvlan in mode l2 \
             lets through with two endpoints. *Ours to it*: what ours lets through in the same mode (l2 beside those that have \
             none), with as many endpoints, median of {} rounds (first and third quartile). The bridge has veths, masquerading and \
             the rules that Docker makes; with br_netfilter, which Docker loads, they judge bridged frames too.",
            effort.bytes >> 20,
            effort.datagrams,
            effort.requests,
            effort.rounds
        ),
        head: head.chain(flows.map(|flow| format!("ours to it, {flow}"))).collect(),
        rows: all.iter().map(row).collect(),
        note: "In each round all bytes and datagrams were counted at the receiver. Of 100 datagrams to a peer from an address \
               that isn't the sender's, none arrived with ours, and all with the others."
            .to_owned(),
        plot: plot(&Plot {
            unit: "what ours lets through to what it does",
            series: &flows.map(str::to_owned),
            bars: &all.iter().filter_map(bar).collect::<Vec<_>>(),
        })?,
        samples: serde_json::to_value(all)?,
        machine: None,
    })
}
