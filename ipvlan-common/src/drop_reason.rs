//! Why a frame was dropped: the number is the counter's key, the name is what the controller prints.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// Why a frame was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in tables and JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// One line that says what the rule is.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)+
                }
            }
        }
    };
}

drop_reasons! {
    /// The frame ends inside a header it announces, a header contradicts itself, or a raw socket leaves a checksum to be written to it.
    Malformed = 1, "malformed";
    /// An endpoint may send ARP, IPv4 and IPv6 only.
    EtherType = 2, "ethertype";
    /// An endpoint sent a VLAN tag.
    VlanTag = 3, "vlan-tag";
    /// The socket's protocol field, which ipvlan routes by, disagrees with the EtherType.
    ProtocolMismatch = 4, "protocol-mismatch";
    /// The source MAC is not the endpoint's own.
    SourceMac = 5, "source-mac";
    /// The IPv4 source is not the endpoint's own.
    SourceIpv4 = 6, "source-ipv4";
    /// The IPv6 source is not the endpoint's own.
    SourceIpv6 = 7, "source-ipv6";
    /// The ARP sender is not the endpoint, or the frame answers or probes for somebody else's address.
    ArpSpoof = 8, "arp-spoof";
    /// The neighbour discovery message speaks for an address or a MAC that is not the endpoint's own.
    NdSpoof = 9, "nd-spoof";
    /// Router advertisements and redirects are a router's, not an endpoint's.
    RouterMessage = 10, "router-message";
    /// Neighbour discovery may not be fragmented (RFC 6980), nor its header hidden behind one.
    NdFragment = 11, "nd-fragment";
    /// The IPv6 extension headers are more than are followed, or of a kind that must not pass.
    HeaderChain = 12, "header-chain";
    /// The frame came from a slave but never passed an egress program of ours.
    Unsealed = 13, "unsealed";
    /// Between an endpoint without host access and its host, or between one that has it and somebody behind the host.
    HostFilter = 14, "host-filter";
    /// Sender and receiver share a parent but not a network.
    OtherNetwork = 15, "other-network";
    /// The network is private: its endpoints do not speak to each other.
    Private = 16, "private";
    /// The network is internal: nothing passes between it and the wire.
    Internal = 17, "internal";
    /// A broadcast or multicast of somebody whom this receiver is isolated from was cut here.
    Flood = 18, "flood";
    /// A frame from the wire claims the address of an endpoint here, or the host's towards an endpoint.
    WireSpoof = 19, "wire-spoof";
    /// An IPv4 option other than router alert: source routes and their like.
    IpOption = 20, "ip-option";
    /// An endpoint answers as a DHCP server.
    DhcpServer = 21, "dhcp-server";
    /// A broadcast or multicast frame that carries a packet for one receiver, or the reverse.
    GroupMismatch = 22, "group-mismatch";
    /// The network's multicast setting keeps this broadcast or multicast in, or out.
    Multicast = 23, "multicast";
    /// The endpoint sends more broadcasts and multicasts than its network's rate; all endpoints of a parent share one queue for them.
    GroupRate = 24, "group-rate";
}

impl DropReason {
    /// The reason behind a counter's key; `None` where a newer program wrote it.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| *reason as u16 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_reversible() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(DropReason::from_number(*reason as u16), Some(*reason));
            assert!(!reason.meaning().is_empty());
            for other in &DropReason::ALL[index + 1..] {
                assert_ne!(reason.name(), other.name());
            }
        }
        assert_eq!(DropReason::from_number(0), None);
    }
}
