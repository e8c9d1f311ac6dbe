//! `ipvlan-ctl stats`.

use clap::Args;
use comfy_table::{Cell, CellAlignment};

use super::{
    Format,
    render::{json, lines, print_table},
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
        let traffic = |packets: u64, bytes: u64| {
            lines([format!("{packets} frames"), format!("{bytes} bytes")]).set_alignment(CellAlignment::Right)
        };
        let rows = stats.iter().map(|row| {
            let reasons = row.drops_by_reason.iter().map(|(reason, count)| format!("{count} {reason}"));
            vec![
                Cell::new(&row.name),
                Cell::new(row.network.as_deref().unwrap_or("(parent)")),
                traffic(row.tx_packets, row.tx_bytes),
                traffic(row.rx_packets, row.rx_bytes),
                lines(reasons),
            ]
        });
        print_table(&["NAME", "NETWORK", "SENT", "RECEIVED", "DROPPED"], rows);
        Ok(0)
    }
}
