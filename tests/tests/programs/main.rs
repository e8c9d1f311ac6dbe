//! Each row of the rules twice: through `decide` on the host, and through the loaded program by BPF_PROG_TEST_RUN. Both must
//! agree with the row, and the counters must move by exactly what the verdict says. The same for frames that chance makes.

mod chance;
mod corpus;
mod differential;
mod events;
mod kernel;
#[cfg(feature = "log")]
mod log;
mod looped;
mod rows;
mod rules;
mod world;

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvlan_common::{
    Hook, Verdict, decide,
    packet::{Ethernet, Metadata, Sender},
};
use ipvlan_tests::harness::{Need, test};
use kernel::Kernel;
use libtest_mimic::{Arguments, Trial};
use rows::{AT_SLAVES, Origin, Row};
use world::HostTables;

/// Made by the first test that needs it; the maps' counters allow no two at once.
type Shared = Arc<Mutex<Option<Kernel>>>;

fn main() -> Result<()> {
    let arguments = Arguments::from_args();
    let shared = Shared::default();
    let mut trials: Vec<Trial> = rows::rows()?
        .into_iter()
        .map(|row| {
            let shared = Arc::clone(&shared);
            test(&format!("{:?}: {}", row.hook, row.name), &[Need::Root], move || {
                let verdict = host_verdict(&row)?;
                ensure!(verdict == row.verdict, "decide says {verdict:?}");
                with_kernel(&shared, |kernel| kernel.check(&row))
            })
        })
        .collect();
    let on_kernel = |name, check: fn(&mut Kernel) -> Result<()>| {
        let shared = Arc::clone(&shared);
        test(name, &[Need::Root], move || with_kernel(&shared, check))
    };
    trials.extend([
        on_kernel("decide and the programs agree on frames made by chance", differential::check),
        on_kernel("decide and the programs agree on every cut of every row", differential::cuts),
        on_kernel("a slave that is no endpoint's passes nothing, on nobody's account", no_endpoint),
        on_kernel("a drop is reported while somebody monitors", events::reported),
        on_kernel("drops over the rate, or with the buffer full, are counted", events::limited),
        #[cfg(feature = "log")]
        on_kernel("every verdict is a line of the log", log::check),
        test("what the host sends to a group comes back to it, and nothing else does", &[], looped::check),
        test("every row is a seed of the fuzzer", &[], corpus::seeds),
    ]);
    if std::env::var_os(corpus::FOLDER).is_some() {
        trials.push(on_kernel("decide and the programs agree on what the fuzzer found", corpus::replay));
    }
    trials.push(test("docs/rules.md says what the rows show", &[], rules::check));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // exit() runs no destructor, and the pins must go.
    drop(shared);
    conclusion.exit()
}

fn with_kernel(shared: &Shared, check: impl FnOnce(&mut Kernel) -> Result<()>) -> Result<()> {
    let mut kernel = shared.lock().map_err(|_| anyhow!("an earlier row panicked"))?;
    if kernel.is_none() {
        *kernel = Some(Kernel::new()?);
    }
    check(kernel.as_mut().context("no kernel")?)
}

/// A slot without a network is one that is being set up, or was cleared while its slave lived on.
fn no_endpoint(kernel: &mut Kernel) -> Result<()> {
    let before = kernel.counters()?;
    for row in rows::rows()?.into_iter().filter(|row| AT_SLAVES.contains(&row.hook)) {
        let row = Row { me: world::PARENT, ..row };
        let way = kernel.run(&row).with_context(|| row.name)?.way;
        ensure!(way == kernel::Way::Nowhere, "{}: {way:?}", row.name);
    }
    kernel::compare(&before, &kernel.counters()?)
}

/// What `decide` says of the row's frame.
fn host_verdict(row: &Row) -> Result<Verdict> {
    let (frame, me) = (row.frame.as_slice(), world::identity(row.me));
    Ok(decide(row.hook, frame, &metadata(row)?, &me, HostTables::shared()))
}

/// What the kernel keeps beside the row's frame.
fn metadata(row: &Row) -> Result<Metadata> {
    let ethernet =
        Ethernet::parse(row.frame.as_slice()).ok().context("a row's frame has an Ethernet header")?;
    let (tc_index, hash) = row.seal;
    let is_slaves = match (row.hook, row.origin) {
        (Hook::LoopbackEgress, origin) => origin == Origin::Elsewhere,
        // A tagged frame may be a VLAN device's.
        (_, Origin::Elsewhere) => row.vlan.is_none(),
        // What the queue sends is known by its packet type, which only groups have.
        (_, Origin::Queue) => row.vlan.is_none() && ethernet.is_group(),
        (_, Origin::Here | Origin::Forwarded) => false,
    };
    let origin = match row.origin {
        _ if is_slaves => Sender::Slave,
        Origin::Elsewhere | Origin::Forwarded => Sender::Forwarded,
        Origin::Here | Origin::Queue => Sender::Host,
    };
    Ok(Metadata {
        protocol: protocol(&row.frame, &ethernet),
        vlan: row.vlan,
        hash,
        tc_index,
        looped_back: false,
        unfinished: false,
        origin,
    })
}

/// What eth_type_trans, by which the kernel's test run finds the protocol, makes of an EtherType: below 1536 it is a length, of an
/// 802.2 frame or of one of Novell's.
fn protocol(frame: &[u8], ethernet: &Ethernet) -> u16 {
    const ETH_P_802_3: u16 = 1;
    const ETH_P_802_2: u16 = 4;
    match ethernet.ethertype {
        0x600.. => ethernet.ethertype,
        _ if frame.get(14..16) == Some(&[0xff, 0xff]) => ETH_P_802_3,
        _ => ETH_P_802_2,
    }
}
