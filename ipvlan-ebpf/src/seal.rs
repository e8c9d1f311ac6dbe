//! Where the seal is kept: the slot in `skb->tc_index` and the keyed hash in `skb->hash`. A plain sender sets neither, and both
//! survive the way from one netns to another, where mark and priority are scrubbed.

use core::ptr;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_set_hash, bpf_set_hash_invalid},
};
use ipvlan_common::Slot;

/// Marks the frame as accepted in the name of `slot`.
#[inline(always)]
pub(crate) fn set(skb: *mut __sk_buff, slot: Slot, seal: u32) {
    write_tc_index(skb, slot);
    // SAFETY: the helper takes any valid context.
    unsafe { bpf_set_hash(skb, seal) };
}

/// Makes an ordinary frame of it again, so that queue choice and other programs see nothing special.
#[inline(always)]
pub(crate) fn clear(skb: *mut __sk_buff) {
    write_tc_index(skb, 0);
    // SAFETY: the helper takes any valid context.
    unsafe { bpf_set_hash_invalid(skb) };
}

#[inline(always)]
fn write_tc_index(skb: *mut __sk_buff, slot: Slot) {
    // SAFETY: the kernel hands every classifier a valid context.
    let field = unsafe { &raw mut (*skb).tc_index };
    // SAFETY: as above; volatile, since the verifier refuses a store merged with a neighbour's.
    unsafe { ptr::write_volatile(field, u32::from(slot)) };
}
