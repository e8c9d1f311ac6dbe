//! Everything that enforcement may leave behind, so that two moments can be compared.

use std::{collections::BTreeSet, fmt, path::Path};

use anyhow::{Context as _, Result};
use aya::programs::{SchedClassifier, TcAttachType};
use serde_json::Value;

use crate::{Netns, Sandbox, netns::run};

/// What `ipvlan-ctl` marks its routes on the host with.
const ROUTES: u8 = 118;

/// Links, queueing disciplines, filters, TCX programs, routes of ours, pins and rows, one line each.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at the sandbox's host and LAN, at `others`, and at what `ipvlan-ctl` keeps.
    ///
    /// # Errors
    /// Fails if something can't be listed.
    pub fn take(sandbox: &Sandbox, others: &[&Netns]) -> Result<Self> {
        let mut lines = BTreeSet::new();
        for netns in [&sandbox.host, &sandbox.lan].into_iter().chain(others.iter().copied()) {
            devices(netns, &mut lines)?;
        }
        pins(sandbox.pins(), &mut lines)?;
        for list in ["network ls", "ps"] {
            let rows: Vec<Value> = sandbox.ctl_json(list)?;
            lines.extend(rows.iter().map(|row| format!("{list}: {}", row["name"])));
        }
        Ok(Self(lines))
    }

    /// How many programs are on an interface.
    #[must_use]
    pub fn programs_on(&self, netns: &Netns, ifname: &str) -> usize {
        let at = format!("{} {ifname} ", netns.name());
        let is_program =
            |line: &&String| line.contains("tcx") || line.contains("bpf") && line.contains("handle");
        self.0.iter().filter(|line| line.starts_with(&at)).filter(is_program).count()
    }

    /// What is here and wasn't in `earlier`, or the other way round; empty if nothing changed.
    #[must_use]
    pub fn changes(&self, earlier: &Self) -> Vec<String> {
        let new = self.0.difference(&earlier.0).map(|line| format!("left: {line}"));
        let gone = earlier.0.difference(&self.0).map(|line| format!("gone: {line}"));
        new.chain(gone).collect()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(&self.0).finish()
    }
}

fn devices(netns: &Netns, lines: &mut BTreeSet<String>) -> Result<()> {
    let links: Vec<Value> =
        serde_json::from_str(&netns.ip("-json -details link show")?).context("read ip's JSON")?;
    for link in &links {
        let name = link["ifname"].as_str().context("a link without a name")?;
        let at = format!("{} {name}", netns.name());
        lines.insert(format!("{at}: {}", link["linkinfo"]["info_kind"]));
        for side in ["ingress", "egress"] {
            let filters = netns.tc(&format!("filter show dev {name} {side}")).unwrap_or_default();
            lines.extend(filters.lines().map(|filter| format!("{at} {side}: {filter}")));
        }
        let ifindex = netns.ifindex(name)?;
        for (side, attach_type) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
            // Older kernels have no TCX to ask about.
            let programs = netns.enter(|| Ok(SchedClassifier::query_tcx(ifindex, attach_type)))?;
            for program in programs.map(|(_revision, programs)| programs).unwrap_or_default() {
                lines.insert(format!("{at} tcx {side}: program {}", program.id()));
            }
        }
    }
    for family in ["-4", "-6"] {
        let routes = netns.ip(&format!("{family} route show proto {ROUTES}"))?;
        lines.extend(routes.lines().map(|route| format!("{} {family}: {route}", netns.name())));
    }
    let qdiscs = netns.tc("qdisc show")?;
    lines.extend(qdiscs.lines().map(|qdisc| format!("{}: {qdisc}", netns.name())));
    Ok(())
}

/// Files only: empty directories pin nothing.
fn pins(directory: &Path, lines: &mut BTreeSet<String>) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let found = run(std::process::Command::new("find").arg(directory).args(["-type", "f"]))?;
    lines.extend(found.lines().map(|path| format!("pin: {path}")));
    Ok(())
}
