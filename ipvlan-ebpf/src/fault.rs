//! A rule that doesn't hold, in builds that show that an audit would notice. Its number stands where an identity otherwise has
//! padding.

use aya_ebpf::bindings::__sk_buff;
use ipvlan_common::{
    Hook, Identity, Verdict,
    packet::{Frame, Packet},
    seal::seal,
};

use crate::seal;

/// Whether the verdict is by the rule that doesn't hold.
#[inline(always)]
pub(crate) fn forgives(verdict: &Verdict, me: &Identity) -> bool {
    matches!(verdict, Verdict::Drop { reason, .. } if *reason as u16 == u16::from_ne_bytes(me.pad))
}

/// Makes of the frame what it would be where nothing refuses it.
#[inline(always)]
pub(crate) fn accept(hook: Hook, skb: *mut __sk_buff, packet: &impl Packet, me: &Identity) {
    match hook {
        Hook::SlaveEgress | Hook::ParentIngress => {
            if let Ok(frame) = Frame::parse(packet) {
                seal::set(skb, me.slot, seal(&frame, &me.entry));
            }
        }
        Hook::SlaveIngress | Hook::ParentEgress => seal::clear(skb),
        Hook::LoopbackEgress | Hook::ParentXdp => {}
    }
}
