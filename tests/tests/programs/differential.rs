//! Frames made by chance, and every cut of those of the rows, through `decide` and through the loaded programs.
//!
//! Not reached: frames that the kernel keeps in fragments, and its own copies of what a device sends to a group; the test run makes neither.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
};

use anyhow::{Context as _, Result, bail, ensure};
use ipvlan_common::{Hook, Verdict};

use crate::{
    chance::Chance,
    host_verdict,
    kernel::{self, Kernel},
    rows::{self, Row},
};

/// Frames in one go, unless `IPVLAN_FRAMES` says otherwise.
const FRAMES: usize = 20_000;
/// As many must show whatever the rows show.
const MANY: usize = 100_000;
/// Frames between two looks at all counters.
const BATCH: usize = 1_000;
/// Shortest frame that the kernel makes.
const SHORTEST: usize = 14;

/// Runs the frames; a failure names the seed, by which `IPVLAN_SEED` repeats it.
pub(crate) fn check(kernel: &mut Kernel) -> Result<()> {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
    let frames = number("IPVLAN_FRAMES")?.map_or(Ok(FRAMES), usize::try_from)?;
    let seed = number("IPVLAN_SEED")?.unwrap_or_else(rand::random);
    let mut chance = Chance::new(seed)?;
    let mut seen = Seen::default();
    let mut run = 0;
    while run < frames {
        let batch = (0..BATCH).map(|_| chance.row()).collect::<Result<Vec<_>>>()?;
        agree(kernel, &batch).with_context(|| format!("IPVLAN_SEED={seed}"))?;
        batch.iter().for_each(|row| seen.add(row));
        run += batch.len();
    }
    println!("{run} frames agree; IPVLAN_SEED={seed}\n{}", seen.table()?);
    if run >= MANY {
        seen.covers_the_rows()?;
    }
    Ok(())
}

/// Runs every row's frame cut at every length.
pub(crate) fn cuts(kernel: &mut Kernel) -> Result<()> {
    let mut seen = Seen::default();
    for row in rows::rows()? {
        let cut = |length| -> Result<Row> {
            let mut cut = Row { frame: row.frame[..length].to_vec(), ..row.clone() };
            cut.verdict = host_verdict(&cut)?;
            Ok(cut)
        };
        let batch = (SHORTEST..row.frame.len()).map(cut).collect::<Result<Vec<_>>>()?;
        agree(kernel, &batch)?;
        batch.iter().for_each(|row| seen.add(row));
    }
    println!("cuts agree\n{}", seen.table()?);
    Ok(())
}

/// Runs all of these; returns what has come of them.
pub(crate) fn agree_all(kernel: &mut Kernel, rows: &[Row]) -> Result<String> {
    let mut seen = Seen::default();
    for batch in rows.chunks(BATCH) {
        agree(kernel, batch)?;
        batch.iter().for_each(|row| seen.add(row));
    }
    seen.table()
}

/// Holds what the programs do and count against the verdicts.
fn agree(kernel: &mut Kernel, batch: &[Row]) -> Result<()> {
    let mut counters = kernel.counters()?;
    for row in batch {
        let outcome = kernel.run(row).with_context(|| describe(row))?;
        let expected = kernel::expect(&mut counters, row)?;
        ensure!(
            outcome == expected,
            "the program made {outcome:x?}, not {expected:x?}, of {}",
            describe(row)
        );
    }
    if kernel::compare(&counters, &kernel.counters()?).is_err() {
        // Some frame of the batch was counted otherwise: one by one, it shows itself.
        for row in batch {
            kernel.check(row).with_context(|| describe(row))?;
        }
        bail!("the batch was counted otherwise, but none of its frames is");
    }
    Ok(())
}

fn describe(row: &Row) -> String {
    let hex: String = row.frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let Row { hook, me, seal, vlan, origin, verdict, .. } = row;
    format!(
        "{hex} at {hook:?} of slot {me}, sealed {seal:x?}, VLAN {vlan:?}, from {origin:?}; decide says {verdict:?}"
    )
}

/// How often each hook has come to each verdict.
#[derive(Default)]
struct Seen(BTreeMap<(&'static str, &'static str), usize>);

impl Seen {
    fn add(&mut self, row: &Row) {
        *self.0.entry(outcome(row)).or_default() += 1;
    }

    /// A line for each hook: what part of its frames it accepted, and what it made of how many.
    fn table(&self) -> Result<String> {
        let mut table = String::new();
        for hook in Hook::ALL {
            let counts = || self.0.iter().filter(move |((at, _), _)| *at == hook.name());
            let total: usize = counts().map(|(_, count)| count).sum();
            let accepted: usize =
                counts().filter(|((_, name), _)| is_accepted(name)).map(|(_, count)| count).sum();
            let percent = 100 * accepted / total.max(1);
            write!(table, "  {}: {accepted} of {total} accepted ({percent} %):", hook.name())?;
            for ((_, name), count) in counts() {
                write!(table, " {name} {count}")?;
            }
            writeln!(table)?;
        }
        Ok(table)
    }

    /// Whether all that the rows show has come by.
    fn covers_the_rows(&self) -> Result<()> {
        let shown: BTreeSet<_> = rows::rows()?.iter().map(outcome).collect();
        let missing: Vec<_> = shown.iter().filter(|it| !self.0.contains_key(*it)).collect();
        ensure!(missing.is_empty(), "chance made none of {missing:?}");
        Ok(())
    }
}

const ACCEPTED: [&str; 10] =
    ["PASS", "SEAL", "RESEAL", "OPEN", "DELIVER", "ANSWER", "ASIDE", "RESTORE", "TURN", "ADMIT"];

fn is_accepted(name: &str) -> bool {
    ACCEPTED.contains(&name)
}

/// The hook, and the verdict or the reason to drop.
fn outcome(row: &Row) -> (&'static str, &'static str) {
    let [pass, seal, reseal, open, deliver, answer, aside, restore, turn, admit] = ACCEPTED;
    let name = match row.verdict {
        Verdict::Pass => pass,
        Verdict::Seal { slot, .. } if slot == row.me => seal,
        Verdict::Seal { .. } => reseal,
        Verdict::Open => open,
        Verdict::Deliver { .. } => deliver,
        Verdict::Answer { .. } => answer,
        Verdict::Aside { .. } => aside,
        Verdict::Restore => restore,
        Verdict::Turn { .. } => turn,
        Verdict::Admit { .. } => admit,
        Verdict::Drop { reason, .. } => reason.name(),
    };
    (row.hook.name(), name)
}
