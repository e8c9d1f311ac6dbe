//! Where the kernel differs from the store: found by looking, without changing anything.

mod maps;

use std::{collections::BTreeSet, net::IpAddr};

use serde::Serialize;

use super::{
    Error, Report,
    host_access::unreached,
    parent::device,
    progress,
    slave::{self, Inside},
    uppers::{Upper, uppers},
};
use crate::{
    bpf::has_tcx,
    model::{Endpoint, Parent, Slot, State, Xdp},
    netlink::Netlink,
    text_enum::text_enum,
};

text_enum!(
    /// In what way something isn't as the store says.
    Kind {
        /// The store is of an earlier boot.
        Rebooted = "rebooted",
        /// The maps that all networks share aren't pinned.
        MapsGone = "maps-gone",
        /// A killed command left it so.
        HalfMade = "half-made",
        /// A parent isn't there.
        ParentGone = "parent-gone",
        /// A parent, or `lo`, lacks a program.
        ParentUnenforced = "parent-unenforced",
        /// A parent lacks the XDP program that it had.
        XdpMissing = "xdp-missing",
        /// An endpoint's namespace isn't there.
        NetnsGone = "netns-gone",
        /// An endpoint's slave isn't in its namespace.
        SlaveGone = "slave-gone",
        /// An endpoint's slave is in another namespace.
        SlaveMoved = "slave-moved",
        /// An endpoint's slave lacks a program.
        SlaveUnenforced = "slave-unenforced",
        /// The maps lack an entry, or have another one.
        EntryMissing = "entry-missing",
        /// The maps have an entry that nobody has.
        StrayEntry = "stray-entry",
        /// The maps have other addresses of the host's than it has on a parent.
        HostAddress = "host-address",
        /// The host has no route to an endpoint with host access.
        HostRoute = "host-route",
        /// Links are pinned for a slot that nobody has.
        StrayPin = "stray-pin",
        /// The maps are there, and no network.
        StrayMaps = "stray-maps",
        /// An ipvlan slave on a parent that no endpoint has.
        ForeignSlave = "foreign-slave",
        /// An address on a slave that isn't its endpoint's.
        ForeignAddress = "foreign-address",
    }
);

text_enum!(
    /// What becomes of a finding.
    Outcome {
        /// It can be mended.
        Mendable = "mendable",
        /// It was mended.
        Mended = "mended",
        /// It is for the user to mend, or can't be.
        Left = "left",
    }
);

/// Something that isn't as the store says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// In what way.
    pub kind: Kind,
    /// What it is about.
    pub object: String,
    /// What was found.
    pub found: String,
    /// What mends it.
    pub action: String,
    /// What becomes of it.
    pub outcome: Outcome,
    #[serde(skip)]
    pub(super) mend: Mend,
}

/// How a finding is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mend {
    /// As every command does when it begins.
    Begin,
    ParentPrograms(Slot),
    ParentEntry(Slot),
    Programs(Slot),
    Entries(Slot),
    Host(Slot),
    DropSlot(Slot),
    DropAddress(Slot, IpAddr),
    DropPins(Slot),
    DropMaps,
    /// By the user.
    Not,
}

impl Mend {
    /// Whether it takes away what the maps have too much.
    pub(super) const fn only_drops(self) -> bool {
        matches!(self, Self::DropSlot(_) | Self::DropAddress(..) | Self::DropPins(_))
    }
}

impl Finding {
    fn new(
        kind: Kind,
        object: String,
        found: impl Into<String>,
        action: impl Into<String>,
        mend: Mend,
    ) -> Self {
        let outcome = if mend == Mend::Not { Outcome::Left } else { Outcome::Mendable };
        Self { kind, object, found: found.into(), action: action.into(), outcome, mend }
    }
}

const STORE: &str = "the store";
const ALL_NETWORKS: &str = "all networks";
const PUT_PROGRAMS_BACK: &str = "put its programs back";
const PUT_ENTRIES_BACK: &str = "put its entries back";
const CLEAR_AWAY: &str = "clear it away";

fn named(kind: &str, name: impl std::fmt::Display) -> String {
    format!("{kind} {name}")
}

impl Report {
    /// All that isn't as the store says.
    pub(super) fn survey(&self) -> Result<Vec<Finding>, Error> {
        let netlink = Netlink::open()?;
        let mut findings = Vec::new();
        self.survey_whole(&mut findings);
        for parent in &self.parents {
            self.survey_parent(parent, &netlink, &mut findings)?;
        }
        self.survey_host_access(&netlink, &mut findings)?;
        let slaves = self.slaves(&netlink)?;
        for (done, endpoint) in self.endpoints.iter().enumerate() {
            progress::note("look at", done, self.endpoints.len(), format!("endpoint {}", endpoint.name));
            self.survey_endpoint(endpoint, &slaves, &mut findings)?;
        }
        if let Some(dataplane) = &self.dataplane {
            self.survey_slots(dataplane, &mut findings)?;
            self.survey_addresses(dataplane, &netlink, &mut findings)?;
            self.survey_pins(dataplane, &mut findings)?;
        }
        self.survey_foreign(&slaves, &mut findings);
        Ok(findings)
    }

