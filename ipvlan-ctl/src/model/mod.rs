//! What a user can ask for, as validated types. No I/O.

mod endpoint;
mod name;
mod network;
mod owner;
mod pools;
mod setting;
mod subnet;
mod vlan;

use std::net::IpAddr;

pub use endpoint::{Addresses, Endpoint, NetnsRef, kernel_link_local, link_local, temporary_ifname};
use ipnet::IpNet;
pub use name::{IfName, Name, mac_text};
pub use network::{Network, NetworkSpec, Parent, RawNetwork, may_have_host_access, parse_switch};
pub use owner::{Engine, Owner};
pub use setting::{ArpSuppress, Flag, Made, Mode, Multicast, Snat, State, Xdp};
pub use subnet::Pool;
pub(crate) use subnet::overlap;
pub use vlan::Vlan;

/// The number of an endpoint or of a parent.
pub type Slot = ipvlan_common::types::Slot;

/// A value that can't be used, whatever the state of the machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A name with a character that names can't have.
    #[error("invalid {what} name '{text}'")]
    Name {
        /// What carries the name.
        what: &'static str,
        /// The name as given.
        text: String,
    },
    /// A name that no interface can have.
    #[error("invalid interface name '{0}'")]
    IfName(String),
    /// Not an address.
    #[error("invalid {what} '{text}': not an IP address")]
    Address {
        /// The option.
        what: &'static str,
        /// The value as given.
        text: String,
    },
    /// An IPv4 address where an IPv6 one belongs, or the reverse.
    #[error("invalid {what} '{text}': not an {family} address")]
    Family {
        /// The option.
        what: &'static str,
        /// The value as given.
        text: String,
        /// The family that the option takes.
        family: &'static str,
    },
    /// Not a subnet.
    #[error("invalid subnet '{0}': not an address with a prefix length")]
    Subnet(String),
    /// Host bits are set.
    #[error("invalid subnet {given}: it should be {truncated}")]
    HostBits {
        /// The subnet as given.
        given: IpNet,
        /// The subnet without its host bits.
        truncated: IpNet,
    },
    /// No room for a gateway and an endpoint.
    #[error("invalid subnet {0}: it has no room for a gateway and an endpoint")]
    SubnetTooSmall(IpNet),
    /// Addresses that no host can have.
    #[error("invalid subnet {subnet}: {range} is {why}")]
    SubnetReserved {
        /// The subnet as given.
        subnet: IpNet,
        /// The range of the standard that it meets.
        range: IpNet,
        /// What that range is for.
        why: &'static str,
    },
    /// Two subnets of one network.
    #[error("subnets {0} and {1} overlap")]
    SubnetsOverlap(IpNet, IpNet),
    /// Not a range.
    #[error("invalid IP range '{0}': not an address with a prefix length")]
    Range(String),
    /// Host bits are set.
    #[error("invalid IP range {given}: it should be {truncated}")]
    RangeHostBits {
        /// The range as given.
        given: IpNet,
        /// The range without its host bits.
        truncated: IpNet,
    },
    /// Not inside one subnet.
    #[error("invalid IP range {range}: it is outside subnet {subnets}")]
    RangeOutside {
        /// The range as given.
        range: IpNet,
        /// The network's subnets.
        subnets: String,
    },
    /// Two ranges in one subnet.
    #[error("subnet {0} has two IP ranges")]
    RangeTwice(IpNet),
    /// An auxiliary address without a name.
    #[error("invalid auxiliary address '{0}': not NAME=IP")]
    AuxForm(String),
    /// An auxiliary address in no subnet.
    #[error("invalid auxiliary address {address}: it is outside subnet {subnets}")]
    AuxOutside {
        /// The address as given.
        address: IpAddr,
        /// The network's subnets.
        subnets: String,
    },
    /// One name for two auxiliary addresses.
    #[error("auxiliary address '{0}' is given twice")]
    AuxTwice(String),
    /// A label without a key.
    #[error("invalid label '{0}': not KEY or KEY=VALUE")]
    Label(String),
    /// One key for two labels.
    #[error("label '{0}' is given twice")]
    LabelTwice(String),
    /// Outside every subnet.
    #[error("invalid gateway {gateway}: subnet {subnets} doesn't contain this address")]
    GatewayOutside {
        /// The gateway as given.
        gateway: IpAddr,
        /// The network's subnets.
        subnets: String,
    },
    /// The subnet's first or last address.
    #[error("invalid gateway {gateway}: it is the {what} address of {subnet}")]
    GatewayReserved {
        /// The gateway as given.
        gateway: IpAddr,
        /// `network`, `broadcast` or `anycast`.
        what: &'static str,
        /// The subnet that reserves it.
        subnet: IpNet,
    },
    /// Two gateways in one subnet.
    #[error("subnet {0} has two gateways")]
    GatewayTwice(IpNet),
    /// Outside the network's subnets.
    #[error("address {address} is outside subnet {subnets}")]
    AddressOutside {
        /// The address as given.
        address: IpAddr,
        /// The network's subnets of that family.
        subnets: String,
    },
    /// The gateway, an auxiliary address, or the first or last address of the subnet.
    #[error("address {address} is the {what} address of {subnet}")]
    AddressReserved {
        /// The address as given.
        address: IpAddr,
        /// `gateway`, `auxiliary`, `network`, `broadcast` or `anycast`.
        what: &'static str,
        /// The subnet that reserves it.
        subnet: IpNet,
    },
    /// A MAC of an endpoint's own.
    #[error("invalid --mac '{0}': ipvlan interfaces do not support custom mac address assignment")]
    Mac(String),
    /// The network has no subnet of that family.
    #[error("address {address} can't be used: network {network} has no {family} subnet")]
    NoFamily {
        /// The address as given.
        address: IpAddr,
        /// The network's name.
        network: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// An `-o` without `=`.
    #[error("invalid network option '{0}': not KEY=VALUE")]
    OptionForm(String),
    /// An `-o` key that doesn't exist.
    #[error("unknown network option '{0}'")]
    OptionKey(String),
    /// The same `-o` key twice.
    #[error("network option '{0}' is given twice")]
    OptionTwice(String),
    /// A mode that ipvlan doesn't have.
    #[error("requested ipvlan mode '{0}' is not valid")]
    Mode(String),
    /// A flag that ipvlan doesn't have.
    #[error("requested ipvlan flag '{0}' is not valid")]
    Flag(String),
    /// A setting of ARP suppression that there isn't.
    #[error("invalid value '{0}' for network option 'arp_suppress'")]
    ArpSuppress(String),
    /// A setting of source NAT that there isn't.
    #[error("invalid value '{0}' for network option 'snat'")]
    Snat(String),
    /// Source NAT where the host doesn't route.
    #[error("snat=on goes with modes l3 and l3s: in l2 the host doesn't route what endpoints send")]
    SnatInL2,
    /// A multicast setting that there isn't.
    #[error("invalid value '{0}' for network option 'multicast'")]
    Multicast(String),
    /// The kernel routes an endpoint's unverified IPv6 frame out of any interface of the host (Linux 6.12, ipvlan_process_v6_outbound).
    #[error(
        "an internal network with ipvlan_mode={0} can't have IPv6: the kernel would route what skips the endpoint's programs to other interfaces"
    )]
    InternalRoutedIpv6(Mode),
    /// An XDP setting that there isn't.
    #[error("invalid value '{0}' for network option 'xdp'")]
    Xdp(String),
    /// A rate that isn't one.
    #[error("invalid value '{0}' for network option 'multicast_rate'")]
    MulticastRate(String),
    /// An MTU that no link of the network's families can have.
    #[error("invalid mtu '{text}': a network with {family} needs {min} to 65535")]
    Mtu {
        /// The value as given.
        text: String,
        /// The family that sets the least value.
        family: &'static str,
        /// The least value.
        min: u32,
    },
    /// Neither true nor false.
    #[error("invalid value '{text}' for network option '{key}'")]
    Bool {
        /// The option.
        key: &'static str,
        /// The value as given.
        text: String,
    },
    /// An option and its opposite.
    #[error("--{switch} contradicts network option '{key}=false'", switch = .key.replace('_', "-"))]
    Contradiction {
        /// The option.
        key: &'static str,
    },
    /// Frames that the switch would have to send back to the host.
    #[error(
        "host access doesn't go with ipvlan_flag=vepa: there the switch has what endpoints send to the host"
    )]
    HostAccessInVepa,
    /// What NAT makes of them the parent's programs don't see.
    #[error(
        "host access doesn't go with an internal network of mode l3 or l3s: the host's NAT could lead its frames out"
    )]
    HostAccessInside,
    /// A hairpin switch that isn't there.
    #[error("ipvlan_flag=vepa needs a parent: nothing would send frames back")]
    VepaWithoutParent,
    /// A way to the wire without a wire.
    #[error("a network without a parent is internal")]
    NothingButInternal,
    /// A VLAN in a VLAN.
    #[error(
        "can't create parent {0}: it would be a VLAN in a VLAN (QinQ), which needs a protocol to be chosen"
    )]
    Qinq(String),
    /// Not the name of a VLAN.
    #[error("unable to parse a valid VLAN id from '{0}' in parent {1}")]
    VlanId(String, String),
    /// Not a VLAN id.
    #[error("vlan id must be between 1-4094, received: {0}")]
    VlanRange(u64),
    /// The loopback interface as parent.
    #[error("loopback interface is not a valid ipvlan parent link")]
    Loopback,
}

