//! What `stats` shows.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{Error, Report};
use crate::bpf::Counters;

/// What an endpoint, a network's endpoints together, or a parent towards the wire, has let through and refused.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StatsReport {
    /// The name of the endpoint, of the network, or of the parent interface.
    pub name: String,
    /// `endpoint`, `network` or `parent`.
    pub kind: &'static str,
    /// The endpoint's network.
    pub network: Option<String>,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Requests for a neighbour's address that were answered on the spot; a parent's are those of the wire.
    pub answered: u64,
    /// Requests for a neighbour's address that went to the wire and to no other endpoint.
    pub aside: u64,
    /// Frames refused.
    pub drops: u64,
    /// Frames refused, by reason.
    pub drops_by_reason: BTreeMap<&'static str, u64>,
    /// What came in a second, of late; only where the counters are watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
}

/// Frames and bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rates {
    /// Frames sent in a second.
    pub tx_packets: f64,
    /// Bytes sent in a second.
    pub tx_bytes: f64,
    /// Frames received in a second.
    pub rx_packets: f64,
    /// Bytes received in a second.
    pub rx_bytes: f64,
    /// Frames refused in a second.
    pub drops: f64,
}

impl StatsReport {
    fn new(name: String, kind: &'static str, network: Option<String>, counters: &Counters) -> Self {
        let Counters { tx_packets, tx_bytes, rx_packets, rx_bytes, answered, aside, drops } = counters;
        Self {
            name,
            kind,
            network,
            tx_packets: *tx_packets,
            tx_bytes: *tx_bytes,
            rx_packets: *rx_packets,
            rx_bytes: *rx_bytes,
            answered: *answered,
            aside: *aside,
            drops: drops.iter().map(|(_, count)| count).sum(),
            drops_by_reason: drops.iter().map(|(reason, count)| (reason.name(), *count)).collect(),
            rates: None,
        }
    }

    fn add(&mut self, other: &Self) {
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.answered += other.answered;
        self.aside += other.aside;
        self.drops += other.drops;
        for (reason, count) in &other.drops_by_reason {
            *self.drops_by_reason.entry(reason).or_default() += count;
        }
    }

    /// Works out the rates from the same row `elapsed` ago. One that has begun anew since then has none for once.
    pub fn compare(&mut self, earlier: &[Self], elapsed: Duration) {
        let is_same = |row: &&Self| row.kind == self.kind && row.name == self.name;
        let Some(earlier) = earlier.iter().find(is_same) else { return };
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact figure")]
        let rate =
            |now: u64, then: u64| now.checked_sub(then).map(|rise| rise as f64 / elapsed.as_secs_f64());
        self.rates = (|| {
            Some(Rates {
                tx_packets: rate(self.tx_packets, earlier.tx_packets)?,
                tx_bytes: rate(self.tx_bytes, earlier.tx_bytes)?,
                rx_packets: rate(self.rx_packets, earlier.rx_packets)?,
                rx_bytes: rate(self.rx_bytes, earlier.rx_bytes)?,
                drops: rate(self.drops, earlier.drops)?,
            })
        })();
    }
}

impl Report {
    /// The counters of the endpoints and parents called so, or of all; endpoints first.
    pub fn stats(&self, names: &[String]) -> Result<Vec<StatsReport>, Error> {
        select(self.all_stats()?, names, Error::NoStats)
    }

    /// The counters of the networks called so, or of all: each the sum of its endpoints'. What endpoints that are gone had counted
    /// isn't in it.
    pub fn network_stats(&self, names: &[String]) -> Result<Vec<StatsReport>, Error> {
        let endpoints = self.all_stats()?;
        let networks = self.networks.iter().map(|network| {
            let name = network.spec.name.as_str();
            let mut sum = StatsReport::new(name.to_owned(), "network", None, &Counters::default());
            endpoints.iter().filter(|row| row.network.as_deref() == Some(name)).for_each(|row| sum.add(row));
            sum
        });
        select(networks.collect(), names, Error::NoNetwork)
    }

    fn all_stats(&self) -> Result<Vec<StatsReport>, Error> {
        let counters = |slot| {
            self.dataplane
                .as_ref()
                .map_or_else(|| Ok(Counters::default()), |dataplane| dataplane.counters(slot))
        };
        let row = |(name, slot, network): (String, _, Option<String>)| {
            let kind = if network.is_some() { "endpoint" } else { "parent" };
            Ok(StatsReport::new(name, kind, network, &counters(slot)?))
        };
        self.counted().into_iter().map(row).collect()
    }
}

/// The rows called so, or all.
fn select(
    mut rows: Vec<StatsReport>,
    names: &[String],
    unknown: fn(String) -> Error,
) -> Result<Vec<StatsReport>, Error> {
    if let Some(name) = names.iter().find(|name| !rows.iter().any(|row| row.name == **name)) {
        return Err(unknown(name.clone()));
    }
    rows.retain(|row| names.is_empty() || names.contains(&row.name));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use ipvlan_common::DropReason;

    use super::*;

    fn row(tx_packets: u64, drops: &[(DropReason, u64)]) -> StatsReport {
        let counters = Counters { tx_packets, drops: drops.to_vec(), ..Counters::default() };
        StatsReport::new("a".into(), "endpoint", None, &counters)
    }

    #[test]
    fn rates_are_by_the_second() {
        let mut now = row(30, &[(DropReason::Flood, 8)]);
        now.compare(&[row(10, &[(DropReason::Flood, 3)])], Duration::from_secs(2));
        let rates = now.rates.unwrap();
        assert_eq!((rates.tx_packets, rates.rx_packets, rates.drops), (10.0, 0.0, 2.5));
    }

    #[test]
    fn what_began_anew_has_no_rates() {
        let mut now = row(3, &[]);
        now.compare(&[row(10, &[])], Duration::from_secs(1));
        assert_eq!(now.rates, None);
        let mut new = row(3, &[]);
        new.compare(&[], Duration::from_secs(1));
        assert_eq!(new.rates, None);
    }

    #[test]
    fn a_network_is_the_sum_of_its_endpoints() {
        let mut sum = row(1, &[(DropReason::Flood, 1)]);
        sum.add(&row(2, &[(DropReason::Flood, 2), (DropReason::Private, 4)]));
        assert_eq!((sum.tx_packets, sum.drops), (3, 7));
        assert_eq!(sum.drops_by_reason, [("flood", 3), ("private", 4)].into());
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let selected = |names: &[String]| select(vec![row(1, &[])], names, Error::NoStats);
        assert_eq!(selected(&[]).unwrap().len(), 1);
        assert!(selected(&["a".into()]).is_ok());
        assert!(matches!(selected(&["b".into()]), Err(Error::NoStats(name)) if name == "b"));
    }
}
