//! A subnet with its gateway, and which of its addresses an endpoint can have.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Invalid;

/// Ranges that no endpoint's address can come from.
const RESERVED: &[(IpNet, &str)] = &[
    (v4([0, 0, 0, 0], 8), "\"this network\""),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([240, 0, 0, 0], 4), "reserved"),
    (v6(0, 8), "reserved"),
    (v6(0xfe80, 10), "link-local, which every endpoint has already"),
    (v6(0xff00, 8), "multicast"),
];

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(first: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix))
}

/// A subnet and its gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The subnet, without host bits.
    pub subnet: IpNet,
    /// The gateway: an address of the subnet that a host can have.
    pub gateway: IpAddr,
    /// The part of the subnet that endpoints without an address of their own get one from.
    pub range: Option<IpNet>,
    /// Addresses that somebody else has, by name.
    pub aux: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// A pool of `subnet`, with `gateway` or the first address that a host can have.
    pub fn new(subnet: IpNet, gateway: Option<IpAddr>) -> Result<Self, Invalid> {
        if subnet.trunc() != subnet {
            return Err(Invalid::HostBits { given: subnet, truncated: subnet.trunc() });
        }
        if subnet.prefix_len() == subnet.max_prefix_len() {
            return Err(Invalid::SubnetTooSmall(subnet));
        }
        if let Some(&(range, why)) = RESERVED.iter().find(|(range, _)| overlap(range, &subnet)) {
            return Err(Invalid::SubnetReserved { subnet, range, why });
        }
        let gateway = gateway.unwrap_or_else(|| first_usable(&subnet));
        let pool = Self { subnet, gateway, range: None, aux: BTreeMap::new() };
        if !subnet.contains(&pool.gateway) {
            return Err(Invalid::GatewayOutside { gateway: pool.gateway, subnets: subnet.to_string() });
        }
        match reserved(&subnet, pool.gateway) {
            Some(what) => Err(Invalid::GatewayReserved { gateway: pool.gateway, what, subnet }),
            None => Ok(pool),
        }
    }

    /// Reads a subnet as a user writes it.
    pub fn parse_subnet(text: &str) -> Result<IpNet, Invalid> {
        text.parse().map_err(|_| Invalid::Subnet(text.to_owned()))
    }

    /// Whether an endpoint can have `address`.
    pub fn check(&self, address: IpAddr) -> Result<(), Invalid> {
        let subnet = self.subnet;
        if !subnet.contains(&address) {
            return Err(Invalid::AddressOutside { address, subnets: subnet.to_string() });
        }
        let what = match address {
            _ if address == self.gateway => Some("gateway"),
            _ if self.is_auxiliary(address) => Some("auxiliary"),
            _ => reserved(&subnet, address),
        };
        what.map_or(Ok(()), |what| Err(Invalid::AddressReserved { address, what, subnet }))
    }

    /// Confines the choice of addresses to a part of the subnet.
    pub fn set_range(&mut self, range: IpNet) -> Result<(), Invalid> {
        if range.trunc() != range {
            return Err(Invalid::RangeHostBits { given: range, truncated: range.trunc() });
        }
        match self.range.replace(range) {
            None => Ok(()),
            Some(_) => Err(Invalid::RangeTwice(self.subnet)),
        }
    }

    /// Whether the user says that somebody else has `address`.
    #[must_use]
    pub fn is_auxiliary(&self, address: IpAddr) -> bool {
        self.aux.values().any(|taken| *taken == address)
    }

    /// The first and the last address of the range that a host can have.
    #[must_use]
    pub fn usable(&self) -> (IpAddr, IpAddr) {
        let last = match self.subnet {
            IpNet::V4(net) if net.prefix_len() < 31 => IpAddr::V4((u32::from(net.broadcast()) - 1).into()),
            net => net.broadcast(),
        };
        let range = self.range.unwrap_or(self.subnet);
        (first_usable(&self.subnet).max(range.network()), last.min(range.broadcast()))
    }

    /// Whether the pool is one of IPv4 addresses.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.subnet.addr().is_ipv4()
    }
}

/// Whether two subnets have an address in common.
#[must_use]
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// A point-to-point subnet (RFC 3021, RFC 6164) reserves nothing.
fn is_point_to_point(subnet: &IpNet) -> bool {
    subnet.prefix_len() + 1 == subnet.max_prefix_len()
}

fn first_usable(subnet: &IpNet) -> IpAddr {
    match subnet.network() {
        first if is_point_to_point(subnet) => first,
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + 1).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + 1).into()),
    }
}

