//! The data path as the controller sees it: shared maps, and programs on slaves and parents. Only this module names a map.
//!
//! Everything that must outlive the controller is pinned: maps under `maps/`, TCX links under `links/`, both below a
//! directory that carries the ABI version, so that programs never meet maps of another layout.

mod attach;
mod cost;
mod error;
mod events;
mod kept;
mod netns;
mod object;
mod pins;
mod presence;
mod qdisc;
mod support;
mod tables;
mod timing;
#[cfg(feature = "log")]
mod verdicts;
mod xdp;

use std::{net::Ipv6Addr, path::Path};

use aya::{
    maps::{MapData, ProgramArray},
    programs::XdpMode,
};
pub use cost::Cost;
pub use error::BpfError;
pub use events::{Events, Lost};
use ipnet::Ipv4Net;
use ipvlan_common::{
    DropReason, Identity, Slot, SlotEntry, schema,
    types::{
        ASK_ALL, HOST_ACCESS, INTERNAL, Key, L3, L3S, MULTICAST_LOCAL, MULTICAST_OFF, PRIVATE, ROUTES, SNAT,
        VEPA, WIRE,
    },
};
#[doc(hidden)]
pub use object::{BENCH, PRIME};
use pins::Pins;
pub use pins::{has_pins, is_mountable, on_bpf_fs};
pub use qdisc::{lacks_clsact, remove_unused_clsact};
pub use support::has_tcx;
use tables::Tables;
pub use timing::{Round, Timed, time};
#[cfg(feature = "log")]
pub use verdicts::Verdicts;

use crate::model::{Mode, Multicast};

/// Whom a parent's programs work for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentIdentity {
    /// The parent's own slot.
    pub slot: Slot,
    /// The secret that its programs seal with.
    pub key: Key,
    /// Its MAC.
    pub mac: [u8; 6],
    /// Whether the switch sends its endpoints' frames back.
    pub vepa: bool,
    /// Whether the host routes its endpoints' frames.
    pub routes: bool,
}

/// Whom a slave's programs work for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointIdentity {
    /// The endpoint's slot.
    pub slot: Slot,
    /// The secret that its programs seal with.
    pub key: Key,
    /// Its network's number.
    pub network: u32,
    /// Whether nothing passes between it and the wire.
    pub internal: bool,
    /// Whether nothing passes between it and the others of its network.
    pub private: bool,
    /// Its network's mode.
    pub mode: Mode,
    /// How far its broadcasts and multicasts go.
    pub multicast: Multicast,
    /// Whether requests for its neighbours, and for it, go to everybody.
    pub asks_all: bool,
    /// Whether the host may put an address of its own in the place of the endpoint's.
    pub snat: bool,
    /// Whether it and the host may speak to each other.
    pub host_access: bool,
    /// Broadcasts and multicasts that it may send in a second; `None` for no limit.
    pub multicast_rate: Option<u32>,
    /// The parent's slot.
    pub parent: Slot,
    /// The parent's MAC.
    pub mac: [u8; 6],
    /// Its IPv4 address, in its subnet.
    pub ipv4: Option<Ipv4Net>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Its IPv6 link-local address.
    pub link_local: Option<Ipv6Addr>,
}

impl ParentIdentity {
    /// What verifying programs know of frames from the wire.
    #[must_use]
    pub fn entry(&self) -> SlotEntry {
        let flags = WIRE | if self.vepa { VEPA } else { 0 };
        SlotEntry { key: self.key, flags, ..SlotEntry::default() }
    }

    /// What the parent's programs are compiled with.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let Self { slot, mac, .. } = *self;
        let mut entry = self.entry();
        entry.flags |= if self.routes { ROUTES } else { 0 };
        Identity { entry, slot, mac, parent: slot, ..Identity::default() }
    }
}

impl EndpointIdentity {
    /// What verifying programs know of this sender.
    #[must_use]
    pub fn entry(&self) -> SlotEntry {
        let ipv6 = |address: Option<Ipv6Addr>| address.map_or([0; 16], |it| it.octets());
        let flag = |flag, set| if set { flag } else { 0 };
        SlotEntry {
            key: self.key,
            network: self.network,
            flags: flag(INTERNAL, self.internal)
                | flag(PRIVATE, self.private)
                | flag(L3, self.mode != Mode::L2)
                | flag(L3S, self.mode == Mode::L3s)
                | flag(MULTICAST_LOCAL, self.multicast == Multicast::Local)
                | flag(MULTICAST_OFF, self.multicast == Multicast::Off)
                | flag(ASK_ALL, self.asks_all)
                | flag(SNAT, self.snat)
                | flag(HOST_ACCESS, self.host_access),
            ipv4: self.ipv4.map_or([0; 4], |it| it.addr().octets()),
            broadcast: self.ipv4.map_or([0; 4], |it| it.broadcast().octets()),
            ipv6: ipv6(self.ipv6),
            link_local: ipv6(self.link_local),
        }
    }

