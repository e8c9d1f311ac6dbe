//! What comes through from one endpoint to another, with and without enforcement.

use std::env;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{Flow, Way, median};
use crate::sandbox::{Endpoint, Maker, Network, Sandbox, interrupt};

/// How much of one kind of traffic comes through in a second.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rates {
    /// The kind of traffic.
    pub traffic: &'static str,
    /// What is counted at the receiver.
    pub unit: &'static str,
    /// With the kernel's ipvlan as it is; the median of all rounds.
    pub stock: f64,
    /// With enforcement.
    pub enforced: f64,
    /// The latter to the former; the median of all rounds.
    pub ratio: f64,
}

/// How many rounds there are.
pub(super) const fn rounds(quick: bool) -> usize {
    if quick { 2 } else { 12 }
}

const fn amount(flow: Flow, quick: bool) -> usize {
    let full = match flow {
        Flow::Tcp => 512 << 20,
        Flow::Udp => 100_000,
        Flow::Requests => 20_000,
    };
    if quick { full / 100 } else { full }
}

/// Two endpoints of one network.
struct Pair {
    /// Holds the host that they are on.
    _sandbox: Sandbox,
    ends: [Endpoint; 2],
}

impl Pair {
    fn new(maker: Maker) -> Result<Self> {
        let network = Network::bridge("bench", 1).ipv4_only();
        let mut sandbox = Sandbox::new(maker)?;
        sandbox.use_ctl(&env::current_exe().context("find this binary")?);
        sandbox.network(&network)?;
        let ends = [sandbox.endpoint(&network, "a", 11)?, sandbox.endpoint(&network, "b", 12)?];
        Ok(Self { _sandbox: sandbox, ends })
    }

    fn rate(&self, flow: Flow, quick: bool) -> Result<f64> {
        let [from, to] = &self.ends;
        let way = Way { from: &from.netns, to: &to.netns, address: to.ipv4 };
        flow.rate(&way, amount(flow, quick) / 10)?;
        flow.rate(&way, amount(flow, quick))
    }
}

/// In two sandboxes, in turn.
pub(super) fn measure(quick: bool, step: &dyn Fn()) -> Result<Vec<Rates>> {
    let pairs = [Pair::new(Maker::Stock)?, Pair::new(Maker::Ctl)?];
    let mut samples = Flow::ALL.map(|flow| (flow, [Vec::new(), Vec::new()]));
    for round in 0..rounds(quick) {
        interrupt::check()?;
        for (flow, samples) in &mut samples {
            let mut order: Vec<_> = pairs.iter().zip(samples).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for (pair, samples) in order {
                samples.push(pair.rate(*flow, quick)?);
            }
        }
        step();
    }
    Ok(samples.map(rates).into())
}

fn rates((flow, [stock, enforced]): (Flow, [Vec<f64>; 2])) -> Rates {
    // Round by round, since a machine's noise comes in waves.
    let ratios = enforced.iter().zip(&stock).map(|(enforced, stock)| enforced / stock).collect();
    Rates {
        traffic: flow.name(),
        unit: flow.unit(),
        stock: median(stock),
        enforced: median(enforced),
        ratio: median(ratios),
    }
}
