//! Whether programs are where they belong: asked of the kernel, since devices come and go, and others have hands too.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use ipvlan_common::Slot;
use nix::libc;

use super::{
    BpfError,
    attach::{self, Place},
    pins::{self, Pins},
    qdisc,
    support::has_tcx,
};

/// Whether each of `places` on the interface with number `ifindex`, in the calling thread's netns, has its program for `slot`.
pub(super) fn are_on(pins: &Pins, slot: Slot, places: &[Place], ifindex: u32) -> Result<bool, BpfError> {
    for (name, side) in places {
        let present = if has_tcx() {
            device(&pins.link(slot, name))? == Some(ifindex)
        } else {
            qdisc::has_filter(ifindex, *side, attach::PRIORITY, attach::handle(slot))?
        };
        if !present {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The number of the interface that a pinned TCX link is on, whichever netns it is in now; `None` where the interface has gone or
/// nothing is pinned.
pub(super) fn device(pin: &Path) -> Result<Option<u32>, BpfError> {
    let link = match open(pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(pins::at("open", pin))?,
    };
    let info = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", link.as_raw_fd()))
        .map_err(pins::at("look at", pin))?;
    let ifindex = info.lines().find_map(|line| line.strip_prefix("ifindex:")?.trim().parse().ok());
    Ok(ifindex.filter(|ifindex| *ifindex != 0))
}

/// What of `union bpf_attr` this command reads.
#[repr(C)]
struct ObjectAttributes {
    path: u64,
    fd: u32,
    flags: u32,
}

/// A descriptor of what is pinned. aya opens links too, but gives their descriptors to nobody.
fn open(pin: &Path) -> io::Result<OwnedFd> {
    const BPF_OBJ_GET: libc::c_int = 7;
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attributes = ObjectAttributes { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the kernel reads as many bytes as it is told, and the path, both of which outlive the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attributes, size_of::<ObjectAttributes>())
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made it, and nobody else has it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