    /// What the slave's programs are compiled with.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let Self { slot, mac, parent, .. } = *self;
        let group_interval = self.multicast_rate.map_or(0, |rate| (NANOS_PER_SECOND / rate.max(1)).max(1));
        Identity { entry: self.entry(), slot, mac, parent, group_interval, ..Identity::default() }
    }
}

/// What one slot has let through and refused, over all CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent, with link headers.
    pub tx_bytes: u64,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received, with link headers.
    pub rx_bytes: u64,
    /// Requests for a neighbour's address that were answered on the spot.
    pub answered: u64,
    /// Those that went to the wire alone.
    pub aside: u64,
    /// Frames refused, by reason; reasons without any are left out.
    pub drops: Vec<(DropReason, u64)>,
}

/// The shared maps, and the way to put programs on links.
pub struct Dataplane {
    pins: Pins,
    tables: Tables,
}

impl Dataplane {
    /// Opens the shared maps below `pin_dir`, which must be on a BPF file system; makes and pins those that are missing, for as
    /// many endpoints and parents as `capacity`.
    ///
    /// # Errors
    /// Where there is no BPF file system, a pinned map has another layout, or the kernel refuses a map.
    pub fn create(pin_dir: &Path, capacity: Slot) -> Result<Self, BpfError> {
        let pins = Pins::create(pin_dir)?;
        if !pins.has_maps() {
            object::pin_maps(&pins, capacity)?;
        }
        Ok(Self { tables: Tables::open(&pins)?, pins })
    }

    /// Opens the shared maps below `pin_dir`; makes nothing, and is `None` where they aren't complete.
    ///
    /// # Errors
    /// Where a pinned map has another layout or can't be opened.
    pub fn open(pin_dir: &Path) -> Result<Option<Self>, BpfError> {
        let pins = Pins::new(pin_dir);
        pins.refuse_other_versions()?;
        if !pins.has_maps() {
            return Ok(None);
        }
        Ok(Some(Self { tables: Tables::open(&pins)?, pins }))
    }

    /// How many endpoints and parents the shared maps have room for: their highest slot.
    #[must_use]
    pub const fn capacity(&self) -> Slot {
        self.tables.capacity
    }

    /// Removes the shared maps, and any link that is still pinned, below `pin_dir`. Nothing there is fine.
    ///
    /// # Errors
    /// Where the BPF file system refuses.
    pub fn remove_all(pin_dir: &Path) -> Result<(), BpfError> {
        Pins::new(pin_dir).remove_all()
    }

    /// Makes `slot` known to every verifying program; its counters start at zero.
    ///
    /// # Errors
    /// Where the map refuses.
    pub fn register_slot(&mut self, slot: Slot, entry: SlotEntry) -> Result<(), BpfError> {
        self.tables.zero_counters(slot)?;
        self.tables.set_slot(slot, entry)
    }

    /// From here on nothing that `slot` sends arrives. Its counters go too; doing it twice is fine.
    ///
    /// # Errors
    /// Where the map refuses.
    pub fn unregister_slot(&mut self, slot: Slot) -> Result<(), BpfError> {
        self.tables.set_slot(slot, SlotEntry::default())?;
        self.tables.zero_counters(slot)
    }

    /// Whose `ip` is on `parent`: an endpoint's, or the parent's own slot for the host.
    ///
    /// # Errors
    /// Where the map refuses.
    pub fn holder(&self, parent: Slot, ip: std::net::IpAddr) -> Result<Option<Slot>, BpfError> {
        self.tables.holder(parent, ip)
    }

    /// `ip` on `parent` is `slot`'s; that of the host is the parent's own.
    ///
    /// # Errors
    /// Where the map is full or refuses.
    pub fn add_address(&mut self, parent: Slot, ip: std::net::IpAddr, slot: Slot) -> Result<(), BpfError> {
        self.tables.add_address(parent, ip, slot)
    }

    /// `ip` on `parent` is nobody's. Doing it twice is fine.
    ///
    /// # Errors
    /// Where the map refuses.
    pub fn remove_address(&mut self, parent: Slot, ip: std::net::IpAddr) -> Result<(), BpfError> {
        self.tables.remove_address(parent, ip)
    }

    /// Puts the parent's programs on `ifname` in the calling thread's netns, and one on `lo`, replacing ours if they are there.
    ///
    /// # Errors
    /// Where the kernel refuses a program or its place.
    pub fn attach_parent(&self, id: &ParentIdentity, ifname: &str) -> Result<(), BpfError> {
        let identity = Identity { netns: netns::of_sockets_here(&self.pins)?, ..id.identity() };
        self.share()?;
        attach::attach(&self.pins, &identity, LOOPBACK, &attach::LOOPBACK)?;
        attach::attach(&self.pins, &identity, ifname, &attach::PARENT)
    }

    /// Puts the parent's XDP program on `ifname` in the calling thread's netns, in the driver or, if `generic`, behind it.
    ///
    /// # Errors
    /// Where the driver, or another XDP program that is there, does not let it.
    pub fn attach_xdp(&self, id: &ParentIdentity, ifname: &str, generic: bool) -> Result<(), BpfError> {
        let mode = if generic { XdpMode::Skb } else { XdpMode::Driver };
        xdp::attach(&self.pins, &id.identity(), ifname, mode)
    }

