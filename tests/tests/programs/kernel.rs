//! The programs in the kernel, run by BPF_PROG_TEST_RUN.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, Map, MapData, ProgramArray},
    programs::{ProgramFd, SchedClassifier, Xdp},
};
use etherparse::{EtherType, Ethernet2Slice, Ipv6HeaderSlice};
use ipvlan_common::{Hook, Identity, Slot, Verdict, resolve, schema, types::Mac};
use ipvlan_ctl::bpf::{Counters, Dataplane, PRIME};
use ipvlan_fuzz::request::Request;
use ipvlan_tests::frame::BROADCAST;

use crate::{
    rows::{AT_SLAVES, Origin, Row},
    world,
};

/// Lets the next program, and the stack, have the frame.
const TC_ACT_UNSPEC: i32 = -1;
/// Sends it somewhere else.
const TC_ACT_REDIRECT: i32 = 7;
/// Drops it.
const TC_ACT_SHOT: i32 = 2;
/// The same of XDP.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// Whose program: of which slot, loaded for which kind of netns, and at which hook.
type Key = (Slot, Origin, Hook);

/// What a program makes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Where it let the frame go.
    pub(crate) way: Way,
    /// `tc_index` and `hash` as it left them.
    pub(crate) seal: (Slot, u32),
    /// The frame as it left it.
    pub(crate) frame: Vec<u8>,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    On,
    /// Where it came from.
    Back,
    Nowhere,
}

/// The world's maps and programs in the kernel.
pub(crate) struct Kernel {
    dataplane: Dataplane,
    pins: PathBuf,
    /// The netns that the kernel gives the frames of a test run.
    netns: u64,
    /// The object of each slot, of each kind of netns, and of a slave or of all others, that a row has asked for.
    objects: HashMap<(Slot, Origin, bool), Ebpf>,
    prime: Ebpf,
    /// What `prime` can call: those that a row has asked for, by their index.
    under_test: ProgramArray<MapData>,
    indices: HashMap<Key, u32>,
}

impl Kernel {
    pub(crate) fn new() -> Result<Self> {
        let pins = Path::new("/sys/fs/bpf").join(format!("ipvlan-test-{}", std::process::id()));
        let mut dataplane = Dataplane::create(&pins, schema::CAPACITY)?;
        dataplane.share()?;
        let parent = world::parent();
        dataplane.register_slot(parent.slot, parent.entry())?;
        for ip in [IpAddr::from(world::HOST), IpAddr::from(world::HOST6)] {
            dataplane.add_address(parent.slot, ip, parent.slot)?;
        }
        for endpoint in world::endpoints() {
            dataplane.register_slot(endpoint.slot, endpoint.entry())?;
            let ipv6 = [endpoint.ipv6, endpoint.link_local].into_iter().flatten().map(IpAddr::from);
            for ip in endpoint.ipv4.map(|it| IpAddr::from(it.addr())).into_iter().chain(ipv6) {
                dataplane.add_address(parent.slot, ip, endpoint.slot)?;
            }
        }
        // The limited endpoint has sent its burst, and more than any test lasts.
        let groups = MapData::from_pin(maps(&pins).join(schema::GROUP_MAP))?;
        let mut groups = Array::<_, u64>::try_from(Map::from_map_data(groups)?)?;
        groups.set(u32::from(world::SLOW), &(u64::MAX / 2), 0)?;
        let mut prime = EbpfLoader::new().load(PRIME)?;
        let under_test = ProgramArray::try_from(prime.take_map("UNDER_TEST").context("no UNDER_TEST")?)?;
        program(&mut prime, "prime")?.load()?;
        let netns = dataplane.socket_netns()?;
        let (objects, indices) = (HashMap::new(), HashMap::new());
        Ok(Self { dataplane, pins, netns, objects, prime, under_test, indices })
    }

    /// The object of the row's slot.
    fn object(&mut self, row: &Row) -> Result<&mut Ebpf> {
        let netns = if row.origin == Origin::Elsewhere { self.netns + 1 } else { self.netns };
        let identity = Identity { netns, ..world::identity(row.me) };
        Ok(match self.objects.entry(object_of(row)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(self.dataplane.load(&identity, program_of(row.hook))?),
        })
    }