fn reserved(subnet: &IpNet, address: IpAddr) -> Option<&'static str> {
    match address {
        _ if is_point_to_point(subnet) => None,
        IpAddr::V4(_) if address == subnet.network() => Some("network"),
        IpAddr::V4(_) if address == subnet.broadcast() => Some("broadcast"),
        // RFC 4291, 2.6.1: every router of the subnet answers to it.
        IpAddr::V6(_) if address == subnet.network() => Some("anycast"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str, gateway: Option<&str>) -> Result<Pool, Invalid> {
        Pool::new(Pool::parse_subnet(subnet)?, gateway.map(|text| text.parse().unwrap()))
    }

    #[test]
    fn gateway_defaults_to_the_first_usable_address() {
        for (subnet, gateway) in [
            ("192.168.1.0/24", "192.168.1.1"),
            ("10.0.0.4/31", "10.0.0.4"),
            ("fd00:68::/64", "fd00:68::1"),
            ("fd00::2/127", "fd00::2"),
        ] {
            assert_eq!(pool(subnet, None).unwrap().gateway.to_string(), gateway);
        }
    }

    #[test]
    fn refusals() {
        for (subnet, gateway, message) in [
            ("foo", None, "invalid subnet 'foo': not an address with a prefix length"),
            ("10.0.0.0", None, "invalid subnet '10.0.0.0': not an address with a prefix length"),
            ("10.0.0.0/33", None, "invalid subnet '10.0.0.0/33': not an address with a prefix length"),
            ("192.168.1.7/24", None, "invalid subnet 192.168.1.7/24: it should be 192.168.1.0/24"),
            ("fd00::1/64", None, "invalid subnet fd00::1/64: it should be fd00::/64"),
            ("10.0.0.1/32", None, "invalid subnet 10.0.0.1/32: it has no room for a gateway and an endpoint"),
            ("127.1.0.0/16", None, "invalid subnet 127.1.0.0/16: 127.0.0.0/8 is loopback"),
            ("0.0.0.0/0", None, "invalid subnet 0.0.0.0/0: 0.0.0.0/8 is \"this network\""),
            ("239.1.0.0/16", None, "invalid subnet 239.1.0.0/16: 224.0.0.0/4 is multicast"),
            (
                "fe80::/64",
                None,
                "invalid subnet fe80::/64: fe80::/10 is link-local, which every endpoint has already",
            ),
            (
                "10.0.0.0/24",
                Some("10.0.1.1"),
                "invalid gateway 10.0.1.1: subnet 10.0.0.0/24 doesn't contain this address",
            ),
            (
                "10.0.0.0/24",
                Some("10.0.0.0"),
                "invalid gateway 10.0.0.0: it is the network address of 10.0.0.0/24",
            ),
            (
                "10.0.0.0/24",
                Some("10.0.0.255"),
                "invalid gateway 10.0.0.255: it is the broadcast address of 10.0.0.0/24",
            ),
            ("fd00::/64", Some("fd00::"), "invalid gateway fd00::: it is the anycast address of fd00::/64"),
        ] {
            assert_eq!(pool(subnet, gateway).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_range_bounds_the_choice() {
        for (subnet, range, first, last) in [
            ("10.0.0.0/24", "10.0.0.0/25", "10.0.0.1", "10.0.0.127"),
            ("10.0.0.0/24", "10.0.0.128/25", "10.0.0.128", "10.0.0.254"),
            ("10.0.0.0/24", "10.0.0.8/30", "10.0.0.8", "10.0.0.11"),
            ("fd00::/64", "fd00::ff00/120", "fd00::ff00", "fd00::ffff"),
        ] {
            let mut pool = pool(subnet, None).unwrap();
            pool.set_range(range.parse().unwrap()).unwrap();
            assert_eq!(pool.usable(), (first.parse().unwrap(), last.parse().unwrap()));
        }
    }

    #[test]
    fn addresses_of_endpoints() {
        let mut pool = pool("10.0.0.0/29", None).unwrap();
        pool.aux.insert("nas".into(), "10.0.0.5".parse().unwrap());
        for (address, message) in [
            ("10.0.0.8", "address 10.0.0.8 is outside subnet 10.0.0.0/29"),
            ("fd00::1", "address fd00::1 is outside subnet 10.0.0.0/29"),
            ("10.0.0.1", "address 10.0.0.1 is the gateway address of 10.0.0.0/29"),
            ("10.0.0.0", "address 10.0.0.0 is the network address of 10.0.0.0/29"),
            ("10.0.0.5", "address 10.0.0.5 is the auxiliary address of 10.0.0.0/29"),
            ("10.0.0.7", "address 10.0.0.7 is the broadcast address of 10.0.0.0/29"),
        ] {
            assert_eq!(pool.check(address.parse().unwrap()).unwrap_err().to_string(), message);
        }
        assert_eq!(pool.check("10.0.0.6".parse().unwrap()), Ok(()));
        let (first, last) = pool.usable();
        assert_eq!((first.to_string(), last.to_string()), ("10.0.0.1".into(), "10.0.0.6".into()));
    }
}
