//! What programs built with the feature `log` say, read as `ipvlan-ctl log` does.

use std::sync::mpsc;

use anyhow::{Result, ensure};
use ipvlan_common::{Hook, Verdict};
use ipvlan_ctl::bpf::Verdicts;

use crate::{
    events,
    kernel::Kernel,
    rows::{self, Row},
    world::{A, B, LAN, ip4},
};

/// A drop, and an accepted frame of each hook that has one.
pub(crate) fn check(kernel: &mut Kernel) -> Result<()> {
    let (sender, lines) = mpsc::channel();
    let mut verdicts = Verdicts::open(kernel.pins(), move |line| drop(sender.send(line.to_owned())))?;
    // Other tests' lines, if they ran before.
    verdicts.flush();
    lines.try_iter().for_each(drop);
    let mut says = |kernel: &mut Kernel, row: &Row| -> Result<Vec<String>> {
        kernel.run(row)?;
        verdicts.flush();
        Ok(lines.try_iter().collect())
    };
    let said = says(kernel, &events::spoof()?)?;
    let expected = format!("slave-egress  slot {A}  drop source-ipv4  {} → {LAN}", ip4(B));
    ensure!(
        said.len() as u64 == Kernel::RUNS && said.iter().all(|line| *line == expected),
        "{said:?}, not {expected:?}"
    );
    for hook in Hook::ALL {
        let accepted = |row: &&Row| row.hook == hook && !matches!(row.verdict, Verdict::Drop { .. });
        let rows = rows::rows()?;
        let Some(row) = rows.iter().find(accepted) else { continue };
        let said = says(kernel, row)?;
        let start = format!("{}  slot {}  ", hook.name(), row.me);
        ensure!(
            said.len() as u64 == Kernel::RUNS
                && said.iter().all(|line| line.starts_with(&start) && !line.contains("drop")),
            "{}: {said:?}",
            row.name
        );
    }
    Ok(())
}
