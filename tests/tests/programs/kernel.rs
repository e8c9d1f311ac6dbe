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
use ipvlan_common::{Hook, Identity, Slot, Verdict, schema};
use ipvlan_ctl::bpf::{Counters, Dataplane, PRIME, PROGRAMS};

use crate::{
    rows::{Origin, Row},
    world,
};

/// Lets the next program, and the stack, have the frame.
const TC_ACT_UNSPEC: i32 = -1;
/// Drops it.
const TC_ACT_SHOT: i32 = 2;
/// The same of XDP.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The world's maps and programs in the kernel.
pub(crate) struct Kernel {
    dataplane: Dataplane,
    pins: PathBuf,
    /// The netns that the kernel gives the frames of a test run.
    netns: u64,
    /// The object of each slot, and of each kind of netns, that a row has asked for.
    objects: HashMap<(Slot, Origin), Ebpf>,
    prime: Ebpf,
    under_test: ProgramArray<MapData>,
    /// Whose program is under test.
    primed: Option<(Slot, Origin, Hook)>,
}

impl Kernel {
    pub(crate) fn new() -> Result<Self> {
        let pins = Path::new("/sys/fs/bpf").join(format!("ipvlan-test-{}", std::process::id()));
        let mut dataplane = Dataplane::create(&pins, schema::CAPACITY)?;
        let parent = world::parent();
        dataplane.register_slot(parent.slot, parent.entry())?;
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
        groups.set(u32::from(world::SLOW), u64::MAX / 2, 0)?;
        let mut prime = EbpfLoader::new().load(PRIME)?;
        let under_test = ProgramArray::try_from(prime.take_map("UNDER_TEST").context("no UNDER_TEST")?)?;
        program(&mut prime, "prime")?.load()?;
        let netns = dataplane.socket_netns()?;
        Ok(Self { dataplane, pins, netns, objects: HashMap::new(), prime, under_test, primed: None })
    }

