//! What this kernel has.

use std::ffi::CString;

use aya::util::KernelVersion;

/// TCX and its links came with Linux 6.6 (e420bed02507).
#[must_use]
pub fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// The interface's name as the kernel is given it. No interface has one with a zero in it, or none at all.
pub(super) fn name(ifname: &str) -> CString {
    CString::new(ifname).unwrap_or_default()
}
