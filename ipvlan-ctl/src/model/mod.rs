//! What a user can ask for, as validated types. No I/O.

mod endpoint;
mod name;
mod network;
mod subnet;

use std::net::IpAddr;

pub use endpoint::{Addresses, Endpoint, NetnsRef, link_local};
use ipnet::IpNet;
pub use name::{IfName, Name};
pub use network::{Flag, Mode, Multicast, Network, NetworkSpec, Parent, RawNetwork, State, Xdp};
pub use subnet::Pool;

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
    /// More than one subnet of a family.
    #[error("network has two {0} subnets")]
    SubnetTwice(&'static str),
    /// No subnet at all.
    #[error("network has no subnet")]
    NoSubnet,
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
    /// Outside the network's subnet.
    #[error("address {address} is outside subnet {subnet}")]
    AddressOutside {
        /// The address as given.
        address: IpAddr,
        /// The network's subnet of that family.
        subnet: IpNet,
    },
    /// The gateway, or the first or last address of the subnet.
    #[error("address {address} is the {what} address of {subnet}")]
    AddressReserved {
        /// The address as given.
        address: IpAddr,
        /// `gateway`, `network`, `broadcast` or `anycast`.
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
    #[error("--internal contradicts network option 'internal=false'")]
    Contradiction,
    /// No parent.
    #[error("network has no parent interface")]
    NoParent,
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
            Self::SubnetTwice(_) => "a network has at most one IPv4 and one IPv6 subnet".into(),
            Self::NoSubnet => "give one: --subnet 192.168.1.0/24".into(),
            Self::OptionForm(_) | Self::OptionKey(_) => {
                format!("valid options: {}", network::OPTION_KEYS.join(", "))
            }
            Self::Mode(_) => "valid modes: l2 (the default), l3, l3s".into(),
            Self::Flag(_) => "valid flags: bridge (the default), private, vepa".into(),
            Self::Multicast(_) => "valid settings: on (the default), local, off".into(),
            Self::InternalRoutedIpv6(_) => "use ipvlan_mode=l2, or an IPv4 subnet alone".into(),
            Self::Xdp(_) => "valid settings: auto, native, generic, off (the default)".into(),
            Self::MulticastRate(_) => "use a number of frames a second up to 1000000; 0 is no limit".into(),
            Self::Bool { .. } => "use true or false".into(),
            Self::Contradiction => "leave one of them out".into(),
            Self::NoParent => "name the interface that the network is to use: -o parent=eth0".into(),
            Self::Loopback => "use the interface that leads to the network, as in -o parent=eth0".into(),
            _ => return None,
        })
    }
}