    /// Puts the programs that all slaves' call where they find them.
    ///
    /// # Errors
    /// Where the kernel refuses one.
    #[doc(hidden)]
    pub fn share(&self) -> Result<(), BpfError> {
        let mut object = object::load(&self.pins, &Identity::default(), schema::SHARED[0])?;
        let mut shared: ProgramArray<MapData> = tables::open(&self.pins, schema::SHARED_MAP)?;
        for (name, index) in schema::SHARED.into_iter().zip(0..) {
            let program = object::program(&mut object, name)?;
            let program = program.fd().map_err(error::refused(name, "share", None))?;
            shared.set(index, program, 0).map_err(tables::map(schema::SHARED_MAP, "write"))?;
        }
        Ok(())
    }

    /// The object that has `program`, for `identity`, on the shared maps.
    #[doc(hidden)]
    pub fn load(&self, identity: &Identity, program: &str) -> Result<aya::Ebpf, BpfError> {
        object::load(&self.pins, identity, program)
    }

    /// Address of the calling thread's netns, as the parent's programs find it in a socket.
    #[doc(hidden)]
    pub fn socket_netns(&self) -> Result<u64, BpfError> {
        netns::of_sockets_here(&self.pins)
    }

    /// Takes the parent's programs off; `ifname` is `None` once the parent has gone. Doing it twice is fine.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn detach_parent(&self, slot: Slot, ifname: Option<&str>) -> Result<(), BpfError> {
        pins::unpin(&self.pins.link(slot, schema::PARENT_XDP))?;
        attach::detach(&self.pins, slot, Some(LOOPBACK), &attach::LOOPBACK)?;
        attach::detach(&self.pins, slot, ifname, &attach::PARENT)
    }

    /// Whether the parent's programs are on the interface with number `ifindex` in the calling thread's netns, and on its `lo`, and
    /// those that all its endpoints share are there.
    ///
    /// # Errors
    /// Where the kernel doesn't say.
    pub fn parent_is_enforced(&self, slot: Slot, ifindex: u32) -> Result<bool, BpfError> {
        Ok(tables::has_shared(&self.pins)?
            && presence::are_on(&self.pins, slot, &attach::PARENT, ifindex)?
            && presence::are_on(&self.pins, slot, &attach::LOOPBACK, LOOPBACK_INDEX)?)
    }

    /// Whether the parent's XDP program is on the interface with number `ifindex`.
    ///
    /// # Errors
    /// Where its pin can't be opened.
    pub fn xdp_is_on(&self, slot: Slot, ifindex: u32) -> Result<bool, BpfError> {
        Ok(presence::device(&self.pins.link(slot, schema::PARENT_XDP))? == Some(ifindex))
    }

    /// Puts the endpoint's programs on its slave `ifname` in the calling thread's netns.
    ///
    /// # Errors
    /// Where the kernel refuses a program or its place.
    pub fn attach_endpoint(&self, id: &EndpointIdentity, ifname: &str) -> Result<(), BpfError> {
        attach::attach(&self.pins, &id.identity(), ifname, &attach::SLAVE)
    }

    /// Whether the endpoint's programs are on its slave, the interface with number `ifindex` in the calling thread's netns.
    ///
    /// # Errors
    /// Where the kernel doesn't say.
    pub fn endpoint_is_enforced(&self, slot: Slot, ifindex: u32) -> Result<bool, BpfError> {
        presence::are_on(&self.pins, slot, &attach::SLAVE, ifindex)
    }

    /// The number of the interface that the endpoint's pinned programs are on, in whichever netns; `None` where it has gone, and
    /// on kernels without TCX.
    ///
    /// # Errors
    /// Where a pin can't be opened.
    pub fn endpoint_device(&self, slot: Slot) -> Result<Option<u32>, BpfError> {
        for (program, _) in attach::SLAVE {
            if let Some(ifindex) = presence::device(&self.pins.link(slot, program))? {
                return Ok(Some(ifindex));
            }
        }
        Ok(None)
    }

    /// Forgets the endpoint's links; the programs go with them, or with the slave. Doing it twice is fine.
    ///
    /// # Errors
    /// Where the BPF file system refuses.
    pub fn detach_endpoint(&self, slot: Slot) -> Result<(), BpfError> {
        attach::detach(&self.pins, slot, None, &attach::SLAVE)
    }

    /// What `slot` has let through and refused.
    ///
    /// # Errors
    /// Where a map refuses.
    pub fn counters(&self, slot: Slot) -> Result<Counters, BpfError> {
        self.tables.counters(slot)
    }
}

const NANOS_PER_SECOND: u32 = 1_000_000_000;
/// The name of the loopback interface, which has a program of each parent too.
pub const LOOPBACK: &str = "lo";
/// Its number, in every netns (`LOOPBACK_IFINDEX`).
const LOOPBACK_INDEX: u32 = 1;
