//! Layouts that cross the kernel boundary. Addresses are byte arrays in network order, padding is explicit.

use bytemuck::{Pod, Zeroable};

/// Number of an endpoint or of a parent: what `skb->tc_index` carries, and the index of its counters. 0 is nobody's.
pub type Slot = u16;
/// A MAC address.
pub type Mac = [u8; 6];
/// A secret that seals are made with; all zero never verifies.
pub type Key = [u64; 2];

/// The slot belongs to a parent: what it seals came from the wire.
pub const WIRE: u32 = 1 << 0;
/// Nothing passes between the endpoint and the wire.
pub const INTERNAL: u32 = 1 << 1;
/// The endpoint and the others of its network do not speak to each other.
pub const PRIVATE: u32 = 1 << 2;

/// The host routes what the endpoint sends, and may give it another source: modes l3 and l3s.
pub const L3: u32 = 1 << 3;
/// What the endpoint receives from the wire passes the host's stack, and no ingress hook of the slave: mode l3s.
pub const L3S: u32 = 1 << 4;
/// The switch sends frames between endpoints back to their parent.
pub const VEPA: u32 = 1 << 5;
/// The endpoint's broadcasts and multicasts, but for ARP and ICMPv6, stay on this host.
pub const MULTICAST_LOCAL: u32 = 1 << 6;
/// The endpoint sends and receives no broadcasts and multicasts but ARP and ICMPv6.
pub const MULTICAST_OFF: u32 = 1 << 7;
/// Requests for a neighbour's address go to everybody, as ipvlan has it.
pub const ASK_ALL: u32 = 1 << 8;
/// The host routes what the parent's endpoints send: modes l3 and l3s.
pub const ROUTES: u32 = 1 << 9;
/// The host may send the endpoint's frames with an address of its own as their source.
pub const SNAT: u32 = 1 << 10;
/// The endpoint and its host may speak to each other.
pub const HOST_ACCESS: u32 = 1 << 11;
/// In no entry: the program leaves requests for a neighbour's address to another one.
pub const LEAVES_REQUESTS: u32 = 1 << 31;

/// What verifying programs know of a sender. All zero: not registered, so nothing it sends arrives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SlotEntry {
    /// What this slot's programs seal with.
    pub key: Key,
    /// The network's number; 0 for a parent.
    pub network: u32,
    /// [`WIRE`] and the others above.
    pub flags: u32,
    /// The endpoint's IPv4 address; all zero for none.
    pub ipv4: [u8; 4],
    /// The broadcast address of its IPv4 subnet; all zero for none.
    pub broadcast: [u8; 4],
    /// The endpoint's IPv6 address; all zero for none.
    pub ipv6: [u8; 16],
    /// The endpoint's IPv6 link-local address; all zero for none.
    pub link_local: [u8; 16],
}

/// Who a program works for. Written into its `.rodata` before it is loaded, so that it costs no lookup.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Identity {
    /// What others know of it.
    pub entry: SlotEntry,
    /// For a parent's programs, the address of the parent's netns in this kernel, which sockets are held against.
    pub netns: u64,
    /// Nanoseconds that each broadcast or multicast costs the endpoint; 0 for no limit.
    pub group_interval: u32,
    /// The endpoint's own slot; the parent's in a parent's programs.
    pub slot: Slot,
    /// The parent's slot, whose addresses lookups are about.
    pub parent: Slot,
    /// The parent's MAC, which its slaves share.
    pub mac: Mac,
    /// Explicit padding.
    pub pad: [u8; 2],
}

/// Key of an IPv4 address on a parent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Ipv4Key {
    /// The address.
    pub address: [u8; 4],
    /// The parent's slot: two parents may carry the same subnet.
    pub parent: Slot,
    /// Explicit padding.
    pub pad: [u8; 2],
}

impl Ipv4Key {
    /// `address` on the parent with slot `parent`.
    #[must_use]
    #[inline(always)]
    pub const fn new(parent: Slot, address: [u8; 4]) -> Self {
        Self { address, parent, pad: [0; 2] }
    }
}

/// Key of an IPv6 address on a parent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Ipv6Key {
    /// The address.
    pub address: [u8; 16],
    /// The parent's slot.
    pub parent: Slot,
    /// Explicit padding.
    pub pad: [u8; 2],
}

impl Ipv6Key {
    /// `address` on the parent with slot `parent`.
    #[must_use]
    #[inline(always)]
    pub const fn new(parent: Slot, address: [u8; 16]) -> Self {
        Self { address, parent, pad: [0; 2] }
    }
}

/// Accepted traffic of one slot on one CPU. A parent's is what its endpoints exchange with the wire.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Traffic {
    /// Frames sent; a segmentation-offloaded frame counts once.
    pub tx_packets: u64,
    /// Bytes sent, with link headers.
    pub tx_bytes: u64,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received, with link headers.
    pub rx_bytes: u64,
    /// Requests for a neighbour's address that were answered on the spot: an endpoint's own, a parent's those of the wire.
    pub answered: u64,
    /// Those that went to the wire and to no other endpoint.
    pub aside: u64,
}

/// Key of a drop counter.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct DropKey {
    /// Who is charged: the endpoint that the seal names as the sender, else the endpoint or the parent at which it was cut.
    pub slot: Slot,
    /// A [`crate::DropReason`] as its number.
    pub reason: u16,
}

const _: () = {
    assert!(size_of::<SlotEntry>() == 64);
    assert!(size_of::<Identity>() == 88);
    assert!(size_of::<Ipv4Key>() == 8);
    assert!(size_of::<Ipv6Key>() == 20);
    assert!(size_of::<Traffic>() == 48);
    assert!(size_of::<DropKey>() == 4);
};

#[cfg(feature = "user")]
mod user {
    use super::{DropKey, Identity, Ipv4Key, Ipv6Key, SlotEntry, Traffic};

    macro_rules! aya_pod {
        ($($type:ty),+) => {
            // SAFETY: bytemuck::Pod, derived on each, has checked the same: plain data without padding.
            $(unsafe impl aya::Pod for $type {})+
        };
    }
    aya_pod!(SlotEntry, Identity, Ipv4Key, Ipv6Key, Traffic, DropKey);
}
