//! Tells a monitor of drops, up to a rate. A frame never waits for a reader: what can't be reported is counted instead.

use core::hint;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_ktime_get_ns, bpf_skb_load_bytes},
};
use ipvlan_common::{
    DropEvent, DropReason, Hook, Slot,
    event::{EventBudget, HEAD},
};

use crate::{
    maps::{EVENT_BUDGET, EVENTS, MONITOR},
    packet::field,
};

/// Writes a field of a reserved record.
macro_rules! set {
    ($event:expr, $field:ident, $value:expr) => {{
        let value = $value;
        // SAFETY: inside the reserved record, which is aligned to 8 bytes.
        let field = unsafe { &raw mut (*$event).$field };
        // SAFETY: as above.
        unsafe { field.write(value) };
    }};
}

/// A frame as an event shows it.
pub(crate) trait Reported {
    fn length(&self) -> u32;
    /// EtherType.
    fn protocol(&self) -> u16;
    /// Copies the first bytes to where there is room for [`HEAD`]; returns how many.
    fn capture(&self, head: *mut [u8; HEAD]) -> u32;
}

impl Reported for *mut __sk_buff {
    #[inline(always)]
    fn length(&self) -> u32 {
        field!(*self, len)
    }

    #[inline(always)]
    fn protocol(&self) -> u16 {
        u16::from_be(field!(*self, protocol) as u16)
    }

    #[inline(always)]
    fn capture(&self, head: *mut [u8; HEAD]) -> u32 {
        let captured = captured(self.length());
        // SAFETY: the helper writes `captured` bytes, which `head` has room for.
        let result = unsafe { bpf_skb_load_bytes(self.cast(), 0, head.cast(), captured) };
        if result == 0 { captured } else { 0 }
    }
}

/// How much of a frame is shown: from 1 to HEAD, in words that Linux 6.1 believes. LLVM's "not 0" it takes for "0 or more".
#[inline(always)]
pub(crate) fn captured(length: u32) -> u32 {
    let captured = hint::black_box(u64::from(length.clamp(1, HEAD as u32) - 1));
    ((captured & (HEAD as u64 - 1)) + 1) as u32
}

/// Reports a drop, if somebody looks on: one lookup in an array where nobody does.
#[inline(always)]
pub(crate) fn drop(frame: &impl Reported, hook: Hook, slot: Slot, reason: DropReason) {
    // A monitor that was killed stops renewing its deadline.
    let Some(deadline) = MONITOR.get(0).copied().filter(|deadline| *deadline != 0) else {
        return;
    };
    // SAFETY: the helper has no precondition.
    let time = unsafe { bpf_ktime_get_ns() };
    if time >= deadline {
        return;
    }
    let Some(budget) = EVENT_BUDGET.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the element is this CPU's own; a program that interrupts this one at worst spends the same share twice.
    let budget: &mut EventBudget = unsafe { &mut *budget };
    if !budget.afford(time) {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<DropEvent>(0) else {
        budget.ring_full += 1;
        return;
    };
    let event = entry.as_mut_ptr();
    // One by one: the whole at once is a call of memset, whose loop the verifier walks to its end.
    set!(event, time, time);
    set!(event, slot, slot);
    set!(event, reason, reason as u16);
    set!(event, hook, hook as u16);
    set!(event, protocol, frame.protocol());
    set!(event, length, frame.length());
    // SAFETY: inside the reserved record.
    let head = unsafe { &raw mut (*event).head };
    set!(event, captured, frame.capture(head));
    entry.submit(0);
}
