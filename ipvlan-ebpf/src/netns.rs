//! Which frames at the parent's and at `lo`'s egress a slave has sent, whatever they say: the kernel's own bookkeeping gives them away.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_tunnel_key},
    helpers::generated::{bpf_probe_read_kernel, bpf_skb_set_tunnel_key},
};
use ipvlan_common::{
    Hook, Identity,
    packet::{ARP, IPV4, IPV6, Origin},
    types::ROUTES,
};

use crate::packet::field;

/// Place of `skc_net`, in words, in `struct sock_common`. Only fields of fixed size are before it; the controller makes sure
/// by trial, on the running kernel, before it relies on it.
const SKC_NET: usize = 6;
/// Places, in words, of `dev`, `sk` and `_skb_refdst` in `struct sk_buff`, and of `dev` in `struct dst_entry`; as above.
const SKB_DEV: usize = 2;
const SKB_SK: usize = 3;
const SKB_REFDST: usize = 11;
const DST_DEV: usize = 0;
/// In the route's address: that no reference is held.
const DST_NOREF: u64 = 1;
const PACKET_BROADCAST: u32 = 1;
const PACKET_MULTICAST: u32 = 2;

/// Who sent a frame that has no seal.
pub(crate) struct Sender<'a> {
    pub(crate) hook: Hook,
    pub(crate) skb: *mut __sk_buff,
    pub(crate) protocol: u16,
    pub(crate) me: &'a Identity,
}

impl Origin for Sender<'_> {
    #[inline(always)]
    fn is_slave(&self) -> bool {
        match self.hook {
            Hook::ParentEgress => sent_by_slave(self.skb, self.protocol, self.me),
            Hook::LoopbackEgress => sent_by_slave_to_host(self.skb, self.me),
            _ => false,
        }
    }

    #[inline(always)]
    fn is_hosts(&self) -> bool {
        self.hook == Hook::ParentEgress && is_made_here(self.skb, self.protocol, self.me)
    }
}

/// Address of the netns of the socket that sent the frame; `None` where no socket did.
#[inline(always)]
pub(crate) fn of_socket(skb: *mut __sk_buff) -> Option<u64> {
    Some(address(skb)).filter(|&netns| netns != 0)
}

/// The same, or 0. Its own function: a program's stack is short, and this takes a part that is seldom needed.
#[inline(never)]
fn address(skb: *mut __sk_buff) -> u64 {
    // SAFETY: the kernel hands every classifier a valid context.
    let field = unsafe { &raw const (*skb).__bindgen_anon_2.sk };
    // SAFETY: as above.
    let sock = unsafe { core::ptr::read_volatile(field) };
    if sock.is_null() {
        return 0;
    }
    let mut words = [0u64; SKC_NET + 1];
    let size = size_of_val(&words) as u32;
    // SAFETY: the helper writes `size` bytes to `words`, or zeros where it can't read. From the start: the verifier lets nobody reckon
    // with a socket's address.
    unsafe { bpf_probe_read_kernel(words.as_mut_ptr().cast(), size, sock.cast_const().cast()) };
    words[SKC_NET]
}

/// The word at `place` of what the kernel has at `base`.
#[inline(always)]
fn word(base: *const u64, place: usize) -> Option<u64> {
    let mut word = 0u64;
    let from = base.wrapping_add(place).cast();
    // SAFETY: the helper writes eight bytes to `word`, or zeros where it can't read.
    let result = unsafe { bpf_probe_read_kernel((&raw mut word).cast(), size_of::<u64>() as u32, from) };
    (result == 0).then_some(word)
}

/// Whether a slave sent a frame without a seal that is at the egress of `lo`.
#[inline(always)]
fn sent_by_slave_to_host(skb: *mut __sk_buff, me: &Identity) -> bool {
    match of_socket(skb) {
        Some(netns) => netns != me.netns,
        None => me.entry.flags & ROUTES != 0 && was_sealed(skb),
    }
}

/// What a slave sends has been sealed at its egress. Whoever is root inside can have the frame rewritten behind that (tc's pedit), but
/// not its hash.
#[inline(always)]
fn was_sealed(skb: *mut __sk_buff) -> bool {
    field!(skb, hash) != 0
}

