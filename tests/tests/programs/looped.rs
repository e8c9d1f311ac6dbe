//! The copies that the host's stack gets of what it sends to groups. The kernel's test run can't make one, so this is about `decide` alone.

use anyhow::{Result, ensure};
use ipvlan_common::{
    DropReason::HostFilter,
    Hook::{self, ParentIngress, SlaveIngress},
    Identity, Verdict, decide,
    packet::{ETHERNET_LEN, IPV4, IPV6, Metadata},
};
use ipvlan_ctl::bpf::ParentIdentity;
use ipvlan_tests::frame::{self, Link};

use crate::{
    rows::drop_for,
    world::{self, A, HostTables, LAN, LAN6, MAC, PARENT, ROUTED, ip4, ip6},
};

/// What becomes of the copy, which has no Ethernet header.
fn verdict(hook: Hook, me: &Identity, hash: u32, protocol: u16, frame: &[u8]) -> Verdict {
    let metadata: Metadata = Metadata { protocol, hash, looped_back: true, ..Default::default() };
    decide(hook, &frame[ETHERNET_LEN..], &metadata, me, HostTables::shared())
}

/// The host's own come back to it, an endpoint's that it has routed don't.
pub(crate) fn check() -> Result<()> {
    let link = Link::shared(MAC);
    let four = |source| frame::udp4(link, source, [224, 0, 0, 251].into(), b"payload");
    let six = |source| frame::udp6(link, source, [0xff02, 0, 0, 0, 0, 0, 0, 1].into(), b"payload");
    let (parent, a) = (world::identity(PARENT), world::identity(A));
    let routes = ParentIdentity { routes: true, ..world::parent() }.identity();
    let refused = drop_for(PARENT, HostFilter);
    let cases = [
        ("the host's", ParentIngress, &parent, 0, IPV4, four(LAN)?, Verdict::Pass),
        ("the host's, IPv6", ParentIngress, &parent, 0, IPV6, six(LAN6)?, Verdict::Pass),
        ("the host's with a hash", ParentIngress, &parent, 7, IPV6, six(LAN6)?, Verdict::Pass),
        (
            "the host's on a parent that it routes for",
            ParentIngress,
            &routes,
            0,
            IPV6,
            six(LAN6)?,
            Verdict::Pass,
        ),
        ("an endpoint's", ParentIngress, &parent, 0, IPV4, four(ip4(ROUTED))?, refused),
        ("an endpoint's, IPv6", ParentIngress, &parent, 0, IPV6, six(ip6(ROUTED))?, refused),
        ("an endpoint's with another source", ParentIngress, &routes, 7, IPV4, four(LAN)?, refused),
        ("an endpoint's with another source, IPv6", ParentIngress, &routes, 7, IPV6, six(LAN6)?, refused),
        (
            "an endpoint's, shorter than the header that it doesn't have",
            ParentIngress,
            &routes,
            7,
            IPV4,
            four(LAN)?[..ETHERNET_LEN + 10].to_vec(),
            refused,
        ),
        ("an endpoint's to itself", SlaveIngress, &a, 7, IPV6, six(ip6(A))?, Verdict::Pass),
    ];
    for (name, hook, me, hash, protocol, frame, expected) in cases {
        let verdict = verdict(hook, me, hash, protocol, &frame);
        ensure!(verdict == expected, "{name}: decide says {verdict:?}");
    }
    Ok(())
}
