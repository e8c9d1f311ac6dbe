//! What programs built with the feature `log` say of a verdict: a number, since a name would be a loop to the verifier.

use crate::{DropReason, Verdict};

const PASS: u32 = 0x1_0000;
const SEAL: u32 = 0x1_0001;
const OPEN: u32 = 0x1_0002;
const DELIVER: u32 = 0x1_0003;
const ANSWER: u32 = 0x1_0004;
const ASIDE: u32 = 0x1_0005;
const RESTORE: u32 = 0x1_0006;
const ADMIT: u32 = 0x1_0007;
const TURN: u32 = 0x1_0008;

/// The verdict's number: a drop's is its reason's.
#[must_use]
#[inline(always)]
pub const fn number(verdict: &Verdict) -> u32 {
    match verdict {
        Verdict::Pass => PASS,
        Verdict::Seal { .. } => SEAL,
        Verdict::Open => OPEN,
        Verdict::Deliver { .. } => DELIVER,
        Verdict::Answer { .. } => ANSWER,
        Verdict::Aside { .. } => ASIDE,
        Verdict::Restore => RESTORE,
        Verdict::Admit { .. } => ADMIT,
        Verdict::Turn { .. } => TURN,
        Verdict::Drop { reason, .. } => *reason as u32,
    }
}

/// What a number says: the verdict's name, and a drop's reason.
#[must_use]
pub fn name(number: u32) -> Option<(&'static str, Option<DropReason>)> {
    match number {
        PASS => Some(("pass", None)),
        SEAL => Some(("seal", None)),
        OPEN => Some(("open", None)),
        DELIVER => Some(("deliver", None)),
        ANSWER => Some(("answer", None)),
        ASIDE => Some(("aside", None)),
        RESTORE => Some(("restore", None)),
        ADMIT => Some(("admit", None)),
        TURN => Some(("turn", None)),
        other => {
            let reason = u16::try_from(other).ok().and_then(DropReason::from_number)?;
            Some(("drop", Some(reason)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_name() {
        let says = |verdict: Verdict| name(number(&verdict));
        assert_eq!(says(Verdict::Pass), Some(("pass", None)));
        assert_eq!(says(Verdict::Seal { slot: 1, seal: 2 }), Some(("seal", None)));
        assert_eq!(says(Verdict::Open), Some(("open", None)));
        assert_eq!(says(Verdict::Deliver { slot: 1 }), Some(("deliver", None)));
        assert_eq!(says(Verdict::Answer { slot: 1, seal: 2 }), Some(("answer", None)));
        assert_eq!(says(Verdict::Aside { seal: 2 }), Some(("aside", None)));
        assert_eq!(says(Verdict::Restore), Some(("restore", None)));
        assert_eq!(says(Verdict::Admit { receiver: None }), Some(("admit", None)));
        assert_eq!(says(Verdict::Turn { seal: 2 }), Some(("turn", None)));
        for reason in DropReason::ALL.iter().copied() {
            assert_eq!(says(Verdict::Drop { slot: 1, reason }), Some(("drop", Some(reason))));
        }
        assert_eq!(name(0), None);
    }
}