/// The same of a frame that no socket sent, at the parent's egress: one that was forwarded, or made by the kernel.
#[inline(always)]
fn forwarded_by_slave(skb: *mut __sk_buff, protocol: u16, me: &Identity) -> bool {
    let frame = skb.cast_const().cast();
    let route = word(frame, SKB_REFDST).unwrap_or_default() & !DST_NOREF;
    if route == 0 {
        // A stack has a route for each of its packets. One without is a raw frame's copy (tc's netem), which has lost its socket.
        return was_sealed(skb) || [IPV4, IPV6].contains(&protocol);
    }
    // In mode l2 it still has the route by which it left its container. In the others the host has routed it, and it looks as if it
    // had come in nowhere (Linux 6.12, skb_scrub_packet), as few of the host's own do.
    let leads_elsewhere = word(route as *const u64, DST_DEV) != word(frame, SKB_DEV);
    leads_elsewhere || me.entry.flags & ROUTES != 0 && was_sealed(skb) && field!(skb, ingress_ifindex) == 0
}

/// The same of one that is at the parent's egress.
#[inline(always)]
fn sent_by_slave(skb: *mut __sk_buff, protocol: u16, me: &Identity) -> bool {
    // What ipvlan's multicast queue sends has lost its socket, but carries a packet type that only received frames and
    // those of such a queue have; received ones also know where they came in (Linux 6.12, ipvlan_process_multicast).
    let from_queue = matches!(field!(skb, pkt_type), PACKET_BROADCAST | PACKET_MULTICAST)
        && field!(skb, ingress_ifindex) == 0;
    // A unicast frame keeps its socket on its way to the parent. Frames of a VLAN device on the parent, which another network may
    // use, are alike in both, but tagged.
    field!(skb, vlan_present) == 0
        && (from_queue
            || match of_socket(skb) {
                Some(netns) => netns != me.netns,
                None => forwarded_by_slave(skb, protocol, me),
            })
}

/// Of a frame at the parent's egress that [`sent_by_slave`] doesn't give away: whether the host made it. What somebody inside has forwarded
/// in mode l3 or l3s, on whichever parent, looks the same where it has no socket. No ARP has, and who may send it says nothing new.
#[inline(always)]
fn is_made_here(skb: *mut __sk_buff, protocol: u16, me: &Identity) -> bool {
    field!(skb, ingress_ifindex) == 0 && (protocol == ARP || of_socket(skb) == Some(me.netns))
}

/// Leaves the sending socket's netns in the context's scratch words; 0 where the kernel keeps that, or the frame's route, elsewhere than
/// in the places above.
#[inline(always)]
pub(crate) fn report(skb: *mut __sk_buff) -> i32 {
    let netns = of_socket(skb).filter(|netns| is_as_known(skb, *netns)).unwrap_or_default();
    for (index, half) in [netns as u32, (netns >> 32) as u32].into_iter().enumerate() {
        // SAFETY: the kernel hands every classifier a valid context, with five scratch words.
        let word = unsafe { &raw mut (*skb).cb[index] };
        // SAFETY: as above; volatile, since the verifier refuses the two stores merged into one.
        unsafe { core::ptr::write_volatile(word, half) };
    }
    0
}

/// Whether socket and route are found where they are looked for: the frame is the controller's own and has a socket, but no route until
/// it is given one to a tunnel.
#[inline(always)]
fn is_as_known(skb: *mut __sk_buff, netns: u64) -> bool {
    let frame: *const u64 = skb.cast_const().cast();
    let by_place = word(frame, SKB_SK).and_then(|socket| word(socket as *const u64, SKC_NET));
    let before = word(frame, SKB_REFDST);
    // SAFETY: plain integers.
    let mut key: bpf_tunnel_key = unsafe { core::mem::zeroed() };
    // SAFETY: the helper takes any valid context, and reads `key` alone.
    let set = unsafe { bpf_skb_set_tunnel_key(skb, &raw mut key, size_of_val(&key) as u32, 0) };
    let after = word(frame, SKB_REFDST);
    by_place == Some(netns) && set == 0 && before == Some(0) && after.is_some_and(|route| route != 0)
}
