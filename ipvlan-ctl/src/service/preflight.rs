//! What the machine must offer. The rules are pure; only [`Facts::gather`] looks.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use super::Error;
use crate::bpf::on_bpf_fs;

/// The oldest kernel that has all that the programs use.
pub(super) const MINIMUM_KERNEL: (u32, u32) = (5, 15);

/// Measured on Linux 6.12 and 6.1. Without the last one, an endpoint whose namespace only a process holds would be taken for gone.
pub(super) const CAPABILITIES: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN"), (19, "CAP_SYS_PTRACE")];

/// What is known of the machine.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What `uname -r` says.
    pub release: String,
    /// The effective capabilities of this process.
    pub capabilities: u64,
}

impl Facts {
    /// Looks at this machine.
    #[must_use]
    pub fn gather() -> Self {
        let release = nix::sys::utsname::uname()
            .map(|uname| uname.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let capabilities = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
        Self { release, capabilities }
    }

    /// Major and minor number of the kernel.
    pub(super) fn version(&self) -> Option<(u32, u32)> {
        version(&self.release)
    }

    /// The capabilities that this process lacks.
    pub(super) fn missing_capabilities(&self) -> Vec<&'static str> {
        let missing = CAPABILITIES.iter().filter(|(bit, _)| self.capabilities & (1 << bit) == 0);
        missing.map(|(_, name)| *name).collect()
    }

    /// Whether the controller can work here.
    pub fn check(&self) -> Result<(), Error> {
        let missing = self.missing_capabilities();
        if !missing.is_empty() {
            return Err(Error::NotPermitted(missing));
        }
        if self.version().is_some_and(|version| version >= MINIMUM_KERNEL) {
            Ok(())
        } else {
            Err(Error::KernelTooOld { found: self.release.clone() })
        }
    }

    /// Whether endpoints can be made, given what a probe for ipvlan found.
    pub fn check_ipvlan(&self, present: bool) -> Result<(), Error> {
        if present { Ok(()) } else { Err(Error::NoIpvlan { release: self.release.clone() }) }
    }
}

/// Major and minor number of a release such as `6.12.9-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether pins in `pin_dir` would outlive this process.
///
/// The data path mounts a BPF file system where there is none. In a mount namespace of its own, such as `ip netns exec`
/// makes, that mount and every pin in it would vanish with this process, and the programs with them.
pub(super) fn check_pin_dir(pin_dir: &Path) -> Result<(), Error> {
    let own = fs::metadata("/proc/self/ns/mnt").map(|file| file.ino());
    let first = fs::metadata("/proc/1/ns/mnt").map(|file| file.ino());
    let lasting = matches!((own, first), (Ok(own), Ok(first)) if own == first);
    if lasting || on_bpf_fs(pin_dir) {
        Ok(())
    } else {
        Err(Error::PinsWouldVanish { path: pin_dir.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u64 = 0x1ff_ffff_ffff;

    fn facts(release: &str, capabilities: u64) -> Facts {
        Facts { release: release.into(), capabilities }
    }

    #[test]
    fn kernels() {
        for good in ["5.15.0", "6.1.0-31-amd64", "6.12.57+deb13-cloud-amd64", "10.0-rc1"] {
            assert!(facts(good, ROOT).check().is_ok(), "{good}");
        }
        for bad in ["5.14.21", "4.19.0", "", "foo"] {
            let error = facts(bad, ROOT).check().unwrap_err();
            assert_eq!(error.to_string(), format!("kernel too old: found {bad}, need 5.15 or newer"));
        }
    }

    #[test]
    fn capabilities() {
        let error = facts("6.12.0", 0).check().unwrap_err();
        assert_eq!(error.to_string(), "not permitted: CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE missing");
        assert_eq!(error.hint().unwrap(), "run as root, for instance with sudo");
        let error = facts("6.12.0", 1 << 12 | 1 << 19).check().unwrap_err();
        assert_eq!(error.to_string(), "not permitted: CAP_SYS_ADMIN missing");
        let error = facts("6.12.0", 1 << 12 | 1 << 21).check().unwrap_err();
        assert_eq!(error.to_string(), "not permitted: CAP_SYS_PTRACE missing");
    }

    #[test]
    fn ipvlan() {
        let facts = facts("6.18.0", ROOT);
        assert!(facts.check_ipvlan(true).is_ok());
        let error = facts.check_ipvlan(false).unwrap_err();
        assert_eq!(error.to_string(), "this kernel has no ipvlan (6.18.0)");
        assert!(error.hint().unwrap().contains("CONFIG_IPVLAN"));
    }
}
