//! What each program costs a frame, by BPF_PROG_TEST_RUN on this machine's kernel.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, ProgramArray},
    programs::{SchedClassifier, Xdp},
};
use etherparse::ArpOperation;
use indicatif::ProgressBar;
use ipvlan_common::{Identity, packet::Frame, schema, seal::seal};
use ipvlan_ctl::bpf::{BENCH, EndpointIdentity, time};
use ipvlan_tests::frame::{self, Arp, Link};
use serde::Serialize;

use crate::{
    crowd::{Crowd, MAC, PARENT, endpoint, parent},
    progress,
    sample::Samples,
};

/// How much is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Effort {
    /// Rounds over all cases, forth and back in turn.
    pub(crate) rounds: usize,
    /// Runs of a program in each.
    pub(crate) runs: u32,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 20, runs: 1_000_000 };
    pub(crate) const QUICK: Self = Self { rounds: 4, runs: 50_000 };
}

/// Endpoints on the parent.
pub(crate) const CROWDS: [u16; 3] = [10, 1_000, 65_000];

const LAN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const LAN: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
const LAN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 1, 0, 1);
const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_SHOT: u32 = 2;
const XDP_PASS: u32 = 2;
/// Where an IPv4 frame has its source,
const SOURCE: u32 = 26;
/// and its destination.
const DESTINATION: u32 = 30;

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    /// The program.
    pub(crate) program: &'static str,
    /// What it is given.
    pub(crate) frame: &'static str,
    /// How many endpoints there are.
    pub(crate) endpoints: u16,
    #[serde(flatten)]
    pub(crate) samples: Samples,
}

/// Whose frame it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Always the same.
    One,
    /// Another sender's each time, with its seal.
    AnySender,
    /// For another receiver each time.
    AnyReceiver,
}

struct Case {
    program: &'static str,
    name: &'static str,
    by: By,
    frame: Vec<u8>,
    accepted: bool,
}

/// Measures every case with every crowd.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Cost>> {
    let mut benches = Vec::new();
    let crowds = CROWDS.into_iter().map(Crowd::new).collect::<Result<Vec<_>>>()?;
    for crowd in &crowds {
        for case in cases()? {
            benches.push(Bench::new(crowd, case)?);
        }
    }
    let progress = ProgressBar::new((effort.rounds * benches.len()) as u64).with_style(progress()?);
    for bench in &mut benches {
        bench.check()?;
        // Warm: the first runs pay for what the others find in place.
        bench.round(effort.runs / 10)?;
        bench.samples = Samples::default();
    }
    for round in 0..effort.rounds {
        let mut order: Vec<_> = benches.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for bench in order {
            bench.round(effort.runs)?;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(benches.into_iter().map(Bench::into_cost).collect())
}

fn cases() -> Result<Vec<Case>> {
    use schema::{LOOPBACK_EGRESS, PARENT_EGRESS, PARENT_INGRESS, PARENT_XDP, SLAVE_EGRESS, SLAVE_INGRESS};
    let (me, peer) = (endpoint(0), endpoint(1));
    let ip = |it: &EndpointIdentity| it.ipv4.map_or(Ipv4Addr::UNSPECIFIED, |it| it.addr());
    let ip6 = |it: &EndpointIdentity| it.ipv6.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let (shared, to_lan) = (Link::shared(MAC), Link { source: MAC, destination: LAN_MAC });
    let from_lan = Link { source: LAN_MAC, destination: MAC };
    let payload = [0; 64];
    let case = |program, name, by, frame, accepted| Case { program, name, by, frame, accepted };
    // A request would become its reply, and another frame the second time.
    let own = Arp { operation: ArpOperation::REQUEST, sender_mac: MAC, sender: ip(&me), target: ip(&me) };
    Ok(vec![
        case(
            REFERENCE,
            "one lookup, one count",
            By::One,
            frame::udp4(shared, ip(&me), ip(&peer), &payload)?,
            true,
        ),
        case(
            REFERENCE,
            "the same, of anybody",
            By::AnySender,
            frame::udp4(shared, ip(&me), ip(&peer), &payload)?,
            true,
        ),
        case(
            SLAVE_EGRESS,
            "IPv4 to a peer",
            By::One,
            frame::udp4(shared, ip(&me), ip(&peer), &payload)?,
            true,
        ),
        case(
            SLAVE_EGRESS,
            "IPv6 to a peer",
            By::One,
            frame::udp6(shared, ip6(&me), ip6(&peer), &payload)?,
            true,
        ),
        case(SLAVE_EGRESS, "IPv4 to the wire", By::One, frame::udp4(to_lan, ip(&me), LAN, &payload)?, true),
        case(SLAVE_EGRESS, "ARP announcement", By::One, frame::arp(Link::broadcast(MAC), own, &[])?, true),
        case(
            SLAVE_EGRESS,
            "spoofed, dropped",
            By::One,
            frame::udp4(shared, ip(&peer), LAN, &payload)?,
            false,
        ),
        case(
            SLAVE_INGRESS,
            "IPv4 from peers",
            By::AnySender,
            frame::udp4(shared, ip(&peer), ip(&me), &payload)?,
            true,
        ),
        case(
            SLAVE_INGRESS,
            "unsealed, dropped",
            By::One,
            frame::udp4(shared, ip(&peer), ip(&me), &payload)?,
            false,
        ),
        case(
            PARENT_INGRESS,
            "IPv4 from the wire",
            By::AnyReceiver,
            frame::udp4(from_lan, LAN, ip(&me), &payload)?,
            true,
        ),
        case(PARENT_INGRESS, "IPv6 to the host", By::One, frame::udp6(from_lan, LAN6, LAN6, &payload)?, true),
        case(
            PARENT_EGRESS,
            "IPv4 of endpoints",
            By::AnySender,
            frame::udp4(to_lan, ip(&peer), LAN, &payload)?,
            true,
        ),
        case(PARENT_EGRESS, "IPv4 of the host", By::One, frame::udp4(to_lan, LAN, LAN, &payload)?, true),
        case(
            LOOPBACK_EGRESS,
            "IPv4 of the host",
            By::One,
            frame::udp4(Link::shared([0; 6]), Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, &payload)?,
            true,
        ),
        case(PARENT_XDP, "IPv4 from the wire", By::One, frame::udp4(from_lan, LAN, ip(&me), &payload)?, true),
        case(
            PARENT_XDP,
            "spoofed, dropped",
            By::One,
            frame::udp4(from_lan, ip(&peer), ip(&me), &payload)?,
            false,
        ),
    ])
}

/// A hash map and a counter: what others' filters do at least.
pub(crate) const REFERENCE: &str = "lookup_and_count";

/// A case with a crowd, loaded.
struct Bench<'c> {
    crowd: &'c Crowd,
    case: Case,
    /// The program under test.
    object: Ebpf,
    /// What it is held against.
    bench: Ebpf,
    /// What `anybody` can call: the kernel empties it once nobody has it open.
    _under_test: Option<ProgramArray<MapData>>,
    samples: Samples,
}

