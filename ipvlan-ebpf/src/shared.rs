//! How a slave's own programs call those that all slaves share.

use aya_ebpf::{bindings::TC_ACT_SHOT, macros::map, maps::ProgramArray, programs::TcContext};
use ipvlan_common::schema::SHARED as SHARED_PROGRAMS;

/// Dropped, on nobody's account: of an endpoint that is no longer known, or was never made whole.
pub(crate) const NOWHERE: i32 = TC_ACT_SHOT;

/// Pinned by its name, as all maps that the controller knows.
#[map]
static SHARED: ProgramArray = ProgramArray::pinned(SHARED_PROGRAMS.len() as u32, 0);

/// The index of a shared program.
#[repr(u32)]
#[allow(dead_code, reason = "each object calls some of them")]
pub(crate) enum Shared {
    Egress,
    Ingress,
    Request,
}

/// What an endpoint's programs know of it that its slot doesn't: scratch words of the frame, which nobody between two programs can
/// write.
pub(crate) type Words = [u32; 4];

/// Comes back only where there is no such program.
#[inline(always)]
pub(crate) fn call(ctx: &TcContext, program: Shared) {
    // SAFETY: the elements are classifiers.
    unsafe { SHARED.tail_call(ctx, program as u32) };
}
