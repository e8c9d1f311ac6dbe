//! Parents that lie on each other: what a VLAN's endpoints send passes the programs of the interface below too.

use super::{Error, Session, parent::device};
use crate::{
    model::{IfName, NetworkSpec, Parent, Vlan},
    netlink::Standing,
};

impl Session {
    /// Whether networks on the VLANs of this parent, and on what it is a VLAN of, bear another one: at the egress below, an address of
    /// both would be taken for that of an endpoint there.
    pub(super) fn check_stacked(&self, spec: &NetworkSpec, parent: &Parent) -> Result<(), Error> {
        let standings = self.netlink.standings()?;
        let networks = self.store.networks()?;
        let own = self.name_of(parent)?;
        for other in self.store.parents()?.iter().filter(|other| other.slot != parent.slot) {
            let theirs = self.name_of(other)?;
            let place = if lies_on(&standings, &own, &theirs) {
                format!("{theirs}, which {own} lies on")
            } else if lies_on(&standings, &theirs, &own) {
                format!("{theirs}, which lies on {own}")
            } else {
                continue;
            };
            for network in networks.iter().filter(|network| network.parent == other.slot) {
                if let Some((subnet, other)) = spec.overlap(&network.spec) {
                    let network = network.spec.name.to_string();
                    return Err(Error::Overlap { subnet, other, network, place });
                }
            }
        }
        Ok(())
    }

    /// What the parent is called now; where it isn't there, what it was called.
    fn name_of(&self, parent: &Parent) -> Result<String, Error> {
        Ok(device(&self.netlink, parent)?.map_or_else(|| parent.name.to_string(), |device| device.name))
    }
}

/// Whether frames of the interface `upper` leave by way of `lower`.
fn lies_on(standings: &[Standing], upper: &str, lower: &str) -> bool {
    below(standings, upper).any(|name| name == lower || lies_on(standings, &name, lower))
}

/// What an interface is a VLAN of, or has as its ports; of one that isn't there, what its name says.
fn below<'a>(standings: &'a [Standing], upper: &'a str) -> impl Iterator<Item = String> + 'a {
    let is_there = standings.iter().any(|standing| standing.link.name == upper);
    let named = || Vlan::parse(&IfName::parse(upper).ok()?).ok()?.map(|vlan| vlan.base.to_string());
    let carries = move |standing: &&Standing| {
        let is_vlan = standing.above.iter().any(|(kind, name)| kind == "vlan" && name == upper);
        is_vlan || standing.controller.as_deref() == Some(upper)
    };
    let carriers = standings.iter().filter(carries).map(|standing| standing.link.name.clone());
    carriers.chain(if is_there { None } else { named() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{netlink::Link, service::network::tests::link};

    fn standing(name: &str, vlans: &[&str], controller: Option<&str>) -> Standing {
        Standing {
            link: Link { name: name.into(), ..link() },
            up: true,
            running: true,
            controller: controller.map(str::to_owned),
            above: vlans.iter().map(|name| ("vlan".to_owned(), (*name).to_owned())).collect(),
        }
    }

    #[test]
    fn vlans_lie_on_what_they_are_of() {
        let mut eth0 = standing("eth0", &["eth0.10"], None);
        eth0.above.push(("vxlan".into(), "vx0".into()));
        let standings = [
            eth0,
            standing("eth0.10", &["inner"], None),
            standing("inner", &[], Some("br0")),
            standing("br0", &[], None),
            standing("vx0", &[], None),
            standing("eth1", &[], None),
        ];
        for (upper, lower) in [
            ("eth0.10", "eth0"),
            ("inner", "eth0.10"),
            ("inner", "eth0"),
            ("br0", "eth0"),
            ("eth0.20", "eth0"),
            ("gone.5", "gone"),
        ] {
            assert!(lies_on(&standings, upper, lower), "{upper} on {lower}");
            assert!(!lies_on(&standings, lower, upper), "{lower} on {upper}");
        }
        for (one, other) in [("eth0.10", "eth0.20"), ("vx0", "eth0"), ("eth1", "eth0"), ("eth1.10", "eth0")] {
            assert!(!lies_on(&standings, one, other) && !lies_on(&standings, other, one), "{one}, {other}");
        }
    }
}