    /// The object of the row's slot.
    fn object(&mut self, row: &Row) -> Result<&mut Ebpf> {
        let netns = if row.origin == Origin::Elsewhere { self.netns + 1 } else { self.netns };
        let identity = Identity { netns, ..world::identity(row.me) };
        Ok(match self.objects.entry((row.me, row.origin)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(
                EbpfLoader::new()
                    .override_global(schema::IDENTITY, &identity, true)
                    .default_map_pin_directory(maps(&self.pins))
                    .load(PROGRAMS)?,
            ),
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

    /// Gives the frame the row's seal, then the program under test its turn; returns whether it let the frame go on.
    ///
    /// The kernel refuses to run some frames, such as IP frames that end in their header: `InvalidInput`.
    pub(crate) fn run(&mut self, row: &Row) -> Result<bool> {
        const MARK: usize = 8;
        const PRIORITY: usize = 32;
        const INGRESS_IFINDEX: usize = 36;
        const SK_BUFF: usize = 192;
        if row.hook == Hook::ParentXdp {
            return self.run_xdp(row);
        }
        let key = (row.me, row.origin, row.hook);
        if self.primed != Some(key) {
            let under_test = self.program(row)?;
            self.under_test.set(0, &under_test, 0)?;
            self.primed = Some(key);
        }
        let mut context = [0; SK_BUFF];
        context[MARK..MARK + 4].copy_from_slice(&row.seal.1.to_ne_bytes());
        context[PRIORITY..PRIORITY + 4].copy_from_slice(&u32::from(row.seal.0).to_ne_bytes());
        // The test run types a frame as one received, and only what ipvlan's queue sends has a type but no ingress.
        context[INGRESS_IFINDEX] = u8::from(row.origin != Origin::Queue);
        let mut out = vec![0; row.frame.len() + 64];
        let options = TestRunOptions {
            data_in: Some(&row.frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = program(&mut self.prime, "prime")?.test_run(options)?;
        ensure!(
            out.get(..result.data_size_out as usize) == Some(&row.frame),
            "the program changed the frame"
        );
        match result.return_value as i32 {
            TC_ACT_UNSPEC => Ok(true),
            TC_ACT_SHOT => Ok(false),
            other => bail!("the program returned {other}"),
        }
    }

    fn run_xdp(&mut self, row: &Row) -> Result<bool> {
        let object = self.object(row)?;
        let program: &mut Xdp = object.program_mut(schema::PARENT_XDP).context("no XDP")?.try_into()?;
        if program.fd().is_err() {
            program.load()?;
        }
        let mut out = vec![0; row.frame.len() + 64];
        let options = TestRunOptions {
            data_in: Some(&row.frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        match program.test_run(options)?.return_value {
            XDP_PASS => Ok(true),
            XDP_DROP => Ok(false),
            other => bail!("the program returned {other}"),
        }
    }

    /// Runs the row's frame through the loaded program and holds result and counters against the row.
    pub(crate) fn check(&mut self, row: &Row) -> Result<()> {
        let mut expected = self.counters()?;
        let returned = self.run(row)?;
        let accepted = expect(&mut expected, row)?;
        ensure!(returned == accepted, "the program returned {returned:?}, not {accepted:?}");
        compare(&expected, &self.counters()?)
    }

    /// Where the maps are pinned.
    pub(crate) fn pins(&self) -> &Path {
        &self.pins
    }

    /// Runs the row's program on its frame over and over, without a seal.
    pub(crate) fn repeat(&mut self, row: &Row, repeat: u32) -> Result<()> {
        self.program(row)?;
        let object = self.objects.get_mut(&(row.me, row.origin)).context("no object")?;
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

fn program_of(hook: Hook) -> &'static str {
    match hook {
        Hook::SlaveEgress => schema::SLAVE_EGRESS,
        Hook::SlaveIngress => schema::SLAVE_INGRESS,
        Hook::ParentIngress => schema::PARENT_INGRESS,
        Hook::ParentEgress => schema::PARENT_EGRESS,
        Hook::LoopbackIngress => schema::LOOPBACK_INGRESS,
        Hook::ParentXdp => schema::PARENT_XDP,
    }
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(object.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

/// Adds what the row's verdict counts; returns whether it lets the frame go on.
pub(crate) fn expect(counters: &mut [Counters], row: &Row) -> Result<bool> {
    let counted = match row.verdict {
        Verdict::Pass => vec![],
        Verdict::Seal { .. } | Verdict::Open => vec![row.me],
        Verdict::Deliver { slot } => vec![row.me, slot],
        Verdict::Drop { slot, reason } => {
            let drops = &mut counters.get_mut(usize::from(slot)).context("no such slot")?.drops;
            match drops.iter_mut().find(|(counted, _)| *counted == reason) {
                Some((_, count)) => *count += 1,
                None => drops.push((reason, 1)),
            }
            drops.sort();
            return Ok(false);
        }
    };
    for slot in counted {
        let counters = counters.get_mut(usize::from(slot)).context("no such slot")?;
        let (packets, bytes) = match row.hook {
            Hook::SlaveEgress | Hook::ParentEgress => (&mut counters.tx_packets, &mut counters.tx_bytes),
            Hook::SlaveIngress | Hook::ParentIngress | Hook::LoopbackIngress | Hook::ParentXdp => {
                (&mut counters.rx_packets, &mut counters.rx_bytes)
            }
        };
        *packets += 1;
        *bytes += row.frame.len() as u64;
    }
    Ok(true)
}

/// Holds counters against what they should be.
pub(crate) fn compare(expected: &[Counters], found: &[Counters]) -> Result<()> {
    for (slot, (expected, found)) in expected.iter().zip(found).enumerate() {
        ensure!(expected == found, "slot {slot} counts {found:?}, not {expected:?}");
    }
    Ok(())
}
