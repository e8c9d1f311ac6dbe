//! How the parent under attack is set, and the places where a frame may come out.

use serde::Serialize;

use crate::{
    model::{Flag, Mode, may_have_host_access},
    text_enum::text_enum,
};

text_enum!(
    /// Where a frame came out.
    #[derive(PartialOrd, Ord)]
    Place {
        /// At the host: its sockets, or what its stack received from the parent.
        Host = "host",
        /// At the attacker itself.
        Attacker = "attacker",
        /// At an endpoint of the attacker's network.
        Peer = "peer",
        /// At an endpoint of another network on the same parent.
        Other = "other network",
        /// Outside, on the parent's wire.
        Wire = "wire",
    }
);

text_enum!(
    /// A version of the internet protocol.
    #[derive(PartialOrd, Ord)]
    Family {
        /// IPv4, and ARP.
        V4 = "IPv4",
        /// IPv6, and neighbour discovery.
        V6 = "IPv6",
    }
);

/// Mode and flag of the parent, and whether the attacker's network is internal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Setting {
    /// The ipvlan mode.
    pub mode: Mode,
    /// The ipvlan flag.
    pub flag: Flag,
    /// Whether the attacker's network is internal.
    pub internal: bool,
}

impl Setting {
    /// Every one, in the order of the report.
    pub fn all() -> impl Iterator<Item = Self> {
        let modes = [Mode::L2, Mode::L3, Mode::L3s];
        let flags = [Flag::Bridge, Flag::Private, Flag::Vepa];
        modes.into_iter().flat_map(move |mode| {
            flags.into_iter().flat_map(move |flag| {
                [false, true].into_iter().map(move |internal| Self { mode, flag, internal })
            })
        })
    }

    /// Whether frames are switched by ipvlan, not routed by the host.
    #[must_use]
    pub fn is_l2(self) -> bool {
        self.mode == Mode::L2
    }

    /// Whether endpoints can have host access here.
    #[must_use]
    pub fn has_host_access(self) -> bool {
        may_have_host_access(self.mode, self.flag, self.internal).is_ok()
    }

    /// Whether an internal network has IPv6 here: in modes l3 and l3s the host's routes could lead it out.
    #[must_use]
    pub fn has(self, family: Family) -> bool {
        family == Family::V4 || self.is_l2() || !self.internal
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let internal = if self.internal { " internal" } else { "" };
        write!(f, "{} {}{internal}", self.mode, self.flag)
    }
}
