//! `ipvlan-ctl stats`.

use clap::Args;
use comfy_table::{Cell, CellAlignment};

use super::{
    Format,
    render::{json, or_dash, print_table},
};
use crate::service::{Error, Report, Root};

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Names of endpoints or parents; all where none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Stats {
    pub(super) fn execute(self, root: &Root, format: Format) -> Result<u8, Error> {
        let stats = Report::read(root)?.stats(&self.names)?;
        if format == Format::Json {
            json(&stats);
            return Ok(0);
        }
        let number = |number: u64| Cell::new(number).set_alignment(CellAlignment::Right);
        let rows = stats.iter().map(|row| {
            let reasons: Vec<_> =
                row.drops_by_reason.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            vec![
                Cell::new(&row.name),
                Cell::new(row.network.as_deref().unwrap_or("(parent)")),
                number(row.tx_packets),
                number(row.tx_bytes),
                number(row.rx_packets),
                number(row.rx_bytes),
                number(row.drops),
                Cell::new(or_dash(reasons.join(", "))),
            ]
        });
        let header =
            ["NAME", "NETWORK", "TX PACKETS", "TX BYTES", "RX PACKETS", "RX BYTES", "DROPS", "BY REASON"];
        print_table(&header, rows);
        Ok(0)
    }
}
