//! The places where programs sit.

/// Where a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Hook {
    /// tc egress of a slave, in the endpoint's netns: who is it, and is the frame its own?
    SlaveEgress = 1,
    /// tc ingress of a slave, in the endpoint's netns: may this sender reach me?
    SlaveIngress,
    /// tc ingress of the parent, in its netns: what the wire sends, and what slaves send to their host.
    ParentIngress,
    /// tc egress of the parent, in its netns: what slaves and the host send to the wire.
    ParentEgress,
    /// tc egress of `lo`, in the parent's netns: what slaves in mode l3 or l3s send to their host, while it still has its socket.
    LoopbackEgress,
    /// XDP of the parent: what the wire sends, before the kernel has made anything of it.
    ParentXdp,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 6] = [
        Self::SlaveEgress,
        Self::SlaveIngress,
        Self::ParentIngress,
        Self::ParentEgress,
        Self::LoopbackEgress,
        Self::ParentXdp,
    ];

    /// The hook behind its number; `None` where a newer program wrote it.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| *hook as u16 == number)
    }

    /// The name in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlaveEgress => "slave-egress",
            Self::SlaveIngress => "slave-ingress",
            Self::ParentIngress => "parent-ingress",
            Self::ParentEgress => "parent-egress",
            Self::LoopbackEgress => "loopback-egress",
            Self::ParentXdp => "parent-xdp",
        }
    }
}
