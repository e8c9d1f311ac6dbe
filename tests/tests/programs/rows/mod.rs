//! The rules as a table: a frame at a hook, and what must become of it.

mod from_host;
mod modes;
mod neighbour;
mod parent;
mod receiver;
mod replay;
mod resolve;
mod sender;
mod to_host;

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use etherparse::ArpOperation;
use ipvlan_common::{
    DropReason,
    Hook::{self, ParentEgress, SlaveEgress, SlaveIngress},
    Slot, Verdict,
    resolve::ASIDE,
    types::Mac,
};
use ipvlan_tests::frame::{self, Arp, BROADCAST, Link};

use crate::{
    kernel::reply,
    world::{A, B, LAN_MAC, MAC, PARENT, seal, seal_of_host},
};

/// Where an endpoint's programs look at a frame; elsewhere it is a parent's.
pub(crate) const AT_SLAVES: [Hook; 2] = [SlaveEgress, SlaveIngress];

/// Who sent a frame, as the kernel's bookkeeping has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// A socket of the parent's netns.
    Here,
    /// Somebody whose frame came in by another interface.
    Forwarded,
    /// A socket of another netns.
    Elsewhere,
    /// ipvlan's multicast queue.
    Queue,
}

/// One row.
#[derive(Clone)]
pub(crate) struct Row {
    /// What it shows.
    pub(crate) name: &'static str,
    /// Where the frame is.
    pub(crate) hook: Hook,
    /// Whose program looks at it.
    pub(crate) me: Slot,
    /// The frame.
    pub(crate) frame: Vec<u8>,
    /// What `tc_index` and `hash` say when it arrives.
    pub(crate) seal: (Slot, u32),
    /// The VLAN id of an offloaded tag.
    pub(crate) vlan: Option<u16>,
    /// Who sent it, as the kernel's bookkeeping has it.
    pub(crate) origin: Origin,
    /// What must become of it.
    pub(crate) verdict: Verdict,
}

impl Row {
    /// The same frame in the parent's XDP program, if it is the wire's: what is refused to the wire is refused there already.
    fn before_the_kernel(&self) -> Option<Self> {
        use DropReason::{Internal, WireSpoof};
        let refused = matches!(self.verdict, Verdict::Drop { reason: WireSpoof | Internal, .. });
        let verdict = if refused { self.verdict } else { Verdict::Pass };
        (self.seal == (0, 0)).then(|| Self {
            hook: Hook::ParentXdp,
            frame: self.frame.clone(),
            vlan: None,
            verdict,
            ..*self
        })
    }

    /// The same frame with A's seal where it would come out: it is judged there once more, and charged to A.
    fn where_it_comes_out(&self) -> [Self; 2] {
        // A request that everybody was asked, as the network may have it.
        let verdict = match self.verdict {
            Verdict::Seal { .. } | Verdict::Answer { .. } | Verdict::Aside { .. } => Verdict::Open,
            refused => refused,
        };
        [(SlaveIngress, B), (ParentEgress, PARENT)].map(|(hook, me)| Self {
            hook,
            me,
            seal: by(A).on(&self.frame),
            verdict,
            frame: self.frame.clone(),
            ..*self
        })
    }
}

/// A row's seal before there is a frame to put it on.
#[derive(Clone, Copy)]
pub(crate) enum Stamp {
    /// A slot, and the slot whose secret the seal is made with.
    Sealed(Slot, Slot),
    /// A slot and a hash, whatever the frame is.
    Raw(Slot, u32),
    /// As the host's to an endpoint.
    OfHost,
}

impl Stamp {
    /// The stamp's slot and hash on `frame`.
    fn on(self, frame: &[u8]) -> (Slot, u32) {
        match self {
            Self::Sealed(slot, secret) => (slot, seal(secret, frame)),
            Self::Raw(slot, hash) => (slot, hash),
            Self::OfHost => (PARENT, seal_of_host(frame)),
        }
    }
}

