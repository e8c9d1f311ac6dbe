//! Docker for the VM: its packages are unpacked into the cache and never installed, since its daemon would start on this machine.

use std::path::PathBuf;

use anyhow::Result;

use super::Status;
use super::apt::{Apt, has_candidate};
use super::tools::Group;
use crate::dirs;

/// The daemon, what it doesn't start without, and the one program of its containers' image.
const PACKAGES: [&str; 4] = ["docker.io", "containerd", "runc", "busybox-static"];
/// Newer Debians have the client in a package of its own.
const CLIENT: &str = "docker-cli";
/// What must be there.
const FILES: [&str; 4] = ["usr/sbin/dockerd", "usr/bin/docker", "usr/bin/containerd", "usr/sbin/runc"];

/// Where the packages are unpacked.
pub(crate) fn dir() -> Result<PathBuf> {
    Ok(dirs::cache()?.join("docker"))
}

pub(super) fn check() -> Status {
    let tools = match Group::CONTAINERS.check() {
        Status::Have(tools) => tools,
        missing => return missing,
    };
    match dir() {
        Ok(dir) if FILES.iter().all(|file| dir.join(file).is_file()) => {
            Status::Have(format!("dockerd, containerd, busybox, {tools}"))
        }
        Ok(dir) => Status::Missing(format!("no dockerd in {}", dir.display())),
        Err(error) => Status::Missing(error.to_string()),
    }
}

pub(super) fn install(apt: &Apt) -> Result<()> {
    Group::CONTAINERS.install(apt)?;
    let client = has_candidate(CLIENT).then_some(CLIENT);
    apt.unpack_as(&dir()?, PACKAGES.into_iter().chain(client))
}