    /// The loaded classifier of the row's hook and slot.
    fn program(&mut self, row: &Row) -> Result<ProgramFd> {
        let program = program(self.object(row)?, program_of(row.hook))?;
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program.fd()?.try_clone()?)
    }

    /// Where `prime` finds the loaded program of the row's hook and slot.
    fn index(&mut self, row: &Row) -> Result<u32> {
        let key = (row.me, row.origin, row.hook);
        if let Some(index) = self.indices.get(&key) {
            return Ok(*index);
        }
        let index = u32::try_from(self.indices.len())?;
        let under_test = self.program(row)?;
        self.under_test.set(index, &under_test, 0)?;
        self.indices.insert(key, index);
        Ok(index)
    }

    /// Runs the program under test on the row's frame twice: by itself for what it returns, and with another look at the frame
    /// behind it, whose return value is then the one that the kernel tells.
    pub(crate) fn run(&mut self, row: &Row) -> Result<Outcome> {
        if row.hook == Hook::ParentXdp {
            let way = if self.run_xdp(row)? { Way::On } else { Way::Nowhere };
            return Ok(Outcome { way, seal: row.seal, frame: row.frame.clone() });
        }
        let (returned, ..) = self.run_once(row, 1)?;
        let (_, seal, frame) = self.run_once(row, 2)?;
        let way = match returned {
            TC_ACT_UNSPEC => Way::On,
            TC_ACT_REDIRECT => Way::Back,
            TC_ACT_SHOT => Way::Nowhere,
            other => bail!("the program returned {other}"),
        };
        Ok(Outcome { way, seal, frame })
    }

    /// How often [`Self::run`] runs the program, and so counts the frame.
    pub(crate) const RUNS: u64 = 2;

    fn run_xdp(&mut self, row: &Row) -> Result<bool> {
        let program: &mut Xdp =
            self.object(row)?.program_mut(schema::PARENT_XDP).context("no XDP program")?.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        // Not by `repeat`, for which the kernel patches its code anew each time.
        let mut returned = Vec::new();
        for _ in 0..Self::RUNS {
            let options = TestRunOptions { data_in: Some(&row.frame), ..TestRunOptions::default() };
            returned.push(program.test_run(options)?.return_value);
        }
        match returned[..] {
            [XDP_PASS, XDP_PASS] => Ok(true),
            [XDP_DROP, XDP_DROP] => Ok(false),
            _ => bail!("the program returned {returned:?}"),
        }
    }

    /// Has `prime` hand the row's frame over; the second time it looks at it.
    fn run_once(&mut self, row: &Row, repeat: u32) -> Result<(i32, (Slot, u32), Vec<u8>)> {
        const INGRESS_IFINDEX: usize = 36;
        const SCRATCH: usize = 48;
        const SK_BUFF: usize = 192;
        const VLAN_PRESENT: u32 = 1 << 16;
        const SENT: u32 = 1 << 17;
        /// The kernel's test run refuses frames that end in the IP header; `prime` cuts them.
        const LONG_ENOUGH: usize = 14 + 40;
        let length = row.frame.len();
        let words = [
            row.seal.1,
            u32::from(row.seal.0),
            u32::try_from(length)?,
            row.vlan.map_or(0, |id| VLAN_PRESENT | u32::from(id))
                | if row.origin == Origin::Here { SENT } else { 0 },
            self.index(row)?,
        ];
        let mut context = [0; SK_BUFF];
        for (place, word) in context[SCRATCH..].as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_ne_bytes();
        }
        // The test run types a frame as one received, and only what ipvlan's queue sends has such a type but no ingress.
        context[INGRESS_IFINDEX] = u8::from(matches!(row.origin, Origin::Elsewhere | Origin::Forwarded));
        let mut frame = row.frame.clone();
        frame.resize(length.max(LONG_ENOUGH), 0);
        let (mut out, mut context_out) = (vec![0; frame.len()], [0; SK_BUFF]);
        let options = TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ctx_out: Some(&mut context_out),
            repeat,
            ..TestRunOptions::default()
        };
        let result = program(&mut self.prime, "prime")?.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        let word = |index: usize| -> u32 {
            let at = SCRATCH + 4 * index;
            u32::from_ne_bytes([
                context_out[at],
                context_out[at + 1],
                context_out[at + 2],
                context_out[at + 3],
            ])
        };
        Ok((result.return_value as i32, (word(1) as Slot, word(0)), out))
    }

    /// Runs the row's frame through the loaded program and holds what it did and counted against the row.
    pub(crate) fn check(&mut self, row: &Row) -> Result<()> {
        let mut counters = self.counters()?;
        let outcome = self.run(row)?;
        let expected = expect(&mut counters, row)?;
        ensure!(outcome == expected, "the program made {outcome:x?} of it, not {expected:x?}");
        compare(&counters, &self.counters()?)
    }

    /// Where the maps are pinned.
    pub(crate) fn pins(&self) -> &Path {
        &self.pins
    }

    /// Runs the row's program on its frame over and over, without a seal.
    pub(crate) fn repeat(&mut self, row: &Row, repeat: u32) -> Result<()> {
        self.program(row)?;
        let object = self.objects.get_mut(&object_of(row)).context("no object")?;
        let mut out = vec![0; row.frame.len() + 64];
        let options = TestRunOptions {
            data_in: Some(&row.frame),
            data_out: Some(&mut out),
            repeat,
            ..TestRunOptions::default()
        };
        program(object, program_of(row.hook))?.test_run(options)?;
        Ok(())
    }

    /// The counters of every slot of the world, and of the first beyond.
    pub(crate) fn counters(&self) -> Result<Vec<Counters>> {
        (0..=world::LAST + 1).map(|slot: Slot| Ok(self.dataplane.counters(slot)?)).collect()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Err(error) = Dataplane::remove_all(&self.pins) {
            eprintln!("{error}");
        }
    }
}

