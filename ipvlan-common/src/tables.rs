//! The lookups a verdict may make, so that it runs against the maps in the kernel and against plain tables in a test.

use crate::types::{Slot, SlotEntry};

/// Lookups by exact match.
pub trait Tables {
    /// The entry of `slot`; all zero, or none, where it is not registered.
    fn slot(&self, slot: Slot) -> Option<&SlotEntry>;
    /// The endpoint that holds `address` on the parent with slot `parent`.
    fn ipv4(&self, parent: Slot, address: [u8; 4]) -> Option<Slot>;
    /// The endpoint that holds `address` on the parent with slot `parent`.
    fn ipv6(&self, parent: Slot, address: [u8; 16]) -> Option<Slot>;
}