impl Invalid {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name { .. } => {
                "a name starts with a letter or a digit and goes on with letters, digits, '_', '.' or '-'"
                    .into()
            }
            Self::IfName(_) => "an interface name has 1 to 15 characters, without spaces, '/' and ':'".into(),
            Self::Mac(_) => "leave it out: all endpoints share their parent's MAC address".into(),
            Self::Subnet(_) => "write it as 192.168.1.0/24 or fd00:1::/64".into(),
            Self::SubnetTooSmall(subnet) => {
                format!("use a prefix of /{} or shorter", subnet.max_prefix_len() - 1)
            }
            Self::Range(_) => "write a part of the subnet, as in 192.168.1.128/25".into(),
            Self::AuxForm(_) => "write it as in router=192.168.1.254".into(),
            Self::OptionForm(_) | Self::OptionKey(_) => {
                format!("valid options: {}", network::OPTION_KEYS.join(", "))
            }
            Self::Mode(_) => "valid modes: l2 (the default), l3, l3s".into(),
            Self::Flag(_) => "valid flags: bridge (the default), private, vepa".into(),
            Self::ArpSuppress(_) => "valid settings: on (the default), off".into(),
            Self::Snat(_) => "valid settings: off (the default), on".into(),
            Self::SnatInL2 => "use ipvlan_mode=l3 or l3s, or leave snat out".into(),
            Self::Multicast(_) => "valid settings: on (the default), local, off".into(),
            Self::InternalRoutedIpv6(_) => "use ipvlan_mode=l2, or an IPv4 subnet alone".into(),
            Self::Xdp(_) => "valid settings: auto, native, generic, off (the default)".into(),
            Self::MulticastRate(_) => "use a number of frames a second up to 1000000; 0 is no limit".into(),
            Self::Bool { .. } => "use true or false".into(),
            Self::Contradiction { .. } => "leave one of them out".into(),
            Self::HostAccessInside => "use ipvlan_mode=l2, or leave one of them out".into(),
            Self::HostAccessInVepa => "use ipvlan_flag=bridge or private, or leave host access out".into(),
            Self::VepaWithoutParent | Self::NothingButInternal => {
                "name the interface that the network is to use: -o parent=eth0".into()
            }
            Self::Qinq(name) => format!("make it yourself, with 'ip link add {name} type vlan'"),
            Self::VlanId(..) | Self::VlanRange(_) => {
                "a VLAN is named as in eth0.10, for VLAN 10 of eth0".into()
            }
            Self::Loopback => "use the interface that leads to the network, as in -o parent=eth0".into(),
            Self::AddressOutside { .. } | Self::AddressReserved { .. } => {
                "choose another address there, or leave it out to get a free one".into()
            }
            Self::NoFamily { .. } => {
                "leave it out; what families a network has is settled when it is created".into()
            }
            Self::Address { text, .. } if text.contains('/') => {
                "leave the prefix length out: it is the subnet's".into()
            }
            Self::Family { family: "IPv4", .. } => "IPv6 addresses are for --ip6".into(),
            Self::Family { .. } => "IPv4 addresses are for --ip".into(),
            _ => return None,
        })
    }
}