pub(crate) fn maps(pins: &Path) -> PathBuf {
    pins.join(format!("v{}", schema::ABI_VERSION)).join("maps")
}

fn object_of(row: &Row) -> (Slot, Origin, bool) {
    (row.me, row.origin, AT_SLAVES.contains(&row.hook))
}

fn program_of(hook: Hook) -> &'static str {
    match hook {
        Hook::SlaveEgress => schema::SLAVE_EGRESS,
        Hook::SlaveIngress => schema::SLAVE_INGRESS,
        Hook::ParentIngress => schema::PARENT_INGRESS,
        Hook::ParentEgress => schema::PARENT_EGRESS,
        Hook::LoopbackEgress => schema::LOOPBACK_EGRESS,
        Hook::ParentXdp => schema::PARENT_XDP,
    }
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(object.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

/// Those whom a request was for before it was set aside, whether or not the rest of it holds.
fn group(frame: &[u8]) -> Result<Mac> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame)?;
    if ethernet.ether_type() == EtherType::ARP {
        return Ok(BROADCAST);
    }
    let [.., a, b, c, d] = Ipv6HeaderSlice::from_slice(ethernet.payload_slice())?.destination();
    Ok([0x33, 0x33, a, b, c, d])
}

/// What the row's verdict makes of its frame; adds what it counts.
pub(crate) fn expect(counters: &mut [Counters], row: &Row) -> Result<Outcome> {
    let me = row.me;
    let (mut way, mut frame) = (Way::On, row.frame.clone());
    let mut requests = (0, 0);
    let (seal, counted) = match row.verdict {
        Verdict::Pass => (row.seal, vec![]),
        Verdict::Seal { slot, seal } => ((slot, seal), vec![me]),
        Verdict::Open => ((0, 0), vec![me]),
        Verdict::Deliver { slot } => (row.seal, vec![me, slot]),
        Verdict::Turn { seal } => {
            way = Way::Back;
            ((me, seal), vec![])
        }
        Verdict::Admit { receiver } => ((0, 0), receiver.into_iter().collect()),
        Verdict::Answer { slot, seal } => {
            way = Way::Back;
            let reply = reply(&row.frame)?;
            frame.splice(..reply.len(), reply);
            requests.0 = Kernel::RUNS;
            ((slot, seal), if row.hook == Hook::ParentEgress { vec![] } else { vec![me] })
        }
        Verdict::Aside { seal } => {
            frame.splice(..resolve::ASIDE.len(), resolve::ASIDE);
            requests.1 = Kernel::RUNS;
            ((me, seal), vec![me])
        }
        Verdict::Restore => {
            let group = group(&frame)?;
            frame.splice(..group.len(), group);
            ((0, 0), vec![me])
        }
        Verdict::Drop { slot, reason } => {
            way = Way::Nowhere;
            let drops = &mut counters.get_mut(usize::from(slot)).context("no such slot")?.drops;
            match drops.iter_mut().find(|(counted, _)| *counted == reason) {
                Some((_, count)) => *count += Kernel::RUNS,
                None => drops.push((reason, Kernel::RUNS)),
            }
            drops.sort();
            (row.seal, vec![])
        }
    };
    for slot in counted {
        let counters = counters.get_mut(usize::from(slot)).context("no such slot")?;
        let (packets, bytes) = match row.hook {
            Hook::SlaveEgress | Hook::ParentEgress => (&mut counters.tx_packets, &mut counters.tx_bytes),
            Hook::SlaveIngress | Hook::ParentIngress | Hook::LoopbackEgress | Hook::ParentXdp => {
                (&mut counters.rx_packets, &mut counters.rx_bytes)
            }
        };
        *packets += Kernel::RUNS;
        *bytes += Kernel::RUNS * row.frame.len() as u64;
    }
    let mine = counters.get_mut(usize::from(me)).context("no such slot")?;
    mine.answered += requests.0;
    mine.aside += requests.1;
    Ok(Outcome { way, seal, frame })
}

/// What becomes of a request, by a library's reckoning.
pub(crate) fn reply(request: &[u8]) -> Result<Vec<u8>> {
    Ok(Request::read(request).context("that is no request")?.reply(world::MAC))
}

/// Holds counters against what they should be.
pub(crate) fn compare(expected: &[Counters], found: &[Counters]) -> Result<()> {
    for (slot, (expected, found)) in expected.iter().zip(found).enumerate() {
        ensure!(expected == found, "slot {slot} counts {found:?}, not {expected:?}");
    }
    Ok(())
}
