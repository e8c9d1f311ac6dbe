//! What a verdict means to the kernel, and the counting of it. Nothing else names `TC_ACT_*`.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use ipvlan_common::{
    DropReason, Hook, Identity, Slot, Verdict, resolve,
    types::{DropKey, Traffic},
};

use crate::{
    answer,
    maps::{DROPS, TRAFFIC},
    packet::field,
    report::{self, Reported},
    seal,
};

/// As TCX it reads "next", as a classifier "no opinion": other programs on the device still run.
pub(crate) const GO_ON: i32 = TC_ACT_UNSPEC;

/// Carries a verdict out and counts it.
#[inline(always)]
pub(crate) fn act(verdict: Verdict, hook: Hook, skb: *mut __sk_buff, me: &Identity) -> i32 {
    match verdict {
        Verdict::Pass => GO_ON,
        Verdict::Seal { slot, seal } => {
            count_traffic(hook, skb, me.slot);
            seal::set(skb, slot, seal);
            GO_ON
        }
        Verdict::Deliver { slot } => {
            count_traffic(hook, skb, me.slot);
            count_traffic(hook, skb, slot);
            GO_ON
        }
        Verdict::Open => {
            count_traffic(hook, skb, me.slot);
            seal::clear(skb);
            GO_ON
        }
        Verdict::Answer { slot, seal } => {
            count_request(me.slot, |traffic| &mut traffic.answered);
            // The host's own request is nothing of the wire's.
            if hook != Hook::ParentEgress {
                count_traffic(hook, skb, me.slot);
            }
            answer::write(skb, &me.mac);
            seal::set(skb, slot, seal);
            answer::turn(hook, skb)
        }
        Verdict::Turn { seal } => {
            seal::set(skb, me.slot, seal);
            answer::turn(hook, skb)
        }
        Verdict::Admit { receiver } => {
            if let Some(slot) = receiver {
                count_traffic(hook, skb, slot);
            }
            seal::clear(skb);
            GO_ON
        }
        Verdict::Aside { seal } => {
            count_request(me.slot, |traffic| &mut traffic.aside);
            count_traffic(hook, skb, me.slot);
            answer::address(skb, resolve::ASIDE);
            seal::set(skb, me.slot, seal);
            GO_ON
        }
        Verdict::Restore => {
            count_traffic(hook, skb, me.slot);
            answer::restore(skb);
            seal::clear(skb);
            GO_ON
        }
        Verdict::Drop { slot, reason } => {
            drop(&skb, hook, slot, reason);
            TC_ACT_SHOT
        }
    }
}

#[inline(always)]
fn count_request(slot: Slot, counter: impl FnOnce(&mut Traffic) -> &mut u64) {
    if let Some(traffic) = TRAFFIC.get_ptr_mut(u32::from(slot)) {
        // SAFETY: the element is this CPU's own, and classifiers don't interrupt each other within one direction.
        *counter(unsafe { &mut *traffic }) += 1;
    }
}

#[inline(always)]
fn count_traffic(hook: Hook, skb: *const __sk_buff, slot: Slot) {
    let Some(traffic) = TRAFFIC.get_ptr_mut(u32::from(slot)) else {
        return;
    };
    // SAFETY: the element is this CPU's own, and classifiers don't interrupt each other within one direction.
    let Traffic { tx_packets, tx_bytes, rx_packets, rx_bytes, .. } = unsafe { &mut *traffic };
    let (packets, bytes) = match hook {
        Hook::SlaveEgress | Hook::ParentEgress => (tx_packets, tx_bytes),
        Hook::SlaveIngress | Hook::ParentIngress | Hook::LoopbackEgress | Hook::ParentXdp => {
            (rx_packets, rx_bytes)
        }
    };
    *packets += 1;
    *bytes += u64::from(field!(skb, len));
}

/// Counts a drop, and tells whoever monitors.
#[inline(always)]
pub(crate) fn drop(frame: &impl Reported, hook: Hook, slot: Slot, reason: DropReason) {
    let key = DropKey { slot, reason: reason as u16 };
    if let Some(count) = DROPS.get_ptr_mut(key) {
        // SAFETY: the element is this CPU's own.
        unsafe { *count += 1 };
    } else {
        // A full map loses the count, not the drop.
        let _uncounted = DROPS.insert(key, 1, 0);
    }
    report::drop(frame, hook, slot, reason);
}
