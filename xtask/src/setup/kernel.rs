//! Guest kernels: Debian's cloud packages, unpacked into the cache and never installed.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Status;
use super::apt::{Apt, put_in_place};
use crate::kernel::{Kernel, Version};
use crate::process::{capture, find_program};

pub(super) fn check(version: Version) -> Status {
    match Kernel::find(version) {
        Ok(kernel) => Status::Have(kernel.release),
        Err(error) => Status::Missing(error.to_string()),
    }
}

pub(super) fn install(version: Version, apt: &Apt) -> Result<()> {
    let by_hand = || {
        format!(
            "put a {version} kernel with ipvlan, its `vmlinuz` and its `lib/modules` with modules.dep, into \
             $IPVLAN_KERNEL_DIR/{version}"
        )
    };
    if !Apt::is_there() {
        bail!("there is no apt-get here: {}", by_hand());
    }
    let package = find_package(version, apt)?.with_context(by_hand)?;

    let target = Kernel::cache_dir(version)?;
    let parent = target.parent().context("the cache folder has kernels in it")?;
    fs::create_dir_all(parent)?;
    let unpacked = tempfile::tempdir_in(parent)?;
    apt.unpack(&package, unpacked.path())?;
    let image = fs::read_dir(unpacked.path().join("boot"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")))
        .with_context(|| format!("{package} has no kernel image"))?;
    fs::rename(image, unpacked.path().join("vmlinuz"))?;
    let release = package.trim_start_matches("linux-image-");
    let depmod = find_program("depmod").context("depmod is not on PATH")?;
    capture(Command::new(depmod).arg("--basedir").arg(unpacked.path()).arg(release))?;
    Kernel::open(unpacked.path())?.vmlinux()?;

    put_in_place(unpacked, &target)
}

/// The package of the newest kernel of a series that this system's lists have.
fn find_package(version: Version, apt: &Apt) -> Result<Option<String>> {
    for meta in [format!("linux-image-{version}-cloud-amd64"), "linux-image-cloud-amd64".to_owned()] {
        if let Some(package) = resolve(&apt.depends(&meta)?, version) {
            return Ok(Some(package.to_owned()));
        }
    }
    Ok(None)
}

/// Reads `apt-cache depends` of a meta package, which names the kernel of the day.
fn resolve(depends: &str, version: Version) -> Option<&str> {
    let prefix = format!("linux-image-{version}.");
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|package| package.starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_the_series_is_picked() {
        let meta = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(resolve(meta, Version::V6_1), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(resolve(meta, Version::V6_12), None);
        let backport = "linux-image-6.12-cloud-amd64\n  Depends: linux-image-6.12.117+deb12-cloud-amd64\n";
        assert_eq!(resolve(backport, Version::V6_12), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(resolve(backport, Version::V6_1), None);
        assert_eq!(resolve("", Version::V6_1), None);
    }
}
