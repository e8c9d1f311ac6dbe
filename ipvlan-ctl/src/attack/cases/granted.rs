//! Around an endpoint that may speak with the host, as the third one may: nobody else passes for it, or for the host.

use anyhow::Result;
use ipvlan_common::DropReason::{HostFilter, Internal, SourceIpv4, SourceIpv6, Unsealed};

use super::{
    BOTH,
    around::{bypass, inside},
    forwarded::forward,
    root::{root, sibling},
};
use crate::{
    attack::{
        case::{Act, Case, Class, Expect},
        setting::{Family, Setting},
        world::{Who, World},
    },
    sandbox::SHARED,
};

pub(super) const CASES: &[Case] = &[
    Class::Control.acts(
        "host-access",
        "the host and an endpoint that may speak with it ping each other",
        BOTH,
        Act::Try(ping_each_other),
        |setting| {
            if setting.has_host_access() {
                Expect::pass(&[])
            } else {
                Expect::pointless("there is no host access with VEPA, nor inside in modes l3 and l3s")
            }
        },
    ),
    Class::Ip.sends(
        "source-host-to-granted",
        "from the host's address, to an endpoint that may speak with the host",
        BOTH,
        host_to_granted,
        spoof,
    ),
    Class::Ip.sends(
        "source-granted-to-host",
        "into the host, from the address of an endpoint that may speak with it",
        BOTH,
        granted_to_host,
        spoof,
    ),
    inside(bypass(
        "bypass-host-to-granted",
        "as the host, to an endpoint that may speak with it, past tc egress",
        host_to_granted,
    )),
    bypass(
        "bypass-granted-to-host",
        "into the host, as an endpoint that may speak with it, past tc egress",
        granted_to_host,
    ),
];

/// Those of root.
pub(super) const BY_ROOT: &[Case] = &[
    root(
        "sibling-granted-to-host",
        "into the host, as an endpoint that may speak with it, by a second slave",
        BOTH,
        |world, family, marker| sibling(world, &granted_to_host(world, family, marker)?),
        |_| Expect::drop(&[Unsealed]),
    ),
    root(
        "sibling-host-to-granted",
        "as the host, to an endpoint that may speak with it, by a second slave",
        BOTH,
        |world, family, marker| sibling(world, &host_to_granted(world, family, marker)?),
        |_| Expect::drop(&[Unsealed]),
    ),
    root(
        "forwarded-host-to-granted",
        "as the host, to an endpoint that may speak with it, forwarded and rewritten behind the egress program",
        BOTH,
        |world, family, marker| forward(world, family, (Who::Host, Who::Third), marker),
        |_| Expect::drop(&[Unsealed, HostFilter, Internal]),
    ),
    root(
        "forwarded-granted-to-host",
        "into the host, as an endpoint that may speak with it, forwarded and rewritten behind the egress program",
        BOTH,
        |world, family, marker| forward(world, family, (Who::Third, Who::Host), marker),
        |_| Expect::drop(&[Unsealed, HostFilter, Internal]),
    ),
];

fn spoof(_: Setting) -> Expect {
    Expect::drop(&[SourceIpv4, SourceIpv6])
}

fn host_to_granted(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Host, Who::Third, marker)
}

fn granted_to_host(world: &World, family: Family, marker: &[u8]) -> Result<Vec<u8>> {
    world.udp(family, SHARED, Who::Third, Who::Host, marker)
}

fn ping_each_other(world: &World, family: Family) -> Result<bool> {
    let (host, granted) = (&world.sandbox.host, &world.third.netns);
    let address = |who| world.address(family, who).to_string();
    Ok(host.pings(&address(Who::Third), 56, 3)? && granted.pings(&address(Who::Host), 56, 3)?)
}
