//! `ipvlan-ctl stats`.

use std::{
    io::{self, IsTerminal as _},
    num::NonZeroU32,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use comfy_table::{Cell, CellAlignment};

use super::{
    Format,
    render::{json, json_line, lines, print_table},
};
use crate::service::{Error, Report, Root, StatsReport};

const HELP: &str = "\
Examples:
  ipvlan-ctl stats ipv1 eth0
  ipvlan-ctl stats --networks --watch
  ipvlan-ctl stats --watch=10 --count 6 --format json";

/// Clears a terminal and puts the cursor into its first corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Stats {
    /// Names of endpoints or parents, with --networks of networks; all where none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Show networks: each the sum of the endpoints that it has
    #[arg(long)]
    networks: bool,
    /// Show them again every so many seconds, with rates, until it is interrupted; as JSON, a line each time
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", require_equals = true)]
    watch: Option<NonZeroU32>,
    /// End after so many times
    #[arg(long, value_name = "N", requires = "watch")]
    count: Option<NonZeroU32>,
}

impl Stats {
    pub(super) fn execute(self, root: &Root, format: Format) -> Result<u8, Error> {
        let stats = self.read(root)?;
        match self.watch {
            Some(interval) => {
                return self.watch(root, format, Duration::from_secs(interval.get().into()), stats);
            }
            None if format == Format::Json => json(&stats),
            None => print(&stats),
        }
        Ok(0)
    }

    fn read(&self, root: &Root) -> Result<Vec<StatsReport>, Error> {
        let report = Report::read(root)?;
        if self.networks { report.network_stats(&self.names) } else { report.stats(&self.names) }
    }

    fn watch(
        &self,
        root: &Root,
        format: Format,
        interval: Duration,
        mut earlier: Vec<StatsReport>,
    ) -> Result<u8, Error> {
        let mut then = Instant::now();
        for _ in 0..self.count.map_or(u32::MAX, NonZeroU32::get) {
            thread::sleep(interval);
            let mut stats = self.read(root)?;
            let elapsed = then.elapsed();
            then = Instant::now();
            stats.iter_mut().for_each(|row| row.compare(&earlier, elapsed));
            if format == Format::Json {
                json_line(&stats);
            } else {
                if io::stdout().is_terminal() {
                    print!("{CLEAR}");
                }
                print(&stats);
            }
            earlier = stats;
        }
        Ok(0)
    }
}

fn print(stats: &[StatsReport]) {
    let rows =
        stats.iter().map(|row| {
            let place = match row.kind {
                "endpoint" => row.network.as_deref().unwrap_or("-"),
                "network" => "(network)",
                _ => "(parent)",
            };
            let reasons = row.drops_by_reason.iter().map(|(reason, count)| format!("{count} {reason}"));
            let rates = row.rates;
            let requests = [(row.answered, "answered"), (row.aside, "to the wire alone")];
            let requests = requests.into_iter().filter(|(count, _)| *count > 0);
            vec![
                Cell::new(&row.name),
                Cell::new(place),
                traffic(row.tx_packets, row.tx_bytes, rates.map(|rates| (rates.tx_packets, rates.tx_bytes))),
                traffic(row.rx_packets, row.rx_bytes, rates.map(|rates| (rates.rx_packets, rates.rx_bytes))),
                lines(requests.map(|(count, what)| format!("{count} {what}"))),
                lines(reasons.chain(
                    rates.filter(|rates| rates.drops > 0.0).map(|rates| format!("{:.0}/s", rates.drops)),
                )),
            ]
        });
    print_table(&["NAME", "NETWORK", "SENT", "RECEIVED", "ASKED", "DROPPED"], rows);
}

fn traffic(packets: u64, bytes: u64, rates: Option<(f64, f64)>) -> Cell {
    let mut cell = vec![format!("{packets} frames"), format!("{bytes} bytes")];
    if let Some((packets, bytes)) = rates {
        cell.extend([format!("{packets:.0} frames/s"), format!("{:.3} Mbit/s", bytes * 8.0 / 1e6)]);
    }
    lines(cell).set_alignment(CellAlignment::Right)
}
