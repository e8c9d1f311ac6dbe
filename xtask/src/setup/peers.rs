//! What the benchmark holds ours against: the reference CNI plugins, unpacked into the cache, and iptables for Docker's rules.

use std::path::PathBuf;

use anyhow::Result;

use super::Status;
use super::apt::Apt;
use super::tools::Group;
use crate::dirs;

const PACKAGE: &str = "containernetworking-plugins";
/// Where the package has its plugins.
const PLUGINS: &str = "usr/lib/cni";
/// What must be there.
const NAMES: [&str; 2] = ["ipvlan", "host-local"];

/// Where the package is unpacked.
fn dir() -> Result<PathBuf> {
    Ok(dirs::cache()?.join("cni"))
}

/// The folder of the plugins.
pub(crate) fn plugins() -> Result<PathBuf> {
    Ok(dir()?.join(PLUGINS))
}

pub(super) fn check() -> Status {
    let tools = match Group::FILTERS.check() {
        Status::Have(tools) => tools,
        missing => return missing,
    };
    match plugins() {
        Ok(plugins) if NAMES.iter().all(|name| plugins.join(name).is_file()) => {
            Status::Have(format!("CNI's {}, {tools}", NAMES.join(", ")))
        }
        Ok(plugins) => Status::Missing(format!("no CNI plugins in {}", plugins.display())),
        Err(error) => Status::Missing(error.to_string()),
    }
}

pub(super) fn install(apt: &Apt) -> Result<()> {
    Group::FILTERS.install(apt)?;
    apt.unpack_as(&dir()?, [PACKAGE])
}
