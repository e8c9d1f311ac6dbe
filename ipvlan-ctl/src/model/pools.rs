//! The subnets of a network, from options that stand side by side: each gateway, range and auxiliary address finds its subnet.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Invalid, Pool, RawNetwork, subnet::overlap};

pub(super) fn parse_pools(raw: &RawNetwork) -> Result<Vec<Pool>, Invalid> {
    let subnets = raw.subnets.iter().map(|text| Pool::parse_subnet(text)).collect::<Result<Vec<_>, _>>()?;
    for (index, subnet) in subnets.iter().enumerate() {
        if let Some(other) = subnets[..index].iter().find(|other| overlap(other, subnet)) {
            return Err(Invalid::SubnetsOverlap(*other, *subnet));
        }
    }
    let mut gateways = vec![None; subnets.len()];
    for text in &raw.gateways {
        let gateway = parse_address("gateway", text)?;
        let (index, subnet) = find(&subnets, |subnet| subnet.contains(&gateway))
            .ok_or_else(|| Invalid::GatewayOutside { gateway, subnets: join(&subnets) })?;
        if gateways[index].replace(gateway).is_some() {
            return Err(Invalid::GatewayTwice(subnet));
        }
    }
    let pools = subnets.iter().zip(gateways).map(|(subnet, gateway)| Pool::new(*subnet, gateway));
    let mut pools = pools.collect::<Result<Vec<_>, _>>()?;
    for text in &raw.ranges {
        let range: IpNet = text.parse().map_err(|_| Invalid::Range(text.clone()))?;
        let index = find(&subnets, |subnet| subnet.contains(&range))
            .ok_or_else(|| Invalid::RangeOutside { range, subnets: join(&subnets) })?
            .0;
        pools[index].set_range(range)?;
    }
    for text in &raw.aux_addresses {
        let (name, address) = text.split_once('=').ok_or_else(|| Invalid::AuxForm(text.clone()))?;
        let address = parse_address("auxiliary address", address)?;
        let index = find(&subnets, |subnet| subnet.contains(&address))
            .ok_or_else(|| Invalid::AuxOutside { address, subnets: join(&subnets) })?
            .0;
        if pools.iter().any(|pool| pool.aux.contains_key(name)) {
            return Err(Invalid::AuxTwice(name.to_owned()));
        }
        pools[index].check(address)?;
        pools[index].aux.insert(name.to_owned(), address);
    }
    Ok(pools)
}

fn find(subnets: &[IpNet], holds: impl Fn(&IpNet) -> bool) -> Option<(usize, IpNet)> {
    subnets.iter().copied().enumerate().find(|(_, subnet)| holds(subnet))
}

fn parse_address(what: &'static str, text: &str) -> Result<IpAddr, Invalid> {
    text.parse().map_err(|_| Invalid::Address { what, text: text.to_owned() })
}

fn join(subnets: &[IpNet]) -> String {
    if subnets.is_empty() {
        return "(none given)".into();
    }
    subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(
        subnets: &[&str],
        gateways: &[&str],
        ranges: &[&str],
        aux: &[&str],
    ) -> Result<Vec<Pool>, Invalid> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        parse_pools(&RawNetwork {
            subnets: owned(subnets),
            gateways: owned(gateways),
            ranges: owned(ranges),
            aux_addresses: owned(aux),
            ..RawNetwork::default()
        })
    }

    #[test]
    fn everything_finds_its_subnet() {
        let pools = parse(
            &["192.168.1.0/24", "fd00::/64", "192.168.3.0/24"],
            &["fd00::9", "192.168.3.9"],
            &["192.168.3.128/25"],
            &["router=192.168.1.7", "nas=fd00::7"],
        )
        .unwrap();
        let gateways: Vec<_> = pools.iter().map(|pool| pool.gateway.to_string()).collect();
        assert_eq!(gateways, ["192.168.1.1", "fd00::9", "192.168.3.9"]);
        assert_eq!(pools[2].range, "192.168.3.128/25".parse().ok());
        assert_eq!(pools[0].aux["router"].to_string(), "192.168.1.7");
        assert_eq!(pools[1].aux["nas"].to_string(), "fd00::7");
        assert_eq!(parse(&[], &[], &[], &[]), Ok(Vec::new()));
    }

    #[test]
    fn refusals() {
        let one = &["10.0.0.0/24"][..];
        for (subnets, gateways, ranges, aux, message) in [
            (
                &["10.0.0.0/8", "10.1.0.0/16"][..],
                &[][..],
                &[][..],
                &[][..],
                "subnets 10.0.0.0/8 and 10.1.0.0/16 overlap",
            ),
            (
                &["192.168.1.0/24", "fd00::/64"],
                &["10.0.0.1"],
                &[],
                &[],
                "invalid gateway 10.0.0.1: subnet 192.168.1.0/24, fd00::/64 doesn't contain this address",
            ),
            (
                &[],
                &["10.0.0.1"],
                &[],
                &[],
                "invalid gateway 10.0.0.1: subnet (none given) doesn't contain this address",
            ),
            (one, &["10.0.0.9", "10.0.0.8"], &[], &[], "subnet 10.0.0.0/24 has two gateways"),
            (one, &["gw"], &[], &[], "invalid gateway 'gw': not an IP address"),
            (one, &[], &["x"], &[], "invalid IP range 'x': not an address with a prefix length"),
            (
                one,
                &[],
                &["10.0.1.0/25"],
                &[],
                "invalid IP range 10.0.1.0/25: it is outside subnet 10.0.0.0/24",
            ),
            (
                one,
                &[],
                &["10.0.0.0/16"],
                &[],
                "invalid IP range 10.0.0.0/16: it is outside subnet 10.0.0.0/24",
            ),
            (one, &[], &["10.0.0.1/25"], &[], "invalid IP range 10.0.0.1/25: it should be 10.0.0.0/25"),
            (one, &[], &["10.0.0.0/25", "10.0.0.128/25"], &[], "subnet 10.0.0.0/24 has two IP ranges"),
            (one, &[], &[], &["10.0.0.7"], "invalid auxiliary address '10.0.0.7': not NAME=IP"),
            (one, &[], &[], &["a=b"], "invalid auxiliary address 'b': not an IP address"),
            (
                one,
                &[],
                &[],
                &["a=10.0.1.7"],
                "invalid auxiliary address 10.0.1.7: it is outside subnet 10.0.0.0/24",
            ),
            (one, &[], &[], &["a=10.0.0.1"], "address 10.0.0.1 is the gateway address of 10.0.0.0/24"),
            (one, &[], &[], &["a=10.0.0.7", "a=10.0.0.8"], "auxiliary address 'a' is given twice"),
        ] {
            assert_eq!(parse(subnets, gateways, ranges, aux).unwrap_err().to_string(), message);
        }
    }
}
