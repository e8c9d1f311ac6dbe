//! Least privilege: a command keeps what it needs, and gives up the rest before it does anything.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// What a command keeps of what it was given.
pub const KEPT: [Capability; 5] = [
    // Files of users other than root: a namespace below /run/user, a state directory in somebody's home.
    Capability::CAP_DAC_OVERRIDE,
    // Links, addresses, programs on them.
    Capability::CAP_NET_ADMIN,
    // Probes for addresses that somebody on the wire has.
    Capability::CAP_NET_RAW,
    // Namespaces, mounts, and all of BPF, which CAP_BPF and CAP_PERFMON are parts of.
    Capability::CAP_SYS_ADMIN,
    // Namespaces that other processes hold.
    Capability::CAP_SYS_PTRACE,
];

/// Gives up everything but [`KEPT`], for this process and what it might start.
///
/// To be called before there are threads: each has its own.
pub(super) fn keep_needed() -> Result<(), CapsError> {
    let needed: CapsHashSet = KEPT.into_iter().collect();
    let kept = &caps::read(None, CapSet::Permitted)? & &needed;
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
