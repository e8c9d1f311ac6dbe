//! What the kernel keeps beside a frame.

use aya_ebpf::bindings::__sk_buff;
use ipvlan_common::{Hook, Identity, packet::Metadata};

use crate::{checksum, netns::Sender, packet::field};

const VLAN_ID: u32 = 0x0fff;
/// Set by dev_loopback_xmit alone; whatever passes from one device to another gets its type anew (Linux 6.12, skb_scrub_packet).
const PACKET_LOOPBACK: u32 = 5;

/// Reads it from the context.
#[inline(always)]
pub(crate) fn read<'a>(hook: Hook, skb: *mut __sk_buff, me: &'a Identity) -> Metadata<Sender<'a>> {
    let protocol = u16::from_be(field!(skb, protocol) as u16);
    Metadata {
        protocol,
        vlan: (field!(skb, vlan_present) != 0).then(|| (field!(skb, vlan_tci) & VLAN_ID) as u16),
        hash: field!(skb, hash),
        tc_index: field!(skb, tc_index) as u16,
        looped_back: matches!(hook, Hook::SlaveIngress | Hook::ParentIngress)
            && field!(skb, pkt_type) == PACKET_LOOPBACK,
        unfinished: hook == Hook::SlaveEgress && checksum::is_left_by_raw_socket(skb),
        origin: Sender { hook, skb, protocol, me },
    }
}
