//! `ipvlan-ctl audit`.

mod attack;
mod html;

#[cfg(test)]
pub(super) use attack::Report as AttackReport;
use clap::Args;
use comfy_table::{Cell, Color};

use super::{
    Format,
    progress::shown,
    render::{json, print_wrapped_table},
};
use crate::service::{
    Error, Root,
    audit::{Evidence, Risk, Severity, judge},
};

const HELP: &str = "\
Holds this machine against what its networks promise, and changes nothing:
programs and map entries where they belong, the parents' mode and flag, slaves
and addresses of others, privileged processes in endpoints' namespaces, and
settings that weaken it all.

With --attack it looks at no network of yours, but builds a host, a LAN and
endpoints of its own in network namespaces, throws everything it knows at stock
ipvlan and at itself, and shows what came through, side by side. It uses ip(8)
and tc(8), and takes some minutes.

Exit status: 0 where nothing weighs more than 'low', else that of the heaviest:
3 medium, 4 high, 5 critical; 1 where the audit itself failed. With --attack, 5
where an attack came through, 4 where something failed that must work.

Examples:
  ipvlan-ctl audit
  ipvlan-ctl audit --network db_net --format json
  ipvlan-ctl audit --attack --report report.html
  ipvlan-ctl audit --attack --mode l2 --flag private --case source-";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Audit {
    /// Only endpoints and the parent of this network
    #[arg(long, value_name = "NAME", conflicts_with = "attack")]
    network: Option<String>,
    /// Throw attacks at stock ipvlan and at ours, in a sandbox
    #[arg(long)]
    attack: bool,
    #[command(flatten)]
    how: attack::How,
}

impl Audit {
    pub(super) fn execute(&self, root: &Root, format: Format) -> Result<u8, Error> {
        if self.attack {
            return self.how.execute(format);
        }
        let evidence = shown(format, "audit", || Evidence::gather(root, self.network.as_deref()));
        let risks = judge(&evidence?);
        if format == Format::Json {
            json(&risks);
        } else if risks.is_empty() {
            println!("nothing found");
        } else {
            let header = ["SEVERITY", "CHECK", "OBJECT", "EVIDENCE", "ADVICE"];
            print_wrapped_table(&header, risks.iter().map(cells));
        }
        Ok(risks.iter().map(|risk| status(risk.severity)).max().unwrap_or(0))
    }
}

const fn status(severity: Severity) -> u8 {
    match severity {
        Severity::Low => 0,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}

fn cells(risk: &Risk) -> Vec<Cell> {
    let Risk { severity, check, object, evidence, advice } = risk;
    let color = match severity {
        Severity::Low => Color::Grey,
        Severity::Medium => Color::Yellow,
        Severity::High | Severity::Critical => Color::Red,
    };
    let severity = Cell::new(severity.as_str()).fg(color);
    vec![severity, Cell::new(check), Cell::new(object), Cell::new(evidence), Cell::new(advice)]
}
