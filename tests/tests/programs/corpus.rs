//! The rows as the fuzzer's seeds, and what it makes of them through the programs.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvlan_common::{Verdict, decide, packet::Sender};
use ipvlan_fuzz::{Input, oracle};

use crate::{
    differential, host_verdict,
    kernel::Kernel,
    metadata,
    rows::{AT_SLAVES, Origin, Row, rows},
    world,
};

/// Names the folder of what the fuzzer found.
pub(crate) const FOLDER: &str = "IPVLAN_CORPUS";

/// Lengths of frames that the kernel's test run takes.
const LENGTHS: std::ops::Range<usize> = 14..2048;

/// Holds the fuzzer's world against this one, and its rules against the rows; writes the rows into the folder `IPVLAN_SEEDS`.
pub(crate) fn seeds() -> Result<()> {
    for slot in ipvlan_fuzz::world::FIRST..=ipvlan_fuzz::world::LAST {
        let (theirs, ours) = (ipvlan_fuzz::world::identity(slot), world::identity(slot));
        ensure!(theirs == ours, "the fuzzer's slot {slot} is {theirs:?}, not {ours:?}");
    }
    let folder = env::var_os("IPVLAN_SEEDS");
    for (index, row) in rows()?.iter().enumerate() {
        let input = Input {
            hook: row.hook,
            me: row.me,
            flags: 0,
            affords_group: false,
            metadata: metadata(row)?,
            frame: &row.frame,
        };
        let bytes = input.encode();
        ensure!(Input::decode(&bytes) == Some(input), "{} is not what it was encoded from", row.name);
        let verdict =
            decide(row.hook, row.frame.as_slice(), &input.metadata, &input.identity(), &input.world());
        ensure!(verdict == row.verdict, "{}: in the fuzzer's world it is {verdict:?}", row.name);
        oracle::check(&input, verdict).map_err(|rule| anyhow!("{} breaks: {rule}", row.name))?;
        if let Some(folder) = &folder {
            fs::write(Path::new(folder).join(format!("row-{index:03}")), bytes)?;
        }
    }
    Ok(())
}

/// Whether the kernel's test run takes the frame, and a slave is an endpoint's: what runs in any other name drops all, on nobody's account.
fn can_be_met(input: &Input<'_>) -> bool {
    LENGTHS.contains(&input.frame.len())
        && (!AT_SLAVES.contains(&input.hook) || world::identity(input.me).entry.network != 0)
}

/// Runs the corpus in the folder [`FOLDER`] through `decide` and through the programs, as far as the kernel can be given it.
pub(crate) fn replay(kernel: &mut Kernel) -> Result<()> {
    let folder = env::var_os(FOLDER).context("no folder of the fuzzer's")?;
    let folder = Path::new(&folder);
    let mut replayed = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let bytes = fs::read(entry?.path())?;
        let Some(input) = Input::decode(&bytes).filter(can_be_met) else {
            continue;
        };
        let mut row = Row {
            name: "found by the fuzzer",
            hook: input.hook,
            me: input.me,
            frame: input.frame.to_vec(),
            seal: (input.metadata.tc_index, input.metadata.hash),
            vlan: input.metadata.vlan,
            origin: match input.metadata.origin {
                Sender::Host => Origin::Here,
                Sender::Slave => Origin::Elsewhere,
                Sender::Forwarded => Origin::Forwarded,
            },
            verdict: Verdict::Pass,
        };
        row.verdict = host_verdict(&row)?;
        replayed.push(row);
    }
    ensure!(!replayed.is_empty(), "no input in {}", folder.display());
    println!("{} inputs of the fuzzer:\n{}", replayed.len(), differential::agree_all(kernel, &replayed)?);
    Ok(())
}
