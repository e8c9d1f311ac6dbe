//! What this kernel has.

use aya::util::KernelVersion;

/// TCX and its links came with Linux 6.6 (e420bed02507).
#[must_use]
pub fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}
