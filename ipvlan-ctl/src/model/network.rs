//! Networks and the parents that carry them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use ipvlan_common::types::Key;

use super::{
    ArpSuppress, Flag, IfName, Invalid, Made, Mode, Multicast, Name, Owner, Pool, Slot, Snat, State, Xdp,
    pools::parse_pools, subnet::overlap,
};

/// The keys that `-o` takes.
pub(super) const OPTION_KEYS: &[&str] = &[
    "parent",
    "ipvlan_mode",
    "ipvlan_flag",
    "mtu",
    "internal",
    "multicast",
    "multicast_rate",
    "arp_suppress",
    "snat",
    "host_access",
    "xdp",
];

/// Broadcasts and multicasts of an endpoint in a second, where nothing else is asked for: enough for discovery protocols, and for
/// ten endpoints to send them all at once without filling the queue that they share.
const MULTICAST_RATE: u32 = 500;
const MAX_MULTICAST_RATE: u32 = 1_000_000;

/// What a user wrote to create a network.
#[derive(Debug, Clone, Default)]
pub struct RawNetwork {
    /// The network's name.
    pub name: String,
    /// `--subnet`, each.
    pub subnets: Vec<String>,
    /// `--gateway`, each.
    pub gateways: Vec<String>,
    /// `--ip-range`, each.
    pub ranges: Vec<String>,
    /// `--aux-address NAME=IP`, each.
    pub aux_addresses: Vec<String>,
    /// `--label KEY[=VALUE]`, each.
    pub labels: Vec<String>,
    /// `--internal`.
    pub internal: bool,
    /// `--host-access`.
    pub host_access: bool,
    /// `-o KEY=VALUE`, each.
    pub options: Vec<String>,
    /// The engine that manages it.
    pub owner: Option<Owner>,
}

/// What a network is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name.
    pub name: Name,
    /// The interface that it uses; where not given, a dummy of its own.
    pub parent: Option<IfName>,
    /// The ipvlan mode.
    pub mode: Mode,
    /// Whether its endpoints reach each other.
    pub flag: Flag,
    /// Without a way to the wire.
    pub internal: bool,
    /// How far its broadcasts and multicasts go.
    pub multicast: Multicast,
    /// How many of them an endpoint may send in a second; 0 for no limit.
    pub multicast_rate: u32,
    /// Whether requests for its endpoints' addresses are answered on the spot.
    pub arp_suppress: ArpSuppress,
    /// Whether the host may put an address of its own in the place of its endpoints'.
    pub snat: Snat,
    /// Whether the host and its endpoints may speak with each other.
    pub host_access: bool,
    /// The parent's XDP setting; what its other networks have where not given.
    pub xdp: Option<Xdp>,
    /// The MTU of its endpoints; the parent's where not given.
    pub mtu: Option<u32>,
    /// What its addresses come from, the first ones first; a free subnet is chosen where there is none.
    pub pools: Vec<Pool>,
    /// What the user says of it.
    pub labels: BTreeMap<String, String>,
    /// The engine that manages it.
    pub owner: Option<Owner>,
}

impl NetworkSpec {
    /// Checks all that can be checked without looking at the machine.
    pub fn parse(raw: &RawNetwork) -> Result<Self, Invalid> {
        let name = Name::parse("network", &raw.name)?;
        let options = parse_options(&raw.options)?;
        let option = |key: &str| options.get(key).copied();

        let mode = option("ipvlan_mode").map_or(Ok(Mode::L2), |text| {
            Mode::from_text(text).ok_or_else(|| Invalid::Mode(text.to_owned()))
        })?;
        let flag = option("ipvlan_flag").map_or(Ok(Flag::Bridge), |text| {
            Flag::from_text(text).ok_or_else(|| Invalid::Flag(text.to_owned()))
        })?;
        let multicast = option("multicast").map_or(Ok(Multicast::On), |text| {
            Multicast::from_text(text).ok_or_else(|| Invalid::Multicast(text.to_owned()))
        })?;
        let multicast_rate = option("multicast_rate").map_or(Ok(MULTICAST_RATE), |text| {
            let rate = text.parse().ok().filter(|rate| *rate <= MAX_MULTICAST_RATE);
            rate.ok_or_else(|| Invalid::MulticastRate(text.to_owned()))
        })?;
        let arp_suppress = option("arp_suppress").map_or(Ok(ArpSuppress::On), |text| {
            ArpSuppress::from_text(text).ok_or_else(|| Invalid::ArpSuppress(text.to_owned()))
        })?;
        let snat = option("snat").map_or(Ok(Snat::Off), |text| {
            Snat::from_text(text).ok_or_else(|| Invalid::Snat(text.to_owned()))
        })?;
        if snat == Snat::On && mode == Mode::L2 {
            return Err(Invalid::SnatInL2);
        }
        let xdp = option("xdp")
            .map(|text| Xdp::from_text(text).ok_or_else(|| Invalid::Xdp(text.to_owned())))
            .transpose()?;
        let internal = parse_switch("internal", option("internal"), raw.internal)?;
        let host_access = parse_switch("host_access", option("host_access"), raw.host_access)?;
        if host_access {
            may_have_host_access(mode, flag, internal)?;
        }
        let parent = option("parent").map(IfName::parse).transpose()?;
        match &parent {
            Some(parent) if parent.as_str() == "lo" => return Err(Invalid::Loopback),
            None if flag == Flag::Vepa => return Err(Invalid::VepaWithoutParent),
            None if option("internal").is_some() && !internal => return Err(Invalid::NothingButInternal),
            _ => {}
        }
        let internal = internal || parent.is_none();
        let pools = parse_pools(raw)?;
        if internal && mode != Mode::L2 && !pools.iter().all(Pool::is_ipv4) {
            return Err(Invalid::InternalRoutedIpv6(mode));
        }
        let mtu = option("mtu").map(|text| parse_mtu(text, &pools)).transpose()?;
        let labels = parse_labels(&raw.labels)?;
        let owner = raw.owner.clone();
        Ok(Self {
            name,
            parent,
            mode,
            flag,
            internal,
            multicast,
            multicast_rate,
            arp_suppress,
            snat,
            host_access,
            xdp,
            mtu,
            pools,
            labels,
            owner,
        })
    }

