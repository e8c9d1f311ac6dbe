//! Frames made by chance, mostly from those of the rows, through `decide` and through the loaded programs.

use std::env;

use anyhow::{Context as _, Result, bail};
use ipvlan_common::{Hook, Slot};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    host_verdict,
    kernel::{self, Kernel},
    rows::{self, Origin, Row},
    world::{self, LAN_MAC, MAC, PARENT, VEPA_PARENT, ip4, ip6, link_local, seal},
};

/// Frames in one go, unless `IPVLAN_FRAMES` says otherwise.
const FRAMES: usize = 20_000;
/// Frames between two looks at all counters.
const BATCH: usize = 1_000;

/// Runs the frames; a failure names the seed, by which `IPVLAN_SEED` repeats it.
pub(crate) fn check(kernel: &mut Kernel) -> Result<()> {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
    let frames = number("IPVLAN_FRAMES")?.map_or(Ok(FRAMES), usize::try_from)?;
    let seed = number("IPVLAN_SEED")?.unwrap_or_else(rand::random);
    let mut random = StdRng::seed_from_u64(seed);
    let templates: Vec<_> = rows::rows()?.into_iter().map(|row| row.frame).collect();
    let (mut run, mut refused) = (0, 0);
    while run < frames {
        let batch = (0..BATCH).map(|_| chance(&mut random, &templates)).collect::<Result<Vec<_>>>()?;
        refused += agree(kernel, &batch).with_context(|| format!("IPVLAN_SEED={seed}"))?;
        run += batch.len();
    }
    println!("{run} frames agree, {refused} of them too short for the kernel's test run; IPVLAN_SEED={seed}");
    Ok(())
}

/// Holds a batch's counters against its verdicts; returns how many frames the kernel would not run.
fn agree(kernel: &mut Kernel, batch: &[Row]) -> Result<usize> {
    let mut expected = kernel.counters()?;
    let mut refused = 0;
    for row in batch {
        let accepted = match kernel.run(row) {
            Err(error) if is_refusal(&error) => {
                refused += 1;
                continue;
            }
            other => other.with_context(|| describe(row))?,
        };
        if kernel::expect(&mut expected, row)? != accepted {
            bail!("decide says {:?} of {}", row.verdict, describe(row));
        }
    }
    if kernel::compare(&expected, &kernel.counters()?).is_err() {
        // Some frame of the batch was counted otherwise: one by one, it shows itself.
        for row in batch {
            match kernel.check(row) {
                Err(error) if is_refusal(&error) => {}
                other => {
                    other.with_context(|| format!("decide says {:?} of {}", row.verdict, describe(row)))?;
                }
            }
        }
        bail!("the batch was counted otherwise, but none of its frames is");
    }
    Ok(refused)
}

/// EINVAL, for an IP frame that ends in its header.
fn is_refusal(error: &anyhow::Error) -> bool {
    let codes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()?.raw_os_error());
    codes.into_iter().any(|code| code == nix::libc::EINVAL)
}

fn describe(row: &Row) -> String {
    let hex: String = row.frame.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex} at {:?} of slot {}, sealed {:x?}, from {:?}", row.hook, row.me, row.seal, row.origin)
}

/// A frame with a place, a seal and an origin.
fn chance(random: &mut StdRng, templates: &[Vec<u8>]) -> Result<Row> {
    let mut frame = templates.choose(random).context("no row")?.clone();
    for _ in 0..random.random_range(0..4) {
        mutate(random, &mut frame);
    }
    let hook = *Hook::ALL.choose(random).context("no hook")?;
    let me = match hook {
        Hook::SlaveEgress | Hook::SlaveIngress => slot(random),
        Hook::ParentIngress | Hook::ParentXdp => {
            *[PARENT, VEPA_PARENT].choose(random).context("no parent")?
        }
        Hook::ParentEgress | Hook::LoopbackIngress => PARENT,
    };
    let seal = match random.random_range(0..8) {
        0 => (0, 0),
        1 => (random.random(), random.random()),
        2 => (slot(random), seal(slot(random), &frame)),
        3 => (PARENT, seal(PARENT, &frame)),
        _ => {
            let sender = slot(random);
            (sender, seal(sender, &frame))
        }
    };
    let origins = [Origin::Here, Origin::Elsewhere, Origin::Queue];
    let origin =
        if hook == Hook::ParentEgress { *origins.choose(random).context("no origin")? } else { Origin::Here };
    let mut row =
        Row { name: "by chance", hook, me, frame, seal, origin, verdict: ipvlan_common::Verdict::Pass };
    row.verdict = host_verdict(&row)?;
    Ok(row)
}

/// An endpoint of the world.
fn slot(random: &mut StdRng) -> Slot {
    let slots: Vec<_> = world::endpoints().iter().map(|endpoint| endpoint.slot).collect();
    slots.choose(random).copied().unwrap_or(PARENT)
}

/// Changes a few bytes: to anything, to something that means something here, or to nothing.
fn mutate(random: &mut StdRng, frame: &mut Vec<u8>) {
    let someone = slot(random);
    match random.random_range(0..8) {
        0 | 1 => {
            let at = random.random_range(0..frame.len());
            frame[at] = random.random();
        }
        2 => {
            let at = random.random_range(0..frame.len());
            frame[at] ^= 1 << random.random_range(0..8);
        }
        3 => write(
            frame,
            [0, 6][random.random_range(0..2)],
            &[MAC, LAN_MAC, [0xff; 6]][random.random_range(0..3)],
        ),
        4 => write(frame, [26, 28, 30, 38][random.random_range(0..4)], &ip4(someone).octets()),
        5 => {
            let address = if random.random() { ip6(someone) } else { link_local(someone) };
            write(frame, [22, 38, 62][random.random_range(0..3)], &address.octets());
        }
        6 => {
            let headers = [0u8, 6, 17, 43, 44, 51, 58, 60, 133, 134, 135, 136, 137, 143];
            let value = headers[random.random_range(0..headers.len())];
            write(frame, [20, 23, 54, 55, 62][random.random_range(0..5)], &[value]);
        }
        _ => frame.resize(random.random_range(14..160), 0),
    }
}

/// Overwrites what is there, as far as it is there.
fn write(frame: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in frame.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}
