//! Which frames at the parent's and at `lo`'s egress a slave has sent, whatever they say: the kernel's own bookkeeping gives them away.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_probe_read_kernel};
use ipvlan_common::Identity;

use crate::packet::field;

/// Place of `skc_net`, in words, in `struct sock_common`. Only fields of fixed size are before it; the controller makes sure
/// by trial, on the running kernel, before it relies on it.
const SKC_NET: usize = 6;
const PACKET_BROADCAST: u32 = 1;
const PACKET_MULTICAST: u32 = 2;

/// Address of the netns of the socket that sent the frame; `None` where no socket did.
#[inline(always)]
pub(crate) fn of_socket(skb: *mut __sk_buff) -> Option<u64> {
    // SAFETY: the kernel hands every classifier a valid context.
    let field = unsafe { &raw const (*skb).__bindgen_anon_2.sk };
    // SAFETY: as above.
    let sock = unsafe { core::ptr::read_volatile(field) };
    if sock.is_null() {
        return None;
    }
    let mut words = [0u64; SKC_NET + 1];
    let size = size_of_val(&words) as u32;
    // SAFETY: the helper writes `size` bytes to `words`, or zeros where it can't read.
    let result = unsafe { bpf_probe_read_kernel(words.as_mut_ptr().cast(), size, sock.cast_const().cast()) };
    (result == 0).then_some(words[SKC_NET])
}

/// Whether a socket of another netns than the parent's sent the frame.
#[inline(always)]
pub(crate) fn sent_from_elsewhere(skb: *mut __sk_buff, me: &Identity) -> bool {
    of_socket(skb).is_some_and(|netns| netns != me.netns)
}

/// Whether a slave of the parent `me`, whose egress it is at, sent the frame.
#[inline(always)]
pub(crate) fn sent_by_slave(skb: *mut __sk_buff, me: &Identity) -> bool {
    // What ipvlan's multicast queue sends has lost its socket, but carries a packet type that only received frames and
    // those of such a queue have; received ones also know where they came in (Linux 6.12, ipvlan_process_multicast).
    let from_queue = matches!(field!(skb, pkt_type), PACKET_BROADCAST | PACKET_MULTICAST)
        && field!(skb, ingress_ifindex) == 0;
    // A unicast frame keeps its socket on its way to the parent. Frames of a VLAN device on the parent, which another network may
    // use, are alike in both, but tagged.
    field!(skb, vlan_present) == 0 && (from_queue || sent_from_elsewhere(skb, me))
}

/// Leaves the sending socket's netns in the context's scratch words.
#[inline(always)]
pub(crate) fn report(skb: *mut __sk_buff) -> i32 {
    let netns = of_socket(skb).unwrap_or_default();
    for (index, half) in [netns as u32, (netns >> 32) as u32].into_iter().enumerate() {
        // SAFETY: the kernel hands every classifier a valid context, with five scratch words.
        let word = unsafe { &raw mut (*skb).cb[index] };
        // SAFETY: as above; volatile, since the verifier refuses the two stores merged into one.
        unsafe { core::ptr::write_volatile(word, half) };
    }
    0
}
