//! `ipvlan-ctl reconcile`.

use clap::Args;

use super::{
    Format,
    progress::shown,
    render::{json, lines, outcome, print_warnings, print_wrapped_table},
};
use crate::service::{Error, Root, reconcile};

const HELP: &str = "\
Looks at namespaces, slaves, programs, pins and map entries, and prints what
isn't as it was made. What can be mended is: programs and entries are put back,
what a killed command, a removed namespace or a reboot left is cleared away.
The rest is left to you, with a word on what to do: slaves that are gone or were
moved, parents that are gone, and slaves and addresses of others.

Exit status: 0 where all is well or mended, 1 where something is left; with
--dry-run 1 where there is anything.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Reconcile {
    /// Change nothing, only show what would be mended
    #[arg(long)]
    dry_run: bool,
}

impl Reconcile {
    pub(super) fn execute(self, root: &Root, format: Format) -> Result<u8, Error> {
        let reconciled = shown(format, "reconcile", || reconcile(root, self.dry_run))?;
        print_warnings(&reconciled.warnings);
        let status = u8::from(!reconciled.is_well());
        if format == Format::Json {
            json(&reconciled.findings);
        } else if !reconciled.findings.is_empty() {
            let rows = reconciled.findings.iter().map(|finding| {
                let texts = [finding.object.clone(), finding.found.clone(), format!("  {}", finding.action)];
                vec![outcome(finding.outcome), lines(texts)]
            });
            print_wrapped_table(&["OUTCOME", "FOUND"], rows);
        }
        Ok(status)
    }
}
