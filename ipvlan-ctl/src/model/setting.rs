//! Settings that are one of a few words.

use crate::text_enum::text_enum;

text_enum!(
    /// How ipvlan forwards between slaves and parent. The kernel keeps it per parent.
    Mode {
        /// Switched at layer 2.
        L2 = "l2",
        /// Routed by the host.
        L3 = "l3",
        /// Routed by the host, through its netfilter hooks.
        L3s = "l3s",
    }
);

text_enum!(
    /// Whether endpoints of one network reach each other.
    Flag {
        /// They do.
        Bridge = "bridge",
        /// They don't.
        Private = "private",
        /// They do if the switch behind the parent reflects their frames.
        Vepa = "vepa",
    }
);

text_enum!(
    /// How far the broadcasts and multicasts of a network's endpoints go, but for ARP and ICMPv6, which it lives by.
    Multicast {
        /// To the wire, and from it.
        On = "on",
        /// To the network's endpoints on this host.
        Local = "local",
        /// Nowhere.
        Off = "off",
    }
);

text_enum!(
    /// Whether who asks for a neighbour's address, by ARP or neighbour discovery, is answered on the spot.
    ArpSuppress {
        /// By the programs, which know it; what they don't know is asked of the wire alone.
        On = "on",
        /// By whoever has it: everybody is asked, as ipvlan has it.
        Off = "off",
    }
);

text_enum!(
    /// Whether the host may send the frames of a network in mode l3 or l3s with an address of its own as their source.
    Snat {
        /// It may not: an endpoint is known on the wire by its own address alone.
        Off = "off",
        /// It may, and so can root inside an endpoint.
        On = "on",
    }
);

text_enum!(
    /// Whether a parent judges what the wire sends before the kernel has made anything of it, too.
    Xdp {
        /// In the driver, where that has it.
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// Behind the driver: for trying it out, since it costs more than it saves.
        Generic = "generic",
        /// No.
        Off = "off",
    }
);

text_enum!(
    /// What kind of parent a network was given one of.
    Made {
        /// An interface that leads nowhere.
        Dummy = "dummy",
        /// A VLAN of another interface.
        Vlan = "vlan",
    }
);

text_enum!(
    /// How far a network or an endpoint has come. What is being made or removed is torn down by the next command.
    State {
        /// Being made.
        Creating = "creating",
        /// Complete but for its namespace: the slave is enforced, and waits for its owner to take it in.
        Offered = "offered",
        /// Complete.
        Up = "up",
        /// Being removed.
        Closing = "closing",
    }
);
