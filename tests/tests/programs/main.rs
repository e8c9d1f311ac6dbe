//! Each row of the rules twice: through `decide` on the host, and through the loaded program by BPF_PROG_TEST_RUN. Both must
//! agree with the row, and the counters must move by exactly what the verdict says.

mod rows;
mod rules;
mod world;

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions,
    maps::{Array, Map, MapData, ProgramArray},
    programs::{ProgramFd, SchedClassifier},
};
use ipvlan_common::{
    Hook, Identity, Slot, Verdict, decide,
    packet::{Ethernet, Metadata},
    schema,
};
use ipvlan_ctl::bpf::{Counters, Dataplane, PRIME, PROGRAMS};
use ipvlan_tests::harness::{Need, test};
use libtest_mimic::{Arguments, Trial};
use rows::{Origin, Row};
use world::HostTables;

fn main() -> Result<()> {
    let arguments = Arguments::from_args();
    let kernel: Arc<Mutex<Option<Kernel>>> = Arc::default();
    let mut trials: Vec<Trial> = rows::rows()?
        .into_iter()
        .map(|row| {
            let kernel = Arc::clone(&kernel);
            test(&format!("{:?}: {}", row.hook, row.name), &[Need::Root], move || {
                ensure!(host_verdict(&row)? == row.verdict, "decide says {:?}", host_verdict(&row)?);
                let mut kernel = kernel.lock().map_err(|_| anyhow::anyhow!("an earlier row panicked"))?;
                if kernel.is_none() {
                    *kernel = Some(Kernel::new()?);
                }
                kernel.as_mut().context("no kernel")?.check(&row)
            })
        })
        .collect();
    trials.push(test("docs/rules.md says what the rows show", &[], rules::check));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(kernel);
    conclusion.exit()
}

fn host_verdict(row: &Row) -> Result<Verdict> {
    let ethernet =
        Ethernet::parse(row.frame.as_slice()).ok().context("a row's frame has an Ethernet header")?;
    // eth_type_trans, by which the kernel's test run finds the protocol: below 1536 it is a length, of an 802.2 frame.
    let protocol = if ethernet.ethertype < 0x600 { 4 } else { ethernet.ethertype };
    let (tc_index, hash) = row.seal;
    let metadata =
        Metadata { protocol, vlan: None, hash, tc_index, sent_by_slave: row.origin != Origin::Here };
    Ok(decide(row.hook, row.frame.as_slice(), &metadata, &world::identity(row.me), &HostTables::new()))
}

/// The world's maps and programs in the kernel.
struct Kernel {
    dataplane: Dataplane,
    pins: PathBuf,
    /// The netns that the kernel gives the frames of a test run.
    netns: u64,
    /// The object of each slot, and of each kind of netns, that a row has asked for.
    objects: HashMap<(Slot, Origin), Ebpf>,
    prime: Ebpf,
    under_test: ProgramArray<MapData>,
}

impl Kernel {
    fn new() -> Result<Self> {
        let pins = Path::new("/sys/fs/bpf").join(format!("ipvlan-test-{}", std::process::id()));
        let mut dataplane = Dataplane::open(&pins)?;
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
        Ok(Self { dataplane, pins, netns, objects: HashMap::new(), prime, under_test })
    }

    /// The loaded program of the row's hook and slot.
    fn program(&mut self, row: &Row) -> Result<ProgramFd> {
        let netns = if row.origin == Origin::Elsewhere { self.netns + 1 } else { self.netns };
        let identity = Identity { netns, ..world::identity(row.me) };
        let object = match self.objects.entry((row.me, row.origin)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(
                EbpfLoader::new()
                    .override_global(schema::IDENTITY, &identity, true)
                    .default_map_pin_directory(maps(&self.pins))
                    .load(PROGRAMS)?,
            ),
        };
        let program = program(object, program_of(row.hook))?;
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program.fd()?.try_clone()?)
    }

    /// Gives the frame the row's seal, then the program under test its turn; returns the program's verdict.
    fn prime_and_run(&mut self, row: &Row) -> Result<i32> {
        const MARK: usize = 8;
        const PRIORITY: usize = 32;
        const INGRESS_IFINDEX: usize = 36;
        const SK_BUFF: usize = 192;
        let under_test = self.program(row)?;
        self.under_test.set(0, &under_test, 0)?;
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
        Ok(result.return_value as i32)
    }

    /// Runs the row's frame through the loaded program and holds result and counters against the row.
    fn check(&mut self, row: &Row) -> Result<()> {
        let before = self.counters()?;
        let returned = self.prime_and_run(row)?;
        let after = self.counters()?;

        let mut expected = before;
        let (counted, accepted) = match row.verdict {
            Verdict::Pass => (vec![], true),
            Verdict::Seal | Verdict::Open | Verdict::Reseal { .. } => (vec![row.me], true),
            Verdict::Deliver { slot } => (vec![row.me, slot], true),
            Verdict::Drop { slot, reason } => {
                let drops = &mut expected.get_mut(usize::from(slot)).context("no such slot")?.drops;
                match drops.iter_mut().find(|(counted, _)| *counted == reason) {
                    Some((_, count)) => *count += 1,
                    None => drops.push((reason, 1)),
                }
                drops.sort();
                (vec![], false)
            }
        };
        for slot in counted {
            let counters = expected.get_mut(usize::from(slot)).context("no such slot")?;
            let (packets, bytes) = match row.hook {
                Hook::SlaveEgress | Hook::ParentEgress => (&mut counters.tx_packets, &mut counters.tx_bytes),
                Hook::SlaveIngress | Hook::ParentIngress | Hook::LoopbackIngress => {
                    (&mut counters.rx_packets, &mut counters.rx_bytes)
                }
            };
            *packets += 1;
            *bytes += row.frame.len() as u64;
        }
        // TC_ACT_UNSPEC lets the next program and the stack have it, TC_ACT_SHOT drops.
        let expected_return = if accepted { -1 } else { 2 };
        ensure!(returned == expected_return, "the program returned {returned}, not {expected_return}");
        for (slot, (expected, after)) in expected.iter().zip(&after).enumerate() {
            ensure!(expected == after, "slot {slot} counts {after:?}, not {expected:?}");
        }
        Ok(())
    }

    /// The counters of every slot of the world, and of the first beyond.
    fn counters(&self) -> Result<Vec<Counters>> {
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

fn maps(pins: &Path) -> PathBuf {
    pins.join(format!("v{}", schema::ABI_VERSION)).join("maps")
}

fn program_of(hook: Hook) -> &'static str {
    match hook {
        Hook::SlaveEgress => schema::SLAVE_EGRESS,
        Hook::SlaveIngress => schema::SLAVE_INGRESS,
        Hook::ParentIngress => schema::PARENT_INGRESS,
        Hook::ParentEgress => schema::PARENT_EGRESS,
        Hook::LoopbackIngress => schema::LOOPBACK_INGRESS,
    }
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(object.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
