//! `ipvlan-ctl monitor`.

use std::num::NonZeroU64;

use clap::Args;
use serde::Serialize;

use super::{Format, render::json_line};
use crate::{
    bpf::Lost,
    service::{Dropped, Error, Monitor as Source, Packet, Root, Seen},
};

const HELP: &str = "\
Shows drops from now on, until it is interrupted. What 'stats' counts is exact;
this is a sample where drops are many, and says how many it does not show.

Examples:
  ipvlan-ctl monitor --endpoint ipv1 --reason source-ipv4
  ipvlan-ctl monitor --format json --count 10";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Monitor {
    /// Only drops of this endpoint or parent; may be given several times
    #[arg(long = "endpoint", value_name = "NAME")]
    endpoints: Vec<String>,
    /// Only drops for this reason; may be given several times
    #[arg(long = "reason", value_name = "NAME")]
    reasons: Vec<String>,
    /// End after so many drops
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
}

/// A line that stands for drops that aren't shown.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct LostLine {
    /// How many, of any endpoint and reason, since the last such line.
    lost: Lost,
}

impl Monitor {
    pub(super) fn execute(&self, root: &Root, format: Format) -> Result<u8, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(Error::Wait)?.block_on(self.show(root, format))
    }

    async fn show(&self, root: &Root, format: Format) -> Result<u8, Error> {
        let mut source = Source::start(root, &self.endpoints, &self.reasons)?;
        let mut left = self.count.map_or(u64::MAX, NonZeroU64::get);
        while left > 0 {
            match source.next().await? {
                Seen::Dropped(dropped) => {
                    left -= 1;
                    print(&dropped, format);
                }
                Seen::Lost(lost) => print_lost(lost, format),
                Seen::End => break,
            }
        }
        print_lost(source.take_lost()?, format);
        Ok(0)
    }
}

fn print(dropped: &Dropped, format: Format) {
    match format {
        Format::Json => json_line(dropped),
        Format::Table => println!("{}", line(dropped)),
    }
}

fn print_lost(lost: Lost, format: Format) {
    match format {
        _ if lost.total() == 0 => {}
        Format::Json => json_line(&LostLine { lost }),
        Format::Table => println!(
            "{} drops not shown: {} over the rate, {} with the buffer full",
            lost.total(),
            lost.rate_limited,
            lost.ring_full
        ),
    }
}

fn line(dropped: &Dropped) -> String {
    let Dropped { time, name, network, hook, reason, packet, length } = dropped;
    let Packet { source_mac, destination_mac, protocol, source, destination, source_port, destination_port } =
        packet;
    let name = name.as_deref().unwrap_or("(gone)");
    let network = network.as_deref().unwrap_or("-");
    let end = |address: Option<String>, mac: &Option<String>| {
        address.or_else(|| mac.clone()).unwrap_or_else(|| "?".into())
    };
    let from = end(source.map(|it| it.to_string()), source_mac);
    let to = end(destination.map(|it| it.to_string()), destination_mac);
    let ports = match (source_port, destination_port) {
        (Some(source), Some(destination)) => format!(" {source} → {destination}"),
        _ => String::new(),
    };
    format!("{time}  {name}  {network}  {hook}  {reason}  {from} → {to}  {protocol}{ports}  {length} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped() -> Dropped {
        Dropped {
            time: "2026-01-01T00:00:00.000Z".into(),
            name: Some("ipv1".into()),
            network: Some("db_net".into()),
            hook: "slave-egress",
            reason: "source-ipv4",
            packet: Packet {
                source_mac: Some("02:00:00:00:00:01".into()),
                destination_mac: Some("02:00:00:00:00:09".into()),
                protocol: "udp".into(),
                source: "192.168.1.66".parse().ok(),
                destination: "192.168.1.1".parse().ok(),
                source_port: Some(4242),
                destination_port: Some(53),
            },
            length: 60,
        }
    }

    #[test]
    fn one_line_says_who_where_why_and_what() {
        assert_eq!(
            line(&dropped()),
            "2026-01-01T00:00:00.000Z  ipv1  db_net  slave-egress  source-ipv4  192.168.1.66 → 192.168.1.1  udp 4242 → 53  60 bytes"
        );
    }

    #[test]
    fn without_addresses_the_macs_are_shown() {
        let mut dropped = dropped();
        let protocol = "0x88cc".into();
        let Packet { source_mac, destination_mac, .. } = dropped.packet;
        dropped.packet = Packet { source_mac, destination_mac, protocol, ..Packet::default() };
        (dropped.name, dropped.network) = (None, None);
        assert!(line(&dropped).ends_with(
            "(gone)  -  slave-egress  source-ipv4  02:00:00:00:00:01 → 02:00:00:00:00:09  0x88cc  60 bytes"
        ));
    }
}