    /// The pools of a family.
    pub fn pools_of(&self, ipv4: bool) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(move |pool| pool.is_ipv4() == ipv4)
    }

    /// Whether it has addresses of a family.
    #[must_use]
    pub fn has_family(&self, ipv4: bool) -> bool {
        self.pools_of(ipv4).next().is_some()
    }

    /// The pool whose subnet `address` is in.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.contains(&address))
    }

    /// Whether an endpoint can have `address`.
    pub fn check(&self, address: IpAddr) -> Result<(), Invalid> {
        let ipv4 = address.is_ipv4();
        if !self.has_family(ipv4) {
            let family = if ipv4 { "IPv4" } else { "IPv6" };
            return Err(Invalid::NoFamily { address, network: self.name.to_string(), family });
        }
        match self.pool_of(address) {
            Some(pool) => pool.check(address),
            None => {
                let subnets: Vec<_> = self.pools_of(ipv4).map(|pool| pool.subnet.to_string()).collect();
                Err(Invalid::AddressOutside { address, subnets: subnets.join(", ") })
            }
        }
    }

    /// The first two subnets that this network and `other` share addresses of.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<(IpNet, IpNet)> {
        let pairs = self.pools.iter().flat_map(|a| other.pools.iter().map(move |b| (a.subnet, b.subnet)));
        pairs.into_iter().find(|(a, b)| overlap(a, b))
    }
}

fn parse_options(options: &[String]) -> Result<BTreeMap<&str, &str>, Invalid> {
    let mut parsed = BTreeMap::new();
    for option in options {
        let (key, value) = option.split_once('=').ok_or_else(|| Invalid::OptionForm(option.clone()))?;
        if !OPTION_KEYS.contains(&key) {
            return Err(Invalid::OptionKey(key.to_owned()));
        }
        if parsed.insert(key, value).is_some() {
            return Err(Invalid::OptionTwice(key.to_owned()));
        }
    }
    Ok(parsed)
}

/// Whether endpoints of such a network may have host access.
///
/// # Errors
/// Where it couldn't be enforced.
pub fn may_have_host_access(mode: Mode, flag: Flag, internal: bool) -> Result<(), Invalid> {
    if flag == Flag::Vepa {
        return Err(Invalid::HostAccessInVepa);
    }
    if internal && mode != Mode::L2 {
        return Err(Invalid::HostAccessInside);
    }
    Ok(())
}

/// What an option of two values and the command line's own switch for it come to.
///
/// # Errors
/// Where the option is neither true nor false, or the opposite of the switch.
pub fn parse_switch(key: &'static str, option: Option<&str>, switch: bool) -> Result<bool, Invalid> {
    match option {
        None => Ok(switch),
        Some("" | "true" | "1") => Ok(true),
        Some("false" | "0") if switch => Err(Invalid::Contradiction { key }),
        Some("false" | "0") => Ok(false),
        Some(text) => Err(Invalid::Bool { key, text: text.to_owned() }),
    }
}

fn parse_labels(labels: &[String]) -> Result<BTreeMap<String, String>, Invalid> {
    let mut parsed = BTreeMap::new();
    for label in labels {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if key.is_empty() || label.contains(char::is_control) {
            return Err(Invalid::Label(label.clone()));
        }
        if parsed.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Invalid::LabelTwice(key.to_owned()));
        }
    }
    Ok(parsed)
}

fn parse_mtu(text: &str, pools: &[Pool]) -> Result<u32, Invalid> {
    let (family, min) = if pools.iter().all(Pool::is_ipv4) { ("IPv4", 68) } else { ("IPv6", 1280) };
    text.parse().ok().filter(|mtu| (min..=65535).contains(mtu)).ok_or_else(|| Invalid::Mtu {
        text: text.to_owned(),
        family,
        min,
    })
}

/// A network that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its number, never given out twice.
    pub id: u32,
    /// What it is.
    pub spec: NetworkSpec,
    /// The slot of its parent.
    pub parent: Slot,
    /// The name of its parent.
    pub parent_name: IfName,
    /// How far it has come.
    pub state: State,
}

/// An interface that networks use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its number.
    pub slot: Slot,
    /// The secret that its programs seal with.
    pub key: Key,
    /// Its interface index.
    pub ifindex: u32,
    /// Its name.
    pub name: IfName,
    /// Its MAC address, which all its endpoints share.
    pub mac: [u8; 6],
    /// The one mode of all its networks.
    pub mode: Mode,
    /// Whether it has an XDP program.
    pub xdp: Xdp,
    /// Whether we gave it its clsact qdisc.
    pub made_qdisc: bool,
    /// Whether it has taken an XDP program: what `auto` came to.
    pub has_xdp: bool,
    /// What it is, if we made it.
    pub made: Option<Made>,
    /// The host's own addresses on it, as the maps may have them.
    pub host_addresses: BTreeSet<IpAddr>,
}

#[cfg(test)]
mod tests;
