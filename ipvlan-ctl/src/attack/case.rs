//! What a case is: one attack, or one thing that must go on working.

use anyhow::Result;
use ipvlan_common::DropReason;

use super::{
    setting::{Family, Place, Setting},
    world::World,
};
use crate::{sandbox::Door, text_enum::text_enum};

text_enum!(
    /// What the sender has to be allowed to.
    Capability {
        /// What any program may.
        Nothing = "none",
        /// Raw sockets, which containers have by default.
        NetRaw = "CAP_NET_RAW",
        /// To set up interfaces, without a user namespace of its own.
        NetAdmin = "CAP_NET_ADMIN",
    }
);

text_enum!(
    /// What a case is about.
    #[derive(PartialOrd, Ord)]
    Class {
        /// What must pass; all else would be proven by a cut cable too.
        Control = "control",
        /// Ethernet.
        Link = "link",
        /// ARP, neighbour discovery, DHCP, and what goes to groups.
        Neighbor = "neighbour",
        /// IPv4 and IPv6.
        Ip = "IP",
        /// What is to stay inside a network, or out of it.
        Network = "network",
        /// Past the program on the sender's egress.
        Around = "around",
        /// What root inside a container can do to its own interface.
        Root = "root inside",
    }
);

/// One line of the matrix for each family.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, for `--case`.
    pub id: &'static str,
    /// What happens, for people.
    pub what: &'static str,
    /// What it is about.
    pub class: Class,
    /// The families it is tried in.
    pub families: &'static [Family],
    /// What the sender needs.
    pub needs: Capability,
    /// What happens.
    pub(super) act: Act,
    /// What has to come of it.
    pub(super) expect: fn(Setting) -> Expect,
    /// What to do where it can't be contained: known to come through, and shown as such.
    pub advice: Option<&'static str>,
}

impl Class {
    /// The attacker sends a frame by way of its queue.
    pub(super) const fn sends(
        self,
        id: &'static str,
        what: &'static str,
        families: &'static [Family],
        build: Build,
        expect: fn(Setting) -> Expect,
    ) -> Case {
        self.acts(id, what, families, Act::Send(Door::Queue, build), expect)
    }

    /// Something happens: what the LAN does and what works by itself takes nothing, the rest raw sockets.
    pub(super) const fn acts(
        self,
        id: &'static str,
        what: &'static str,
        families: &'static [Family],
        act: Act,
        expect: fn(Setting) -> Expect,
    ) -> Case {
        let needs = match act {
            Act::Lan(_) | Act::Try(_) => Capability::Nothing,
            Act::Send(..) | Act::Do(_) => Capability::NetRaw,
        };
        Case { id, what, class: self, families, needs, act, expect, advice: None }
    }
}

/// Makes the bytes of one frame that carries a marker.
pub(super) type Build = fn(&World, Family, &[u8]) -> Result<Vec<u8>>;

/// What happens in a case.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// The attacker sends a frame as it is.
    Send(Door, Build),
    /// The LAN host sends one.
    Lan(Build),
    /// Something else, which carries the marker.
    Do(fn(&World, Family, &[u8]) -> Result<()>),
    /// Something that is seen to work or not by itself.
    Try(fn(&World, Family) -> Result<bool>),
}

/// What has to come of a case.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    /// Why there is nothing to try.
    pub(super) pointless: Option<&'static str>,
    /// Where it has to come out.
    pub(super) must: &'static [Place],
    /// Where else it may.
    pub(super) may: &'static [Place],
    /// The reasons of which one has to be counted, if stock ipvlan lets it come out anywhere else; none for what must pass.
    pub(super) reasons: &'static [DropReason],
    /// Whether it is known that it can't be held: the case has advice.
    pub(super) known: bool,
}

impl Expect {
    /// It comes out nowhere, and no reason is asked for.
    const NOTHING: Self = Self { pointless: None, must: &[], may: &[], reasons: &[], known: false };

    /// It comes out at `must`, and nowhere else.
    pub(super) const fn pass(must: &'static [Place]) -> Self {
        Self { must, ..Self::NOTHING }
    }

    /// It comes out nowhere, for one of `reasons`.
    pub(super) const fn drop(reasons: &'static [DropReason]) -> Self {
        Self { reasons, ..Self::NOTHING }
    }

    /// There is nothing to try.
    pub(super) const fn pointless(why: &'static str) -> Self {
        Self { pointless: Some(why), ..Self::NOTHING }
    }

    /// As `self`, but it may come out at `may` too.
    pub(super) const fn or_at(self, may: &'static [Place]) -> Self {
        Self { may, ..self }
    }

    /// As `self`, but it is known that it can't be held.
    pub(super) const fn known(self) -> Self {
        Self { known: true, ..self }
    }

    /// As `self`, with a reason counted for the rest.
    pub(super) const fn counted(self, reasons: &'static [DropReason]) -> Self {
        Self { reasons, ..self }
    }
}
