//! Networks and the parents that carry them.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use ipvlan_common::types::Key;
use serde::Serialize;

use super::{IfName, Invalid, Name, Pool, Slot, subnet::overlap};

/// The keys that `-o` takes.
pub(super) const OPTION_KEYS: &[&str] =
    &["parent", "ipvlan_mode", "ipvlan_flag", "mtu", "internal", "multicast", "multicast_rate", "xdp"];

/// Broadcasts and multicasts of an endpoint in a second, where nothing else is asked for: enough for discovery protocols, and for
/// ten endpoints to send them all at once without filling the queue that they share.
const MULTICAST_RATE: u32 = 500;
const MAX_MULTICAST_RATE: u32 = 1_000_000;

/// Text of each value of an enum, for the store, for JSON and for the command line alike.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        pub enum $name { $($(#[$doc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// The value whose text this is.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// The value's text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

text_enum!(
    /// How ipvlan forwards between slaves and parent. The kernel keeps it per parent.
    Mode {
        /// Switched at layer 2.
        L2 = "l2",
        /// Routed by the host.
        L3 = "l3",
        /// Routed by the host, through its netfilter hooks.
        L3s = "l3s",
    }
);

text_enum!(
    /// Whether endpoints of one network reach each other.
    Flag {
        /// They do.
        Bridge = "bridge",
        /// They don't.
        Private = "private",
        /// They do if the switch behind the parent reflects their frames.
        Vepa = "vepa",
    }
);

text_enum!(
    /// How far the broadcasts and multicasts of a network's endpoints go, but for ARP and ICMPv6, which it lives by.
    Multicast {
        /// To the wire, and from it.
        On = "on",
        /// To the network's endpoints on this host.
        Local = "local",
        /// Nowhere.
        Off = "off",
    }
);

text_enum!(
    /// Whether a parent judges what the wire sends before the kernel has made anything of it, too.
    Xdp {
        /// In the driver, where that has it.
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// Behind the driver: for trying it out, since it costs more than it saves.
        Generic = "generic",
        /// No.
        Off = "off",
    }
);

text_enum!(
    /// How far a network or an endpoint has come. Whatever isn't `Up` is torn down by the next command.
    State {
        /// Being made.
        Creating = "creating",
        /// Complete.
        Up = "up",
        /// Being removed.
        Closing = "closing",
    }
);

/// What a user wrote to create a network.
#[derive(Debug, Clone, Default)]
pub struct RawNetwork {
    /// The network's name.
    pub name: String,
    /// `--subnet`, each.
    pub subnets: Vec<String>,
    /// `--gateway`, each.
    pub gateways: Vec<String>,
    /// `--internal`.
    pub internal: bool,
    /// `-o KEY=VALUE`, each.
    pub options: Vec<String>,
}

/// What a network is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name.
    pub name: Name,
    /// The interface that it uses.
    pub parent: IfName,
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
    /// The parent's XDP setting; what its other networks have where not given.
    pub xdp: Option<Xdp>,
    /// The MTU of its endpoints; the parent's where not given.
    pub mtu: Option<u32>,
    /// At most one of each family, at least one.
    pub pools: Vec<Pool>,
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
        let xdp = option("xdp")
            .map(|text| Xdp::from_text(text).ok_or_else(|| Invalid::Xdp(text.to_owned())))
            .transpose()?;
        let internal = match option("internal") {
            None => raw.internal,
            Some("" | "true" | "1") => true,
            Some("false" | "0") if raw.internal => return Err(Invalid::Contradiction),
            Some("false" | "0") => false,
            Some(text) => {
                return Err(Invalid::Bool { key: "internal", text: text.to_owned() });
            }
        };
        let parent = IfName::parse(option("parent").ok_or(Invalid::NoParent)?)?;
        if parent.as_str() == "lo" {
            return Err(Invalid::Loopback);
        }
        let pools = parse_pools(&raw.subnets, &raw.gateways)?;
        if internal && mode != Mode::L2 && !pools.iter().all(Pool::is_ipv4) {
            return Err(Invalid::InternalRoutedIpv6(mode));
        }
        let mtu = option("mtu").map(|text| parse_mtu(text, &pools)).transpose()?;
        Ok(Self { name, parent, mode, flag, internal, multicast, multicast_rate, xdp, mtu, pools })
    }

    /// The pool that `address` belongs to by its family.
    #[must_use]
    pub fn pool_for(&self, ipv4: bool) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.is_ipv4() == ipv4)
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

