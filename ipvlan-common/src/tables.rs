//! The lookups a verdict may make, so that it runs against the maps in the kernel and against plain tables in a test.

use crate::{
    schema::GROUP_BURST,
    types::{Slot, SlotEntry},
};

/// Lookups by exact match.
pub trait Tables {
    /// The entry of `slot`; all zero, or none, where it is not registered.
    fn slot(&self, slot: Slot) -> Option<&SlotEntry>;
    /// Whether `slot` may send another broadcast or multicast now, at one per `interval` nanoseconds.
    fn afford_group(&self, slot: Slot, interval: u32) -> bool;
    /// The endpoint that holds `address` on the parent with slot `parent`; that slot itself where the host does.
    fn ipv4(&self, parent: Slot, address: [u8; 4]) -> Option<Slot>;
    /// The endpoint that holds `address` on the parent with slot `parent`; that slot itself where the host does.
    fn ipv6(&self, parent: Slot, address: [u8; 16]) -> Option<Slot>;
}

/// What is paid once another frame is, at `now`; `None` where that is more than a burst ahead (the generic cell rate algorithm).
#[must_use]
#[inline(always)]
pub fn pay_group(paid: u64, now: u64, interval: u32) -> Option<u64> {
    let interval = u64::from(interval);
    let next = if paid > now { paid } else { now } + interval;
    (next - now <= GROUP_BURST * interval).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let (mut paid, interval) = (0, 1_000);
        let mut send = |now| pay_group(paid, now, interval).inspect(|next| paid = *next).is_some();
        let start = 1_000_000_000;
        assert_eq!((0..150).filter(|_| send(start)).count() as u64, GROUP_BURST);
        assert!(!send(start + 999));
        assert!(send(start + 1_000));
        assert!(!send(start + 1_000));
        // After a second of silence there is one burst, not a second's worth.
        assert_eq!((0..150).filter(|_| send(start + 2_000_000_000)).count() as u64, GROUP_BURST);
    }
}
