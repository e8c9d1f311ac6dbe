//! docs/rules.md, made from the rows: what it says is what the rows show.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use ipvlan_common::{DropReason, Hook, Verdict};
use ipvlan_ctl::model::Mode;

use crate::{
    rows::{Row, rows},
    world::{self, VEPA_PARENT},
};

const HOOKS: [(Hook, &str); 6] = [
    (Hook::SlaveEgress, "slave egress"),
    (Hook::SlaveIngress, "slave ingress"),
    (Hook::ParentIngress, "parent ingress"),
    (Hook::ParentEgress, "parent egress"),
    (Hook::LoopbackEgress, "`lo` egress"),
    (Hook::ParentXdp, "parent XDP"),
];

const INTRODUCTION: &str = "\
# Rules

What is dropped, at which hook, and in which modes a test row shows it: through the pure verdict and through the loaded program, with the
counter asserted (`tests/tests/programs/rows`). A rule that doesn't look at the mode is shown in l2 alone. A frame is judged where it
enters and again where it comes out, so most rules stand on two hooks, one of which the sender does not own.

This page is made from the rows: `IPVLAN_UPDATE_DOCS=1 cargo xtask test --only programs` writes it, and the suite fails where it differs.
";

/// Holds the page against the rows, or writes it where the environment says so.
pub(crate) fn check() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    let page = page(&rows()?)?;
    if std::env::var_os("IPVLAN_UPDATE_DOCS").is_some() {
        return fs::write(&path, page).with_context(|| format!("write {}", path.display()));
    }
    let found = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    ensure!(found == page, "docs/rules.md is not what the rows say; IPVLAN_UPDATE_DOCS=1 writes it anew");
    Ok(())
}

fn page(rows: &[Row]) -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    let names: Vec<_> = HOOKS.iter().map(|(_, name)| *name).collect();
    write!(
        page,
        "\n| reason | what is dropped | {} |\n|---|---|{}\n",
        names.join(" | "),
        "---|".repeat(HOOKS.len())
    )?;
    for reason in DropReason::ALL {
        let cells: Vec<_> = HOOKS.iter().map(|(hook, _)| modes(rows, *reason, *hook)).collect();
        ensure!(cells.iter().any(|cell| !cell.is_empty()), "no row shows a drop for {}", reason.name());
        writeln!(page, "| `{}` |{} | {} |", reason.name(), reason.meaning(), cells.join(" | "))?;
    }
    Ok(page)
}

/// In which modes rows show that `hook` drops for `reason`.
fn modes(rows: &[Row], reason: DropReason, hook: Hook) -> String {
    let shown = |row: &&Row| {
        row.hook == hook && matches!(row.verdict, Verdict::Drop { reason: dropped, .. } if dropped == reason)
    };
    let modes: BTreeSet<_> = rows.iter().filter(shown).map(mode).collect();
    modes.into_iter().collect::<Vec<_>>().join(", ")
}

/// The mode that the row's frame is about: its sender's where the seal or the verdict names one, else the hook's own.
fn mode(row: &Row) -> &'static str {
    let charged = match row.verdict {
        Verdict::Drop { slot, .. } => slot,
        _ => row.me,
    };
    if row.me == VEPA_PARENT {
        return "vepa";
    }
    if row.hook == Hook::LoopbackEgress {
        return "l3, l3s";
    }
    let endpoints = world::endpoints();
    endpoints.iter().find(|it| it.slot == charged).map_or(Mode::L2, |it| it.mode).as_str()
}
