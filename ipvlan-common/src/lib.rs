//! What the programs in the kernel and the controller share: map layouts, the packet parser and the pure verdict.
//!
//! Nothing here depends on aya-ebpf: linked into a host binary it would export its own `memcpy`, which returns nothing there.
#![no_std]

pub mod drop_reason;
pub mod event;
pub mod hook;
pub mod log;
pub mod packet;
pub mod resolve;
pub mod schema;
pub mod seal;
pub mod tables;
pub mod types;
pub mod verdict;

mod claim;
mod nd;
mod parent;
mod sender;

pub use drop_reason::DropReason;
pub use event::DropEvent;
pub use hook::Hook;
pub use types::{Identity, Slot, SlotEntry};
pub use verdict::{Verdict, decide, decide_request};