impl<'c> Bench<'c> {
    fn new(crowd: &'c Crowd, case: Case) -> Result<Self> {
        let is_slaves = [schema::SLAVE_EGRESS, schema::SLAVE_INGRESS].contains(&case.program);
        let identity = if is_slaves { endpoint(0).identity() } else { parent().identity() };
        let identity = Identity { netns: crowd.dataplane.socket_netns()?, ..identity };
        let mut object = crowd.dataplane.load(&identity, case.program)?;
        let mut bench = EbpfLoader::new().load(BENCH)?;
        if case.program == REFERENCE {
            know(&mut bench, crowd.endpoints)?;
        } else if case.program == schema::PARENT_XDP {
            xdp(&mut object, case.program)?;
        } else {
            classifier(&mut object, case.program)?;
        }
        let under_test = match case.by {
            By::One => None,
            By::AnySender | By::AnyReceiver => {
                fill(&mut bench, crowd.endpoints, &case)?;
                let map = bench.take_map("UNDER_TEST").context("no UNDER_TEST")?;
                let mut under_test = ProgramArray::try_from(map)?;
                under_test.set(0, classifier(&mut bench, "empty")?.fd()?, 0)?;
                let of = if case.program == REFERENCE { &mut bench } else { &mut object };
                under_test.set(1, classifier(of, case.program)?.fd()?, 0)?;
                Some(under_test)
            }
        };
        Ok(Self { crowd, case, object, bench, _under_test: under_test, samples: Samples::default() })
    }

    /// That the program does what the case is about, and counts it.
    fn check(&mut self) -> Result<()> {
        const RUNS: u32 = 1_000;
        let Case { program, name, accepted, .. } = self.case;
        let before = self.counted()?;
        let (returned, _) = self.run(true, RUNS)?;
        let wanted = match (program, accepted) {
            (schema::PARENT_XDP, true) => XDP_PASS,
            (schema::PARENT_XDP, false) => 1,
            (_, true) => TC_ACT_UNSPEC,
            (_, false) => TC_ACT_SHOT,
        };
        ensure!(returned == wanted, "{program}, {name}: it returned {returned}");
        let drops = self.counted()? - before;
        let due = if accepted { 0 } else { u64::from(RUNS) };
        ensure!(drops == due, "{program}, {name}: {drops} drops were counted in {RUNS} runs");
        Ok(())
    }