const UNSEALED: Stamp = Stamp::Raw(0, 0);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const NONE6: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const FOREIGN: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const TO_LAN: Link = Link { source: MAC, destination: LAN_MAC };
const FROM_LAN: Link = Link { source: LAN_MAC, destination: MAC };
const SHARED: Link = Link { source: MAC, destination: MAC };
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const TO_ALL: Link = Link { source: MAC, destination: BROADCAST };

const fn by(slot: Slot) -> Stamp {
    Stamp::Sealed(slot, slot)
}

pub(crate) fn drop_for(slot: Slot, reason: DropReason) -> Verdict {
    Verdict::Drop { slot, reason }
}

/// The frame goes on under the hook's own seal, which [`row`] fills in.
const SEALED: Verdict = Verdict::Seal { slot: 0, seal: 0 };

fn row(name: &'static str, hook: Hook, me: Slot, stamp: Stamp, frame: Vec<u8>, verdict: Verdict) -> Row {
    let verdict = match verdict {
        Verdict::Seal { slot, .. } => {
            let slot = if slot == 0 { me } else { slot };
            Verdict::Seal { slot, seal: seal(slot, &frame) }
        }
        Verdict::Answer { slot, .. } => {
            let reply = reply(&frame).unwrap_or_default();
            let seal = if slot == PARENT { seal_of_host(&reply) } else { seal(slot, &reply) };
            Verdict::Answer { slot, seal }
        }
        Verdict::Turn { .. } => Verdict::Turn { seal: seal_of_host(&frame) },
        Verdict::Aside { .. } => Verdict::Aside { seal: seal(me, &aside(&frame)) },
        other => other,
    };
    Row { name, hook, me, seal: stamp.on(&frame), frame, vlan: None, origin: Origin::Here, verdict }
}

/// The frame on its way to the wire alone.
fn aside(frame: &[u8]) -> Vec<u8> {
    [&ASIDE[..], &frame[ASIDE.len()..]].concat()
}

/// What A sends, at its own egress.
fn sends(name: &'static str, frame: Vec<u8>, refused: Option<DropReason>) -> Row {
    row(name, SlaveEgress, A, UNSEALED, frame, refused.map_or(SEALED, |reason| drop_for(A, reason)))
}

/// The same with an offloaded VLAN tag.
fn tagged(vlan: u16, row: Row) -> Row {
    Row { vlan: Some(vlan), ..row }
}

fn udp4(link: Link, source: Ipv4Addr, destination: Ipv4Addr) -> Result<Vec<u8>> {
    frame::udp4(link, source, destination, b"payload")
}

fn udp6(link: Link, source: Ipv6Addr, destination: Ipv6Addr) -> Result<Vec<u8>> {
    frame::udp6(link, source, destination, b"payload")
}

fn arp(
    link: Link,
    operation: ArpOperation,
    sender_mac: Mac,
    sender: Ipv4Addr,
    target: Ipv4Addr,
) -> Result<Vec<u8>> {
    frame::arp(link, Arp { operation, sender_mac, sender, target }, &[])
}

/// UDP over IPv4 with the ports and IP options of the caller's choice.
fn udp4_with(
    link: Link,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ports: [u16; 2],
    options: &[u8],
) -> Result<Vec<u8>> {
    frame::udp4_with(link, source, destination, ports, options, b"payload")
}

/// Every row.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let sent: Vec<_> = [sender::rows()?, neighbour::rows()?].into_iter().flatten().collect();
    let again: Vec<_> = sent.iter().filter(|row| row.me == A).flat_map(Row::where_it_comes_out).collect();
    let arriving = parent::ingress()?;
    let early = arriving.iter().filter_map(Row::before_the_kernel).collect();
    let parts = [
        sent,
        again,
        receiver::rows()?,
        arriving,
        early,
        parent::egress()?,
        modes::rows()?,
        replay::rows()?,
        resolve::rows()?,
        to_host::rows()?,
        from_host::rows()?,
    ];
    Ok(parts.into_iter().flatten().collect())
}