    fn survey_whole(&self, findings: &mut Vec<Finding>) {
        if self.rebooted && !self.networks.is_empty() {
            let action = "put the parents' programs back, clear the endpoints away";
            let object = STORE.to_owned();
            findings.push(Finding::new(
                Kind::Rebooted,
                object,
                "it is of an earlier boot",
                action,
                Mend::Begin,
            ));
        }
        if self.dataplane.is_none() && self.networks.iter().any(|network| network.state == State::Up) {
            let found = "the maps are not pinned, so nothing is enforced";
            let action = "make them, and put all programs back";
            let object = ALL_NETWORKS.to_owned();
            findings.push(Finding::new(Kind::MapsGone, object, found, action, Mend::Begin));
        }
        for network in self.networks.iter().filter(|network| network.state != State::Up) {
            findings.push(half_made(named("network", &network.spec.name), network.state));
        }
    }

    fn survey_parent(
        &self,
        parent: &Parent,
        netlink: &Netlink,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let object = named("parent", &parent.name);
        let Some(device) = device(netlink, parent)? else {
            let found = "it is gone, or another interface has its name";
            let (action, mend) = match parent.made {
                Some(_) => ("make it again", Mend::Begin),
                None => ("bring it back with its MAC address, then reconcile again", Mend::Not),
            };
            findings.push(Finding::new(Kind::ParentGone, object, found, action, mend));
            return Ok(());
        };
        // Without maps, nothing has programs; half made, it needs none.
        let Some(dataplane) = self.dataplane.as_ref().filter(|_| self.is_in_use(parent.slot)) else {
            return Ok(());
        };
        let mend = Mend::ParentPrograms(parent.slot);
        if !dataplane.parent_is_enforced(parent.slot, device.index)? {
            let (object, found) =
                (object.clone(), "a program of its, on lo, or of those that all endpoints share, is missing");
            findings.push(Finding::new(Kind::ParentUnenforced, object, found, PUT_PROGRAMS_BACK, mend));
        }
        // Where `auto` has never come to a program, there is none to miss.
        let wants_xdp = matches!(parent.xdp, Xdp::Native | Xdp::Generic) || parent.has_xdp;
        if wants_xdp && !dataplane.xdp_is_on(parent.slot, device.index)? {
            let found = "its XDP program is missing: what the wire sends is judged at tc alone";
            let action = "put it back; another program that has its place must go first";
            findings.push(Finding::new(Kind::XdpMissing, object, found, action, mend));
        }
        Ok(())
    }

    /// The slaves on our parents, wherever they are.
    fn slaves(&self, netlink: &Netlink) -> Result<Vec<Upper>, Error> {
        let mut parents = Vec::new();
        for parent in &self.parents {
            parents.extend(device(netlink, parent)?);
        }
        let mut slaves = uppers(&parents)?;
        slaves.retain(|upper| upper.link.is_slave());
        Ok(slaves)
    }

    fn survey_endpoint(
        &self,
        endpoint: &Endpoint,
        slaves: &[Upper],
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        let object = named("endpoint", &endpoint.name);
        if endpoint.state == State::Offered {
            return self.survey_offered(endpoint, object, findings);
        }
        if endpoint.state != State::Up {
            findings.push(half_made(object, endpoint.state));
            return Ok(());
        }
        let label = &endpoint.netns.label;
        let (Some(netns), Some(parent)) = (self.netns_of(endpoint), self.parent(endpoint.parent)) else {
            let found = format!("its namespace '{label}' is gone");
            findings.push(Finding::new(Kind::NetnsGone, object, found, CLEAR_AWAY, Mend::Begin));
            return Ok(());
        };
        let inside = Inside::open(netns)?;
        if slave::find(&inside.netlink, endpoint, parent)?.is_none() {
            findings.push(self.lost_slave(endpoint, slaves, object)?);
            return Ok(());
        }
        for address in inside.netlink.addresses(endpoint.ifindex)? {
            if !endpoint.addresses.iter().any(|own| own == address) {
                let found = format!("its slave has {address}, which isn't its own");
                let action = format!("remove that address in namespace '{label}'");
                findings.push(Finding::new(Kind::ForeignAddress, object.clone(), found, action, Mend::Not));
            }
        }
        let Some(dataplane) = &self.dataplane else { return Ok(()) };
        if !inside.netns.run(|| dataplane.endpoint_is_enforced(endpoint.slot, endpoint.ifindex))?? {
            let (found, mend) = ("a program of its slave is missing", Mend::Programs(endpoint.slot));
            findings.push(Finding::new(Kind::SlaveUnenforced, object, found, PUT_PROGRAMS_BACK, mend));
        }
        Ok(())
    }

