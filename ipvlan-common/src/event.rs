//! What a program tells a monitor of a frame that it dropped.

use bytemuck::{Pod, Zeroable};

use crate::{Hook, Slot};

/// Bytes of a frame that an event carries: link header, addresses, and ports where no options or extensions come before.
pub const HEAD: usize = 64;
/// Nanoseconds after which a CPU may report as many events again.
pub const WINDOW: u64 = 10_000_000;
/// Events that one CPU may report in a [`WINDOW`]; the ring has room for 40 times as many.
pub const PER_WINDOW: u32 = 64;

/// A frame that was dropped while somebody monitored.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct DropEvent {
    /// When, in nanoseconds of the monotonic clock.
    pub time: u64,
    /// Who is charged, as in [`crate::types::DropKey`].
    pub slot: Slot,
    /// A [`crate::DropReason`] as its number.
    pub reason: u16,
    /// A [`Hook`] as its number.
    pub hook: u16,
    /// What the kernel takes the frame for: `skb->protocol`, in host order.
    pub protocol: u16,
    /// Length of the whole frame.
    pub length: u32,
    /// How many bytes of [`Self::head`] are the frame's.
    pub captured: u32,
    /// The frame's first bytes; what is behind [`Self::captured`] is undefined.
    pub head: [u8; HEAD],
}

impl DropEvent {
    /// The bytes of the frame that were kept.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        self.head.get(..self.captured as usize).unwrap_or(&self.head)
    }

    /// Where it was dropped; `None` where a newer program wrote it.
    #[must_use]
    pub fn hook(&self) -> Option<Hook> {
        Hook::from_number(self.hook)
    }
}

/// What one CPU may still report, and what it could not.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct EventBudget {
    /// When the current [`WINDOW`] began.
    pub window: u64,
    /// Events that went over the rate, ever.
    pub rate_limited: u64,
    /// Events that found the ring full, ever.
    pub ring_full: u64,
    /// Events reported in the current window.
    pub reported: u32,
    /// Explicit padding.
    pub pad: [u8; 4],
}

impl EventBudget {
    /// Whether another event may be reported at `now`; counts it one way or the other.
    #[inline(always)]
    pub fn afford(&mut self, now: u64) -> bool {
        if now.wrapping_sub(self.window) >= WINDOW {
            (self.window, self.reported) = (now, 0);
        }
        if self.reported >= PER_WINDOW {
            self.rate_limited += 1;
            return false;
        }
        self.reported += 1;
        true
    }
}

const _: () = {
    assert!(size_of::<DropEvent>() == 24 + HEAD);
    assert!(size_of::<EventBudget>() == 32);
};

#[cfg(feature = "user")]
// SAFETY: bytemuck::Pod, derived, has checked the same: plain data without padding.
unsafe impl aya::Pod for EventBudget {}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn fields_stay_where_an_older_program_writes_them() {
        assert_eq!(offset_of!(DropEvent, time), 0);
        assert_eq!(offset_of!(DropEvent, slot), 8);
        assert_eq!(offset_of!(DropEvent, reason), 10);
        assert_eq!(offset_of!(DropEvent, hook), 12);
        assert_eq!(offset_of!(DropEvent, protocol), 14);
        assert_eq!(offset_of!(DropEvent, length), 16);
        assert_eq!(offset_of!(DropEvent, captured), 20);
        assert_eq!(offset_of!(DropEvent, head), 24);
    }

    #[test]
    fn only_captured_bytes_are_the_frame() {
        let mut event = DropEvent { captured: 2, ..DropEvent::zeroed() };
        event.head[..2].copy_from_slice(&[1, 2]);
        assert_eq!(event.frame(), [1, 2]);
        event.captured = HEAD as u32 + 1;
        assert_eq!(event.frame().len(), HEAD);
    }

    #[test]
    fn hooks_are_found_by_their_numbers() {
        for hook in Hook::ALL {
            assert_eq!(DropEvent { hook: hook as u16, ..DropEvent::zeroed() }.hook(), Some(hook));
        }
        assert_eq!(DropEvent::zeroed().hook(), None);
    }

    #[test]
    fn a_window_has_its_share_and_the_rest_is_counted() {
        let mut budget = EventBudget::default();
        let start = 5 * WINDOW;
        let reported = (0..100).filter(|_| budget.afford(start)).count() as u64;
        assert_eq!((reported, budget.rate_limited), (u64::from(PER_WINDOW), 100 - u64::from(PER_WINDOW)));
        assert!(!budget.afford(start + WINDOW - 1));
        assert!(budget.afford(start + WINDOW));
        assert_eq!(budget.ring_full, 0);
    }
}
