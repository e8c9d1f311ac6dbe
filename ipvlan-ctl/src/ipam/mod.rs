//! Chooses addresses. Pure: what is taken is the caller's to know.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::{IpNet, Ipv4Net};

use crate::model::{Pool, overlap};

/// Where subnets are chosen from, with the prefix of each: private ranges (RFC 1918) that few LANs use.
const CHOICES: [(Ipv4Net, u8); 2] = [
    (Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12), 16),
    (Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16), 20),
];

/// A subnet that meets none of `taken`; `None` where there is none left. Default routes take nothing.
#[must_use]
pub fn free_subnet(taken: &[IpNet]) -> Option<IpNet> {
    let subnets = CHOICES.iter().filter_map(|(range, prefix)| range.subnets(*prefix).ok()).flatten();
    let is_free = |subnet: &IpNet| !taken.iter().any(|it| it.prefix_len() > 0 && overlap(it, subnet));
    subnets.map(IpNet::V4).find(is_free)
}

/// No address is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("subnet {0} has no free address")]
pub struct Exhausted(pub IpNet);

/// The next free address after `last`, going round at the end: a released address comes back as late as possible, so
/// that neighbours have forgotten who had it.
pub fn allocate(pool: &Pool, taken: &BTreeSet<IpAddr>, last: Option<IpAddr>) -> Result<IpAddr, Exhausted> {
    let (low, high) = pool.usable();
    let (low, high) = (number(low), number(high));
    let start = last.map_or(low, |last| number(last).saturating_add(1));
    let start = if (low..=high).contains(&start) { start } else { low };
    (start..=high)
        .chain(low..start)
        .map(|number| address(number, pool.is_ipv4()))
        .find(|address| pool.check(*address).is_ok() && !taken.contains(address))
        .ok_or(Exhausted(pool.range.unwrap_or(pool.subnet)))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address(number: u128, ipv4: bool) -> IpAddr {
    if ipv4 { IpAddr::V4((number as u32).into()) } else { IpAddr::V6(number.into()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(subnet: &str) -> Pool {
        Pool::new(subnet.parse().unwrap(), None).unwrap()
    }

    #[test]
    fn starts_after_the_gateway_and_reuses_last() {
        let pool = pool("10.0.0.0/29");
        let mut taken = BTreeSet::new();
        let mut last = None;
        for octet in 2..=6 {
            let address = allocate(&pool, &taken, last).unwrap();
            assert_eq!(address.to_string(), format!("10.0.0.{octet}"));
            taken.insert(address);
            last = Some(address);
        }
        assert_eq!(
            allocate(&pool, &taken, last).unwrap_err().to_string(),
            "subnet 10.0.0.0/29 has no free address"
        );
        taken.remove(&"10.0.0.4".parse().unwrap());
        assert_eq!(allocate(&pool, &taken, last).unwrap().to_string(), "10.0.0.4");
    }

    #[test]
    fn the_widest_pools() {
        assert_eq!(allocate(&pool("fd00::/8"), &BTreeSet::new(), None).unwrap().to_string(), "fd00::2");
        assert_eq!(allocate(&pool("10.0.0.0/31"), &BTreeSet::new(), None).unwrap().to_string(), "10.0.0.1");
        let last = "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().ok();
        assert_eq!(allocate(&pool("fd00::/8"), &BTreeSet::new(), last).unwrap().to_string(), "fd00::2");
    }

    #[test]
    fn only_the_range_and_nobody_elses() {
        let mut pool = pool("10.0.0.0/24");
        pool.set_range("10.0.0.4/30".parse().unwrap()).unwrap();
        pool.aux.insert("nas".into(), "10.0.0.5".parse().unwrap());
        let mut taken = BTreeSet::new();
        for octet in [4, 6, 7] {
            let address = allocate(&pool, &taken, taken.last().copied()).unwrap();
            assert_eq!(address.to_string(), format!("10.0.0.{octet}"));
            taken.insert(address);
        }
        assert_eq!(
            allocate(&pool, &taken, None).unwrap_err().to_string(),
            "subnet 10.0.0.4/30 has no free address"
        );
        pool.range = Some("10.0.0.0/32".parse().unwrap());
        assert!(allocate(&pool, &BTreeSet::new(), None).is_err(), "the network address alone is no range");
    }

    #[test]
    fn subnets_are_chosen_around_what_is_there() {
        let free = |taken: &[&str]| {
            let taken: Vec<IpNet> = taken.iter().map(|text| text.parse().unwrap()).collect();
            free_subnet(&taken).map(|subnet| subnet.to_string())
        };
        assert_eq!(free(&["0.0.0.0/0", "fd00::/8"]).as_deref(), Some("172.16.0.0/16"));
        assert_eq!(free(&["172.16.7.0/24", "172.17.0.0/16"]).as_deref(), Some("172.18.0.0/16"));
        assert_eq!(free(&["172.16.0.0/12", "192.168.1.0/24"]).as_deref(), Some("192.168.16.0/20"));
        assert_eq!(free(&["172.16.0.0/12", "192.0.0.0/8"]), None);
    }

    proptest! {
        #[test]
        fn never_twice_and_never_reserved(
            bits in any::<u32>(), prefix in 24u8..=31, releases in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
            gateway in any::<prop::sample::Index>(),
        ) {
            let subnet = IpNet::new(IpAddr::V4((0x0a00_0000 | (bits & 0x00ff_ffff)).into()), prefix).unwrap().trunc();
            let hosts: Vec<_> = subnet.hosts().collect();
            let pool = Pool::new(subnet, Some(*gateway.get(&hosts))).unwrap();
            let mut taken = BTreeSet::new();
            let mut last = None;
            let mut releases = releases.into_iter();
            loop {
                match allocate(&pool, &taken, last) {
                    Ok(address) => {
                        prop_assert_eq!(pool.check(address), Ok(()));
                        prop_assert!(taken.insert(address), "{} given twice", address);
                        last = Some(address);
                    }
                    Err(_) => {
                        prop_assert_eq!(taken.len(), hosts.len() - 1);
                        let Some(release) = releases.next() else { break };
                        let Some(address) = taken.iter().nth(release.index(taken.len().max(1))).copied() else { break };
                        taken.remove(&address);
                    }
                }
            }
        }
    }
}
