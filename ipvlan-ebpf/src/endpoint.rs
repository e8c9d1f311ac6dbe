//! One copy of the programs for all endpoints: a slave's own program says whose it is, and calls them. A copy of all in each slave's
//! program would be eighty kilobytes of the kernel's memory, and thirty thousand instructions for the verifier.

use core::ptr;

use aya_ebpf::bindings::__sk_buff;
use ipvlan_common::{Hook, Identity, Slot, SlotEntry, Verdict, decide_request, types::LEAVES_REQUESTS};

use crate::{
    maps::{Maps, SLOTS},
    metadata,
    packet::Frame,
    shared::Words,
};

/// The same endpoint in a program that has left its requests to [`Shared::Request`].
#[inline(always)]
pub(crate) fn leaves_requests(me: Identity) -> Identity {
    let mut me = me;
    me.entry.flags |= LEAVES_REQUESTS;
    me
}

/// Whose frame it is; `None` where nobody has the slot any more.
#[inline(always)]
pub(crate) fn identity(skb: *mut __sk_buff) -> Option<Identity> {
    let words: Words = core::array::from_fn(|index| {
        // SAFETY: the kernel hands every classifier a valid context, with five scratch words.
        let scratch = unsafe { &raw const (*skb).cb[index] };
        // SAFETY: as above; volatile, since the verifier refuses loads merged into one.
        unsafe { ptr::read_volatile(scratch) }
    });
    let [slots, group_interval, mac, rest] = words;
    let [slot, _]: [Slot; 2] = bytemuck::cast(slots);
    let first = SLOTS.get_ptr(u32::from(slot))?.cast::<u64>();
    // By words: LLVM would load each byte of an address by itself.
    let [a, b, c, d, e, f, g, h]: [u64; size_of::<SlotEntry>() / size_of::<u64>()] =
        core::array::from_fn(|index| {
            // SAFETY: inside the element.
            let word = unsafe { first.add(index) };
            // SAFETY: aligned and initialised. The controller may be writing it; what is sealed with half of an entry arrives nowhere.
            unsafe { ptr::read_volatile(word) }
        });
    let [i, j] = [[group_interval, slots], [mac, rest]].map(bytemuck::cast);
    let me: Identity = bytemuck::cast([a, b, c, d, e, f, g, h, 0, i, j]);
    // Network and flags are one word, so that nobody is seen with the one and without the other.
    (me.entry.network != 0).then_some(me)
}

/// Its own function, which needs its stack before the answer needs some.
#[inline(never)]
pub(crate) fn judge_request(skb: *mut __sk_buff, me: &Identity) -> Verdict {
    decide_request(&Frame::new(skb), &metadata::read(Hook::SlaveEgress, skb, me), me, &Maps)
}
