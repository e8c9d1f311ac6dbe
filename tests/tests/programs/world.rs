//! One parent and its endpoints, as the verdict on the host and as the programs in the kernel see them.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use ipnet::Ipv4Net;
use ipvlan_common::{
    Identity, Slot, SlotEntry,
    packet::Frame,
    seal::{Behalf, seal_for},
    tables::Tables,
    types::{Key, Mac},
};
use ipvlan_ctl::{
    bpf::{EndpointIdentity, ParentIdentity},
    model::{Mode, Multicast},
};

/// The parent's MAC, and so every slave's.
pub(crate) const MAC: Mac = [2, 0, 0, 0, 0, 1];
/// A machine on the wire.
pub(crate) const LAN_MAC: Mac = [2, 0, 0, 0, 0, 9];
/// Its address.
pub(crate) const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 9);
/// Its IPv6 address.
pub(crate) const LAN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);

/// The host's own address.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 250);
/// Its IPv6 address.
pub(crate) const HOST6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 250);

/// The parent's slot.
pub(crate) const PARENT: Slot = 1;
/// An endpoint, and
pub(crate) const A: Slot = 2;
/// another one of its network.
pub(crate) const B: Slot = 3;
/// One of another network.
pub(crate) const OTHER: Slot = 4;
/// One of an internal network, and
pub(crate) const INNER: Slot = 5;
/// another one of that.
pub(crate) const INNER_PEER: Slot = 6;
/// One of a private network, and
pub(crate) const SHY: Slot = 7;
/// another one of that.
pub(crate) const SHY_PEER: Slot = 8;
/// An endpoint without IPv6.
pub(crate) const ONLY4: Slot = 9;
/// One of a network in mode l3.
pub(crate) const ROUTED: Slot = 10;
/// One of an internal network in mode l3, and
pub(crate) const ROUTED_INNER: Slot = 11;
/// another one of that.
pub(crate) const ROUTED_INNER_PEER: Slot = 12;
/// One of a network in mode l3s.
pub(crate) const BEHIND_STACK: Slot = 13;
/// One of a network without multicast.
pub(crate) const QUIET: Slot = 14;
/// One of a network whose multicast stays on the host.
pub(crate) const NEAR: Slot = 15;
/// One that may send one broadcast a second.
pub(crate) const SLOW: Slot = 17;
/// One of an internal network in mode l3s.
pub(crate) const BEHIND_STACK_INNER: Slot = 18;
/// An endpoint without IPv4.
pub(crate) const ONLY6: Slot = 19;
/// One of a network in mode l3 without multicast.
pub(crate) const ROUTED_QUIET: Slot = 20;
/// One of a network whose requests go to everybody.
pub(crate) const LOUD: Slot = 21;
/// One of a network in mode l3 whose frames the host may send as its own.
pub(crate) const NATTED: Slot = 22;
/// One that may speak with the host, in the network of A and B, which may not;
pub(crate) const GRANTED: Slot = 23;
/// one of the internal network,
pub(crate) const GRANTED_INNER: Slot = 24;
/// of that in mode l3,
pub(crate) const GRANTED_ROUTED: Slot = 25;
/// of that in mode l3s,
pub(crate) const GRANTED_BEHIND_STACK: Slot = 26;
/// of the one whose requests go to everybody,
pub(crate) const GRANTED_LOUD: Slot = 27;
/// and of the internal one in mode l3.
pub(crate) const GRANTED_ROUTED_INNER: Slot = 28;
/// The parent, if its networks had the flag vepa.
pub(crate) const VEPA_PARENT: Slot = 16;
/// The highest of them.
pub(crate) const LAST: Slot = GRANTED_ROUTED_INNER;
/// A slot that nobody has registered.
pub(crate) const NOBODY: Slot = 77;

/// An endpoint's IPv4 address.
pub(crate) fn ip4(slot: Slot) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, 100 + slot as u8)
}

/// An endpoint's IPv6 address.
pub(crate) fn ip6(slot: Slot) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 100 + slot)
}

/// An endpoint's link-local address.
pub(crate) fn link_local(slot: Slot) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 100 + slot)
}

/// The secret that `slot` seals with.
pub(crate) fn key(slot: Slot) -> Key {
    [0x5ea1_0000_0000_0000 + u64::from(slot), !u64::from(slot)]
}

/// What `slot` leaves on `frame`; 0 where there is nothing to seal.
pub(crate) fn seal(slot: Slot, frame: &[u8]) -> u32 {
    let sender = match slot {
        NOBODY => SlotEntry { key: key(NOBODY), ..SlotEntry::default() },
        _ => identity(slot).entry,
    };
    Frame::parse(frame).map_or(0, |frame| ipvlan_common::seal::seal(&frame, &sender))
}