    fn survey_host_access(&self, netlink: &Netlink, findings: &mut Vec<Finding>) -> Result<(), Error> {
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.is_complete()) {
            let Some(parent) = self.parent(endpoint.parent) else { continue };
            for (_, address) in unreached(netlink, endpoint, parent)? {
                let object = named("endpoint", &endpoint.name);
                let found = format!("the host has no route to its address {address} by {}", parent.name);
                let mend = Mend::Host(endpoint.slot);
                findings.push(Finding::new(Kind::HostRoute, object, found, "add the route", mend));
            }
        }
        Ok(())
    }

    fn survey_offered(
        &self,
        endpoint: &Endpoint,
        object: String,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        match self.offered_is_enforced(endpoint)? {
            None => {
                let found = "its slave is gone, which its engine has not taken in";
                findings.push(Finding::new(Kind::SlaveGone, object, found, CLEAR_AWAY, Mend::Begin));
            }
            Some(false) if self.dataplane.is_some() => {
                let (found, mend) = ("a program of its slave is missing", Mend::Programs(endpoint.slot));
                findings.push(Finding::new(Kind::SlaveUnenforced, object, found, PUT_PROGRAMS_BACK, mend));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The user has lost an endpoint whose namespace lives on, and may not know.
    fn lost_slave(&self, endpoint: &Endpoint, slaves: &[Upper], object: String) -> Result<Finding, Error> {
        let Endpoint { netns, name, .. } = endpoint;
        let place = slave_of(endpoint, slaves);
        let device = match &self.dataplane {
            Some(dataplane) if has_tcx() => dataplane.endpoint_device(endpoint.slot)?,
            _ => None,
        };
        let to_remove = format!("to remove it: ipvlan-ctl detach {name}");
        let (found, action) = match (place, device) {
            (Some(slave), _) => {
                let found = format!("its slave was moved out of '{}': it is {slave}", netns.label);
                // A classifier doesn't go along with what it is on.
                let state = if device.is_some() { "it stays enforced" } else { "nothing it sends arrives" };
                (found, format!("{state}; {to_remove}"))
            }
            (None, Some(ifindex)) => (
                format!("its slave, number {ifindex}, was moved out of '{}'", netns.label),
                format!("it stays enforced; {to_remove}"),
            ),
            (None, None) => {
                let found = format!("its slave is gone from '{}'", netns.label);
                let action = format!("to attach it again, first: ipvlan-ctl detach {name}");
                return Ok(Finding::new(Kind::SlaveGone, object, found, action, Mend::Not));
            }
        };
        Ok(Finding::new(Kind::SlaveMoved, object, found, action, Mend::Not))
    }

    fn survey_foreign(&self, slaves: &[Upper], findings: &mut Vec<Finding>) {
        let place = |slave: &Upper| (slave.cookie, slave.link.index);
        let own = self.endpoints.iter().filter_map(|endpoint| slave_of(endpoint, slaves)).map(place);
        let own: BTreeSet<_> = own.collect();
        for slave in slaves.iter().filter(|slave| !own.contains(&place(slave))) {
            let object = named("parent", &slave.parent);
            let found = format!("ipvlan slave {slave} is no endpoint's");
            let action = format!("remove it: {}", slave.removal());
            findings.push(Finding::new(Kind::ForeignSlave, object, found, action, Mend::Not));
        }
    }

    /// What findings about a network, its parent and its endpoints call them.
    pub(super) fn objects_of(&self, name: &str) -> Vec<String> {
        let Some(network) = self.networks.iter().find(|network| network.spec.name.as_str() == name) else {
            return Vec::new();
        };
        let endpoints = self.endpoints.iter().filter(|endpoint| endpoint.network == network.id);
        let mut objects: Vec<_> = endpoints.map(|endpoint| named("endpoint", &endpoint.name)).collect();
        objects.extend([named("network", name), named("parent", &network.parent_name)]);
        objects.extend([ALL_NETWORKS.to_owned(), STORE.to_owned()]);
        objects
    }

    fn is_in_use(&self, parent: Slot) -> bool {
        self.networks.iter().any(|network| network.parent == parent && network.state == State::Up)
    }

    fn has_owner(&self, slot: Slot) -> bool {
        self.parent(slot).is_some() || self.endpoints.iter().any(|endpoint| endpoint.slot == slot)
    }
}

/// The endpoint's slave, at home or else where it was moved: its number was drawn from too many to be met by chance. Others may
/// choose the same for theirs, so that only one is taken for it.
fn slave_of<'u>(endpoint: &Endpoint, slaves: &'u [Upper]) -> Option<&'u Upper> {
    let mut own = slaves.iter().filter(|slave| slave.link.index == endpoint.ifindex);
    own.clone().find(|slave| slave.cookie == endpoint.netns.cookie).or_else(|| own.next())
}

fn half_made(object: String, state: State) -> Finding {
    let found = format!("a command was killed while it was {state}");
    Finding::new(Kind::HalfMade, object, found, CLEAR_AWAY, Mend::Begin)
}
