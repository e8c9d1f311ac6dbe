//! What each program costs a frame.

use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};
use ipvlan_common::schema::{
    LOOPBACK_EGRESS, PARENT_EGRESS, PARENT_INGRESS, PARENT_XDP, SLAVE_EGRESS, SLAVE_INGRESS,
};
use serde::Serialize;

use super::{
    crowd::{self, PARENT, endpoint, parent},
    median,
};
use crate::{
    bpf::{Dataplane, EndpointIdentity, Timed},
    sandbox::{
        FROM_LAN, SHARED, TO_LAN,
        frame::{self, Link},
        interrupt,
    },
    service::{Error, Root},
};

/// What one program costs a frame.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProgramCost {
    /// The program.
    pub program: &'static str,
    /// The frame that it is given.
    pub frame: &'static str,
    /// Nanoseconds a frame, less those of an empty program; the median of all rounds.
    pub nanoseconds: f64,
    /// Nanoseconds of the empty program.
    pub empty: f64,
}

const ENDPOINTS: u16 = 2;
const LAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OK: u32 = u32::MAX;
const SHOT: u32 = 2;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// A program, a frame and what it must return.
struct Case {
    program: &'static str,
    name: &'static str,
    frame: Vec<u8>,
    returns: u32,
}

/// How many rounds there are.
pub(super) const fn rounds(quick: bool) -> usize {
    if quick { 3 } else { 15 }
}

const fn runs(quick: bool) -> u32 {
    if quick { 10_000 } else { 1_000_000 }
}

/// In maps of its own, beside the root's.
pub(super) fn measure(root: &Root, quick: bool, step: &dyn Fn()) -> Result<Vec<ProgramCost>, Error> {
    let mut scratch = root.pin_dir().as_os_str().to_owned();
    scratch.push(format!("-bench-{}", std::process::id()));
    let costs = Dataplane::create(scratch.as_ref(), ENDPOINTS + PARENT)
        .map_err(Error::from)
        .and_then(|dataplane| in_maps(dataplane, quick, step));
    Dataplane::remove_all(scratch.as_ref())?;
    costs
}

fn in_maps(mut dataplane: Dataplane, quick: bool, step: &dyn Fn()) -> Result<Vec<ProgramCost>, Error> {
    crowd::register(&mut dataplane, ENDPOINTS)?;
    let own = dataplane.timed(&endpoint(0).identity(), SLAVE_EGRESS)?;
    let parents = ipvlan_common::Identity { netns: dataplane.socket_netns()?, ..parent().identity() };
    let parents = dataplane.timed(&parents, PARENT_INGRESS)?;
    rounds_of(own, parents, quick, step).map_err(Error::Bench)
}

fn rounds_of(
    mut own: Timed,
    mut parents: Timed,
    quick: bool,
    step: &dyn Fn(),
) -> anyhow::Result<Vec<ProgramCost>> {
    let cases = cases()?;
    let mut samples = vec![(Vec::new(), Vec::new()); cases.len()];
    for number in 0..rounds(quick) {
        interrupt::check()?;
        let mut order: Vec<_> = cases.iter().zip(&mut samples).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for (case, (costs, empties)) in order {
            let Case { program, name, frame, returns } = case;
            let is_slaves = [SLAVE_EGRESS, SLAVE_INGRESS].contains(program);
            let timed = if is_slaves { &mut own } else { &mut parents };
            // Warm: the first runs pay for what the others find in place.
            timed.round(program, frame, runs(quick) / 10)?;
            let round = timed.round(program, frame, runs(quick))?;
            ensure!(round.returned == *returns, "{program}, {name}: it returned {}", round.returned);
            costs.push(round.whole - round.empty);
            empties.push(round.empty);
        }
        step();
    }
    let cost = |(Case { program, name, .. }, (costs, empties))| ProgramCost {
        program,
        frame: name,
        nanoseconds: median(costs),
        empty: median(empties),
    };
    Ok(cases.into_iter().zip(samples).map(cost).collect())
}

fn cases() -> anyhow::Result<Vec<Case>> {
    let (me, peer) = (endpoint(0), endpoint(1));
    let ip = |it: &EndpointIdentity| it.ipv4.map(|it| it.addr()).context("no address");
    let ip6 = |it: &EndpointIdentity| it.ipv6.context("no address");
    let (mine, theirs) = (ip(&me)?, ip(&peer)?);
    let payload = [0; 64];
    let case = |program, name, frame, returns| Case { program, name, frame, returns };
    Ok(vec![
        case(SLAVE_EGRESS, "IPv4 to a peer", frame::udp4(SHARED, mine, theirs, &payload)?, OK),
        case(SLAVE_EGRESS, "IPv6 to a peer", frame::udp6(SHARED, ip6(&me)?, ip6(&peer)?, &payload)?, OK),
        case(SLAVE_EGRESS, "IPv4 to the wire", frame::udp4(TO_LAN, mine, LAN, &payload)?, OK),
        case(SLAVE_EGRESS, "spoofed, dropped", frame::udp4(TO_LAN, theirs, LAN, &payload)?, SHOT),
        case(SLAVE_INGRESS, "unsealed, dropped", frame::udp4(SHARED, theirs, mine, &payload)?, SHOT),
        case(PARENT_INGRESS, "IPv4 to the host", frame::udp4(FROM_LAN, LAN, LAN, &payload)?, OK),
        case(PARENT_EGRESS, "IPv4 of the host", frame::udp4(TO_LAN, LAN, LAN, &payload)?, OK),
        case(
            LOOPBACK_EGRESS,
            "IPv4 of the host",
            frame::udp4(Link::shared([0; 6]), Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, &payload)?,
            OK,
        ),
        case(PARENT_XDP, "IPv4 from the wire", frame::udp4(FROM_LAN, LAN, mine, &payload)?, XDP_PASS),
        case(PARENT_XDP, "spoofed, dropped", frame::udp4(FROM_LAN, theirs, mine, &payload)?, XDP_DROP),
    ])
}