/// What the parent's programs leave on a frame of the host's to an endpoint.
pub(crate) fn seal_of_host(frame: &[u8]) -> u32 {
    Frame::parse(frame).map_or(0, |frame| seal_for(Behalf::Host, &frame, &parent().entry()))
}

/// The parent.
pub(crate) fn parent() -> ParentIdentity {
    ParentIdentity { slot: PARENT, key: key(PARENT), mac: MAC, vepa: false, routes: false }
}

/// Every endpoint. Those of all modes are on one parent here, since the programs don't mind.
pub(crate) fn endpoints() -> Vec<EndpointIdentity> {
    let networks: [(u32, &[Slot]); 14] = [
        (1, &[A, B, ONLY4, ONLY6, GRANTED]),
        (2, &[OTHER]),
        (3, &[INNER, INNER_PEER, GRANTED_INNER]),
        (4, &[SHY, SHY_PEER]),
        (5, &[ROUTED, GRANTED_ROUTED]),
        (6, &[ROUTED_INNER, ROUTED_INNER_PEER, GRANTED_ROUTED_INNER]),
        (7, &[BEHIND_STACK, GRANTED_BEHIND_STACK]),
        (8, &[QUIET]),
        (9, &[NEAR]),
        (10, &[SLOW]),
        (11, &[BEHIND_STACK_INNER]),
        (12, &[ROUTED_QUIET]),
        (13, &[LOUD, GRANTED_LOUD]),
        (14, &[NATTED]),
    ];
    let pairs = networks.iter().flat_map(|(network, slots)| slots.iter().map(|slot| (*slot, *network)));
    pairs
        .map(|(slot, network)| {
            let (has_ipv4, has_ipv6) = (slot != ONLY6, slot != ONLY4);
            EndpointIdentity {
                slot,
                key: key(slot),
                network,
                internal: [3, 6, 11].contains(&network),
                private: network == 4,
                mode: match network {
                    5 | 6 | 12 | 14 => Mode::L3,
                    7 | 11 => Mode::L3s,
                    _ => Mode::L2,
                },
                multicast: match network {
                    8 | 12 => Multicast::Off,
                    9 => Multicast::Local,
                    _ => Multicast::On,
                },
                asks_all: network == 13,
                snat: network == 14,
                host_access: (GRANTED..=GRANTED_ROUTED_INNER).contains(&slot),
                multicast_rate: (slot == SLOW).then_some(1),
                parent: PARENT,
                mac: MAC,
                ipv4: Ipv4Net::new(ip4(slot), 24).ok().filter(|_| has_ipv4),
                ipv6: has_ipv6.then(|| ip6(slot)),
                link_local: has_ipv6.then(|| link_local(slot)),
            }
        })
        .collect()
}

/// The identity of the programs of `slot`.
pub(crate) fn identity(slot: Slot) -> Identity {
    if slot == VEPA_PARENT {
        let identity = ParentIdentity { slot, vepa: true, ..parent() }.identity();
        return Identity { parent: PARENT, ..identity };
    }
    endpoints()
        .iter()
        .find(|it| it.slot == slot)
        .map_or_else(|| parent().identity(), EndpointIdentity::identity)
}

/// The lookups, without a kernel.
#[derive(Default)]
pub(crate) struct HostTables {
    slots: HashMap<Slot, SlotEntry>,
    ipv4: HashMap<[u8; 4], Slot>,
    ipv6: HashMap<[u8; 16], Slot>,
}

impl HostTables {
    /// The tables of this world.
    pub(crate) fn shared() -> &'static Self {
        static TABLES: LazyLock<HostTables> = LazyLock::new(HostTables::new);
        &TABLES
    }

    fn new() -> Self {
        let mut tables = Self::default();
        tables.slots.insert(PARENT, parent().entry());
        tables.ipv4.insert(HOST.octets(), PARENT);
        tables.ipv6.insert(HOST6.octets(), PARENT);
        for endpoint in endpoints() {
            tables.slots.insert(endpoint.slot, endpoint.entry());
            tables.ipv4.extend(endpoint.ipv4.map(|ip| (ip.addr().octets(), endpoint.slot)));
            for ip in [endpoint.ipv6, endpoint.link_local] {
                tables.ipv6.extend(ip.map(|ip| (ip.octets(), endpoint.slot)));
            }
        }
        tables
    }
}

impl Tables for HostTables {
    fn slot(&self, slot: Slot) -> Option<&SlotEntry> {
        self.slots.get(&slot)
    }

    /// A test's host has sent a burst already.
    fn afford_group(&self, _: Slot, _: u32) -> bool {
        false
    }

    fn ipv4(&self, parent: Slot, address: [u8; 4]) -> Option<Slot> {
        (parent == PARENT).then(|| self.ipv4.get(&address).copied()).flatten()
    }

    fn ipv6(&self, parent: Slot, address: [u8; 16]) -> Option<Slot> {
        (parent == PARENT).then(|| self.ipv6.get(&address).copied()).flatten()
    }
}