    /// Drops of everybody who may be charged.
    fn counted(&self) -> Result<u64> {
        let mut sum = 0;
        for slot in 0..=self.crowd.endpoints.min(1_000) + PARENT {
            sum += self.crowd.dataplane.counters(slot)?.drops.iter().map(|(_, count)| count).sum::<u64>();
        }
        Ok(sum)
    }

    fn round(&mut self, runs: u32) -> Result<()> {
        let empty_first = self.samples.whole.len().is_multiple_of(2);
        for with_program in [!empty_first, empty_first] {
            let (_, nanos) = self.run(with_program, runs)?;
            if with_program { &mut self.samples.whole } else { &mut self.samples.empty }.push(nanos);
        }
        Ok(())
    }

    /// Runs the program, or what is taken off its time; returns what it returned at last, and nanoseconds a run.
    fn run(&mut self, with_program: bool, runs: u32) -> Result<(u32, f64)> {
        let (program, frame) = (self.case.program, &self.case.frame);
        Ok(match (program, self.case.by) {
            (schema::PARENT_XDP, _) if with_program => {
                time(xdp(&mut self.object, program)?, program, frame, runs)?
            }
            (schema::PARENT_XDP, _) => time(xdp(&mut self.bench, "empty_xdp")?, "empty_xdp", frame, runs)?,
            (_, By::AnySender | By::AnyReceiver) => {
                let under_test = u32::from(with_program);
                choose(&mut self.bench, self.crowd.endpoints, &self.case, under_test)?;
                time(classifier(&mut self.bench, "anybody")?, "anybody", frame, runs)?
            }
            (REFERENCE, _) if with_program => {
                time(classifier(&mut self.bench, REFERENCE)?, REFERENCE, frame, runs)?
            }
            _ if with_program => time(classifier(&mut self.object, program)?, program, frame, runs)?,
            _ => time(classifier(&mut self.bench, "empty")?, "empty", frame, runs)?,
        })
    }

    fn into_cost(self) -> Cost {
        let Case { program, name: frame, .. } = self.case;
        Cost { program, frame, endpoints: self.crowd.endpoints, samples: self.samples }
    }
}

/// Has the reference program know everybody's address.
fn know(bench: &mut Ebpf, endpoints: u16) -> Result<()> {
    let mut known = HashMap::<_, [u8; 4], u32>::try_from(bench.map_mut("KNOWN").context("no KNOWN")?)?;
    for endpoint in (0..endpoints).map(endpoint) {
        let address = endpoint.ipv4.context("no address")?.addr();
        known.insert(&address.octets(), &u32::from(endpoint.slot), 0)?;
    }
    Ok(())
}

/// The table of those that `anybody` chooses from.
fn fill(bench: &mut Ebpf, endpoints: u16, case: &Case) -> Result<()> {
    let mut senders = Array::<_, [u32; 3]>::try_from(bench.map_mut("SENDERS").context("no SENDERS")?)?;
    for index in 0..=mask(endpoints) {
        let endpoint = endpoint(u16::try_from(index % u32::from(endpoints))?);
        let address = endpoint.ipv4.context("no address")?.addr().octets();
        let mut frame = case.frame.clone();
        let (slot, hash) = if case.by == By::AnySender {
            frame[SOURCE as usize..][..4].copy_from_slice(&address);
            let parsed = Frame::parse(frame.as_slice()).ok().context("no frame")?;
            (u32::from(endpoint.slot), seal(&parsed, &endpoint.entry()))
        } else {
            (0, 0)
        };
        senders.set(index, &[u32::from_ne_bytes(address), slot, hash], 0)?;
    }
    Ok(())
}

/// Has `anybody` hand frames to program 0, the empty one, or 1.
fn choose(bench: &mut Ebpf, endpoints: u16, case: &Case, program: u32) -> Result<()> {
    let place = if case.by == By::AnySender { SOURCE } else { DESTINATION };
    let mut choice = Array::<_, [u32; 3]>::try_from(bench.map_mut("CHOICE").context("no CHOICE")?)?;
    Ok(choice.set(0, &[mask(endpoints), place, program], 0)?)
}

fn mask(endpoints: u16) -> u32 {
    u32::from(endpoints).next_power_of_two() - 1
}

fn classifier<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program: &mut SchedClassifier =
        object.program_mut(name).with_context(|| format!("no {name}"))?.try_into()?;
    if program.fd().is_err() {
        program.load()?;
    }
    Ok(program)
}

fn xdp<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = object.program_mut(name).with_context(|| format!("no {name}"))?.try_into()?;
    if program.fd().is_err() {
        program.load()?;
    }
    Ok(program)
}
