//! Suites that report like `cargo test` and say why they skip.

use std::{
    env,
    panic::RefUnwindSafe,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use libtest_mimic::{Completion, Failed, Trial};
use nix::sys::utsname::uname;

use crate::netns::run;

/// What a test needs of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Root and network namespaces, which every kernel has.
    Root,
    /// The kernel's ipvlan driver.
    Ipvlan,
    /// A kernel without ipvlan.
    NoIpvlan,
    /// TCX, since Linux 6.6.
    Tcx,
    /// A kernel older than TCX.
    NoTcx,
    /// Docker's packages, in a VM: its daemon takes the machine for its own.
    Docker,
}

impl Need {
    /// Why the need isn't met here; `None` if it is.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Root => {
                (!nix::unistd::geteuid().is_root()).then(|| "the effective user is not root".to_owned())
            }
            Self::Ipvlan => {
                (!has_ipvlan()).then(|| "`modprobe ipvlan` fails: the kernel has no ipvlan".to_owned())
            }
            Self::NoIpvlan => has_ipvlan().then(|| "the kernel has ipvlan".to_owned()),
            Self::Tcx => (kernel_version() < (6, 6)).then(|| "TCX needs Linux 6.6".to_owned()),
            Self::Docker => env::var_os("IPVLAN_DOCKER")
                .is_none()
                .then(|| "IPVLAN_DOCKER doesn't say where Docker's packages are unpacked".to_owned()),
            Self::NoTcx => (kernel_version() >= (6, 6))
                .then(|| "the kernel has TCX, no clsact filters are used".to_owned()),
        }
    }
}

/// What takes longer than this is named, so that it is known where a suite's time goes.
const SLOW: Duration = Duration::from_secs(20);

/// A test that runs where its needs are met, and otherwise says on standard error why not and counts as ignored.
pub fn test(
    name: &str,
    needs: &'static [Need],
    body: impl Fn() -> Result<()> + Send + Sync + RefUnwindSafe + 'static,
) -> Trial {
    let owned = name.to_owned();
    Trial::ignorable_test(name, move || {
        if let Some(missing) = needs.iter().find_map(|need| need.missing()) {
            let reason = format!("{missing} (Linux {})", kernel_release());
            eprintln!("skip {owned}: {reason}");
            return Ok(Completion::ignored_with(reason));
        }
        let begin = Instant::now();
        let result = body();
        if begin.elapsed() > SLOW {
            eprintln!("slow {owned}: {:.0} s", begin.elapsed().as_secs_f32());
        }
        // The whole chain, since the outermost context alone rarely says what broke; no backtrace, which would push it out of sight.
        result.map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// The running kernel's release, e.g. `6.12.117+deb12-cloud-amd64`.
#[must_use]
pub fn kernel_release() -> String {
    uname().map_or_else(
        |_| "of unknown release".to_owned(),
        |name| name.release().to_string_lossy().into_owned(),
    )
}

/// The running kernel's major and minor version.
#[must_use]
pub fn kernel_version() -> (u32, u32) {
    parse_version(&kernel_release()).unwrap_or_default()
}

fn parse_version(release: &str) -> Result<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(anyhow!("no version in {release}")),
    }
}

/// Whether the kernel has ipvlan, built in or as a module that can be loaded.
#[must_use]
pub fn has_ipvlan() -> bool {
    run(Command::new("modprobe").arg("ipvlan")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_real_releases() {
        assert_eq!(parse_version("6.12.117+deb12-cloud-amd64").unwrap(), (6, 12));
        assert_eq!(parse_version("6.1.0-56-cloud-amd64").unwrap(), (6, 1));
        assert!(parse_version("next").is_err());
    }
}
