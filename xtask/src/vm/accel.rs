//! Hardware acceleration where it really boots a kernel, else emulation.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::{Boot, console};
use crate::dirs;
use crate::kernel::Kernel;

/// How QEMU runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The host's virtualisation.
    Kvm,
    /// Emulation.
    Tcg,
}

/// A guest that only reports its boot takes about a second with KVM.
const PROBE: console::Limits = console::Limits {
    total: Duration::from_secs(8),
    silence: Duration::from_secs(8),
    echo: console::Echo::Off,
};

impl Accelerator {
    /// Boots `kernel` once with KVM to see whether that works; a nested host may offer the device and then hang.
    ///
    /// The answer is kept until the host's kernel changes.
    pub(super) fn choose(kernel: &Kernel) -> Result<Self> {
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let host = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let memo = dirs::cache()?.join(format!("kvm-{}", host.trim()));
        if let Ok(known) = fs::read_to_string(&memo) {
            return Ok(if known.trim() == "works" { Self::Kvm } else { Self::Tcg });
        }
        eprintln!("vm: trying KVM, once");
        let boot = Boot {
            kernel,
            accelerator: Self::Kvm,
            memory: 512,
            cpus: 1,
            icount: false,
            shares: &[],
            job: None,
        };
        let (accelerator, note) = match boot.run(&PROBE) {
            Ok(_) => (Self::Kvm, "works\n".to_owned()),
            Err(error) => (Self::Tcg, format!("{error:#}\n")),
        };
        dirs::write_atomically(&memo, note.as_bytes())?;
        Ok(accelerator)
    }

    /// QEMU's arguments.
    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // One thread: two at once break the guest's patching of its own code. Without erms the guest copies in
            // plain moves, which the emulator runs about five times as fast as rep movsb.
            Self::Tcg => ["-accel", "tcg,thread=single", "-cpu", "max,-erms"],
        }
    }
}
