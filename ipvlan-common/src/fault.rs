//! A rule that doesn't hold, in builds that show that an audit would notice.
//!
//! The feature is off in every other build. The rule's number stands where an identity otherwise has padding.

use crate::{
    Hook, Identity, Verdict,
    packet::{Frame, Packet},
    seal::seal,
};

/// What becomes of a frame where the rule that refuses it doesn't hold.
#[inline(always)]
pub(crate) fn forgive<P: Packet + ?Sized>(
    verdict: Verdict,
    hook: Hook,
    packet: &P,
    me: &Identity,
) -> Verdict {
    match verdict {
        Verdict::Drop { reason, .. } if reason as u16 == u16::from_ne_bytes(me.pad) => {
            accept(hook, packet, me)
        }
        other => other,
    }
}

#[inline(always)]
fn accept<P: Packet + ?Sized>(hook: Hook, packet: &P, me: &Identity) -> Verdict {
    match (hook, Frame::parse(packet)) {
        (Hook::SlaveEgress | Hook::ParentIngress, Ok(frame)) => {
            Verdict::Seal { slot: me.slot, seal: seal(&frame, &me.entry) }
        }
        (Hook::SlaveIngress | Hook::ParentEgress, _) => Verdict::Open,
        _ => Verdict::Pass,
    }
}
