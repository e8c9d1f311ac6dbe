//! What may be a request for a neighbour, handed over to the one program that answers them all: a copy of it in each slave's would
//! double their size, and what the verifier takes for them.

use core::ptr;

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use ipvlan_common::{Hook, Identity, Slot, SlotEntry, Verdict, decide_request, resolve, types::ASK_ALL};

use crate::{
    maps::{Maps, REQUEST, SLOTS},
    metadata,
    packet::Frame,
};

/// The asker as the scratch words of a frame, which nobody between the two programs can write.
type Words = [u32; 4];

/// Comes back where the frame is no such request, or nobody answers.
#[inline(always)]
pub(crate) fn hand_over(ctx: &TcContext, me: &Identity) {
    let skb = ctx.skb.skb;
    if !resolve::asks(&Frame::new(skb), me) {
        return;
    }
    let [a, b, c, d, e, f] = me.mac;
    let slots = u32::from(me.slot) | u32::from(me.parent) << Slot::BITS;
    let [g, h] = me.pad;
    let words =
        [slots, me.group_interval, u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])];
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: the kernel hands every classifier a valid context, with five scratch words.
        let scratch = unsafe { &raw mut (*skb).cb[index] };
        // SAFETY: as above; volatile, since the verifier refuses stores merged into one.
        unsafe { ptr::write_volatile(scratch, word) };
    }
    // SAFETY: the element is a classifier.
    unsafe { REQUEST.tail_call(ctx, 0) };
}

/// The same endpoint without the answers: everybody is asked, as by ipvlan itself.
#[inline(always)]
pub(crate) fn asks_all(me: Identity) -> Identity {
    let mut me = me;
    me.entry.flags |= ASK_ALL;
    me
}

/// Who has handed the frame over; `None` where there is no such slot.
#[inline(always)]
pub(crate) fn asker(skb: *mut __sk_buff) -> Option<Identity> {
    let words: Words = core::array::from_fn(|index| {
        // SAFETY: the kernel hands every classifier a valid context, with five scratch words.
        let scratch = unsafe { &raw const (*skb).cb[index] };
        // SAFETY: as above; volatile, since the verifier refuses loads merged into one.
        unsafe { ptr::read_volatile(scratch) }
    });
    let [slots, group_interval, mac, rest] = words;
    let ([a, b, c, d], [e, f, pad @ ..]) = (mac.to_ne_bytes(), rest.to_ne_bytes());
    let (slot, parent) = (slots as Slot, (slots >> Slot::BITS) as Slot);
    let first = SLOTS.get_ptr(u32::from(slot))?.cast::<u64>();
    // By words: LLVM would load each byte of an address by itself.
    let entry: [u64; size_of::<SlotEntry>() / size_of::<u64>()] = core::array::from_fn(|index| {
        // SAFETY: inside the element.
        let word = unsafe { first.add(index) };
        // SAFETY: aligned and initialised. The controller may be writing it; what is sealed with half of an entry arrives nowhere.
        unsafe { ptr::read_volatile(word) }
    });
    let entry = bytemuck::cast(entry);
    Some(Identity { entry, netns: 0, group_interval, slot, parent, mac: [a, b, c, d, e, f], pad })
}

/// Its own function, which needs its stack before the answer needs some.
#[inline(never)]
pub(crate) fn judge(skb: *mut __sk_buff, me: &Identity) -> Verdict {
    decide_request(&Frame::new(skb), &metadata::read(Hook::SlaveEgress, skb, me), me, &Maps)
}