fn parse_pools(subnets: &[String], gateways: &[String]) -> Result<Vec<Pool>, Invalid> {
    let subnets = subnets.iter().map(|text| Pool::parse_subnet(text)).collect::<Result<Vec<_>, _>>()?;
    if subnets.is_empty() {
        return Err(Invalid::NoSubnet);
    }
    for (ipv4, family) in [(true, "IPv4"), (false, "IPv6")] {
        if subnets.iter().filter(|subnet| subnet.addr().is_ipv4() == ipv4).count() > 1 {
            return Err(Invalid::SubnetTwice(family));
        }
    }
    let mut chosen: BTreeMap<IpNet, IpAddr> = BTreeMap::new();
    for text in gateways {
        let gateway: IpAddr =
            text.parse().map_err(|_| Invalid::Address { what: "gateway", text: text.clone() })?;
        let subnet = subnets.iter().find(|subnet| subnet.contains(&gateway)).ok_or_else(|| {
            let subnets: Vec<_> = subnets.iter().map(ToString::to_string).collect();
            Invalid::GatewayOutside { gateway, subnets: subnets.join(", ") }
        })?;
        if chosen.insert(*subnet, gateway).is_some() {
            return Err(Invalid::GatewayTwice(*subnet));
        }
    }
    subnets.into_iter().map(|subnet| Pool::new(subnet, chosen.get(&subnet).copied())).collect()
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(subnets: &[&str], options: &[&str]) -> RawNetwork {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        RawNetwork {
            name: "db_net".into(),
            subnets: owned(subnets),
            options: owned(options),
            ..RawNetwork::default()
        }
    }

    #[test]
    fn defaults() {
        let spec = NetworkSpec::parse(&raw(&["192.168.1.0/24", "fd00::/64"], &["parent=eth0"])).unwrap();
        assert_eq!((spec.mode, spec.flag, spec.internal, spec.mtu), (Mode::L2, Flag::Bridge, false, None));
        assert_eq!(spec.multicast, Multicast::On);
        assert_eq!(spec.pools.len(), 2);
        assert_eq!(spec.pool_for(false).unwrap().gateway.to_string(), "fd00::1");
    }

    #[test]
    fn gateways_find_their_subnets() {
        let mut raw = raw(&["192.168.1.0/24", "fd00::/64"], &["parent=eth0"]);
        raw.gateways = vec!["fd00::9".into(), "192.168.1.9".into()];
        let spec = NetworkSpec::parse(&raw).unwrap();
        assert_eq!(spec.pool_for(true).unwrap().gateway.to_string(), "192.168.1.9");
        assert_eq!(spec.pool_for(false).unwrap().gateway.to_string(), "fd00::9");

        raw.gateways = vec!["10.0.0.1".into()];
        assert_eq!(
            NetworkSpec::parse(&raw).unwrap_err().to_string(),
            "invalid gateway 10.0.0.1: subnet 192.168.1.0/24, fd00::/64 doesn't contain this address"
        );
        raw.gateways = vec!["fd00::9".into(), "fd00::8".into()];
        assert_eq!(NetworkSpec::parse(&raw).unwrap_err().to_string(), "subnet fd00::/64 has two gateways");
        raw.gateways = vec!["gw".into()];
        assert_eq!(
            NetworkSpec::parse(&raw).unwrap_err().to_string(),
            "invalid gateway 'gw': not an IP address"
        );
    }

    #[test]
    fn refusals() {
        let ok = "10.0.0.0/24";
        for (subnets, options, message, hint) in [
            (&[ok][..], &[][..], "network has no parent interface", "-o parent=eth0"),
            (&[ok], &["parent=lo"], "loopback interface is not a valid ipvlan parent link", "-o parent=eth0"),
            (&[ok], &["parent=a b"], "invalid interface name 'a b'", "15 characters"),
            (&[], &["parent=eth0"], "network has no subnet", "--subnet"),
            (&[ok, "10.1.0.0/24"], &["parent=eth0"], "network has two IPv4 subnets", "at most one"),
            (
                &[ok],
                &["parent=eth0", "ipvlan_mode=l9"],
                "requested ipvlan mode 'l9' is not valid",
                "l2 (the default), l3, l3s",
            ),
            (
                &[ok],
                &["parent=eth0", "ipvlan_flag=x"],
                "requested ipvlan flag 'x' is not valid",
                "bridge (the default), private, vepa",
            ),
            (
                &[ok],
                &["parent=eth0", "multicast_rate=many"],
                "invalid value 'many' for network option 'multicast_rate'",
                "frames a second",
            ),
            (
                &[ok],
                &["parent=eth0", "multicast=some"],
                "invalid value 'some' for network option 'multicast'",
                "on (the default), local, off",
            ),
            (&[ok], &["vlan=3"], "unknown network option 'vlan'", "valid options: parent, ipvlan_mode"),
            (&[ok], &["parent"], "invalid network option 'parent': not KEY=VALUE", "valid options"),
            (&[ok], &["mtu=1", "mtu=2"], "network option 'mtu' is given twice", ""),
            (
                &["fd00::/64"],
                &["parent=eth0", "mtu=600"],
                "invalid mtu '600': a network with IPv6 needs 1280 to 65535",
                "",
            ),
            (
                &[ok],
                &["parent=eth0", "internal=maybe"],
                "invalid value 'maybe' for network option 'internal'",
                "true or false",
            ),
        ] {
            let error = NetworkSpec::parse(&raw(subnets, options)).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(error.hint().unwrap_or_default().contains(hint), "{message}: {:?}", error.hint());
        }
    }

    #[test]
    fn overlapping_networks() {
        let spec = |subnet| NetworkSpec::parse(&raw(&[subnet], &["parent=eth0"])).unwrap();
        assert!(spec("10.0.0.0/8").overlap(&spec("10.9.0.0/16")).is_some());
        assert!(spec("10.9.0.0/16").overlap(&spec("10.0.0.0/8")).is_some());
        assert!(spec("10.0.0.0/16").overlap(&spec("10.1.0.0/16")).is_none());
        assert!(spec("10.0.0.0/16").overlap(&spec("fd00::/64")).is_none());
    }
}
