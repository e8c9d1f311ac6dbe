//! Endpoints: a slave in a network namespace, with its addresses.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use ipvlan_common::types::Key;

use super::{IfName, Name, Owner, Slot, State};

/// An endpoint of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its number.
    pub slot: Slot,
    /// The secret that its programs seal with.
    pub key: Key,
    /// Its name.
    pub name: Name,
    /// The number of its network.
    pub network: u32,
    /// The slot of its network's parent.
    pub parent: Slot,
    /// Its addresses.
    pub addresses: Addresses,
    /// The name of its interface.
    pub ifname: IfName,
    /// The interface index of its slave.
    pub ifindex: u32,
    /// The namespace that it lives in.
    pub netns: NetnsRef,
    /// How far it has come.
    pub state: State,
    /// The engine that manages it.
    pub owner: Option<Owner>,
    /// Whether it and the host may speak with each other.
    pub host_access: bool,
}

impl Endpoint {
    /// Whether it is to be enforced, wherever its slave is.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Offered | State::Up)
    }

    /// The name that the slave has until it is complete.
    #[must_use]
    pub fn temporary_ifname(&self) -> String {
        temporary_ifname(self.ifindex)
    }
}

/// The name that the slave with an index has until it is complete. It can't meet one that a user chose: the kernel refuses the
/// creation then, and the index differs at the next try.
#[must_use]
pub fn temporary_ifname(ifindex: u32) -> String {
    format!("ipvlan{ifindex:x}")
}

/// The addresses of an endpoint. The link-local one comes with IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Addresses {
    /// In the network's IPv4 subnet.
    pub ipv4: Option<Ipv4Addr>,
    /// In the network's IPv6 subnet.
    pub ipv6: Option<Ipv6Addr>,
    /// In `fe80::/64`.
    pub link_local: Option<Ipv6Addr>,
}

impl Addresses {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let Self { ipv4, ipv6, link_local } = *self;
        ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6)).chain(link_local.map(IpAddr::V6))
    }
}

/// A network namespace, so that it is found again and never mistaken for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetnsRef {
    /// What the user called it.
    pub label: String,
    /// Where it was found.
    pub path: PathBuf,
    /// The kernel's cookie of the namespace: unlike an inode number, it isn't used again until the next boot. None is 0.
    pub cookie: u64,
}

impl NetnsRef {
    /// A namespace that is to be at `path`, and may not exist yet.
    #[must_use]
    pub fn to_come(label: String, path: PathBuf) -> Self {
        Self { label, path, cookie: 0 }
    }

    /// Its name, where it is one that `ip netns` lists.
    #[must_use]
    pub fn name(&self) -> Option<&Path> {
        let named = ["/run/netns", "/var/run/netns"].map(Path::new);
        let directory = self.path.parent().filter(|directory| named.contains(directory));
        directory.and(self.path.file_name()).map(Path::new)
    }
}

/// The link-local address that the kernel itself gives a slave, whose number on its parent is `dev_id` (addrconf_ifid_eui48).
#[must_use]
pub fn kernel_link_local(mac: [u8; 6], dev_id: u16) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let [high, low] = dev_id.to_be_bytes();
    let segment = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, segment(a, b), segment(c, high), segment(low, d), segment(e, f))
}

/// The link-local address of an endpoint: the parent's EUI-64 with its filler replaced by the slot, because slaves
/// share the parent's MAC address and would all derive the same one.
#[must_use]
pub fn link_local(mac: [u8; 6], slot: Slot) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let [high, low] = slot.to_be_bytes();
    let segment = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, segment(a ^ 2, b), segment(c, high), segment(low, d), segment(e, f))
}

#[cfg(test)]
mod tests {
    use ipvlan_common::schema::MAX_CAPACITY;

    use super::*;

    #[test]
    fn names_are_those_of_ip_netns() {
        let name = |path: &str| {
            let netns = NetnsRef { label: String::new(), path: path.into(), cookie: 1 };
            netns.name().map(Path::to_path_buf)
        };
        assert_eq!(name("/run/netns/red"), Some("red".into()));
        assert_eq!(name("/var/run/netns/red"), Some("red".into()));
        for path in ["/run/netns/..", "/run/netns/a/b", "/run/netns", "/proc/7/ns/net", "netns/red", ""] {
            assert_eq!(name(path), None, "{path}");
        }
    }

    #[test]
    fn link_local_is_the_parents_with_the_slot_inside() {
        let mac = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
        assert_eq!(link_local(mac, 0x0102), "fe80::5054:1:212:3456".parse::<Ipv6Addr>().unwrap());
        let parents_own: Ipv6Addr = "fe80::5054:ff:fe12:3456".parse().unwrap();
        assert!((1..=MAX_CAPACITY).all(|slot| link_local(mac, slot) != parents_own));
    }
}
