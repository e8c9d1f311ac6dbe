//! `ipvlan-ctl doctor`.

use clap::Args;
use comfy_table::{Cell, Color};

use super::{
    Format,
    render::{json, print_wrapped_table},
};
use crate::service::{
    Error, Root,
    doctor::{Findings, Row, Status, judge},
};

const HELP: &str = "\
Changes nothing, and says what it could not find out; as root it finds out all.
The exit status is 1 where something is missing that networks need.

Examples:
  ipvlan-ctl doctor
  ipvlan-ctl doctor eth0 --format json";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Doctor {
    /// Interfaces to check as parents; where none is given, those in use and
    /// physical ones
    #[arg(value_name = "PARENT")]
    parents: Vec<String>,
}

impl Doctor {
    pub(super) fn execute(&self, root: &Root, format: Format) -> Result<u8, Error> {
        let rows = judge(&Findings::gather(root, &self.parents));
        if format == Format::Json {
            json(&rows);
        } else {
            print_wrapped_table(&["CHECK", "STATUS", "FOUND", "ADVICE"], rows.iter().map(cells));
        }
        Ok(u8::from(rows.iter().any(|row| row.status == Status::Missing)))
    }
}

fn cells(row: &Row) -> Vec<Cell> {
    let Row { check, parent, status, found, advice } = row;
    let check = parent.as_ref().map_or_else(|| (*check).into(), |parent| format!("{parent} {check}"));
    let color = match status {
        Status::Ok => Color::Green,
        Status::Degraded => Color::Yellow,
        Status::Missing => Color::Red,
        Status::Unknown => Color::Grey,
    };
    let advice = advice.as_deref().unwrap_or_default();
    vec![Cell::new(check), Cell::new(status.as_str()).fg(color), Cell::new(found), Cell::new(advice)]
}
