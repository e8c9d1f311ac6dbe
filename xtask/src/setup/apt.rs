//! Debian's packages, with or without root.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::dirs;
use crate::process::{Root, capture, find_program};

/// The package manager of this run; its lists are refreshed at most once.
#[derive(Default)]
pub(super) struct Apt {
    refreshed: Cell<bool>,
}

impl Apt {
    /// Whether this system uses apt.
    pub(super) fn is_there() -> bool {
        find_program("apt-get").is_some()
    }

    /// Installs packages; where that isn't possible, the error says what to run or to look for.
    pub(super) fn install(&self, packages: &[&str]) -> Result<()> {
        let names = packages.join(" ");
        if !Self::is_there() {
            bail!("there is no apt-get here: install what Debian calls {names}");
        }
        let Some(root) = Root::get() else {
            bail!(
                "not root, and `sudo -n` is refused; run\n    sudo apt-get update\n    \
                 sudo apt-get install --yes --no-install-recommends {names}\n  and repeat"
            );
        };
        if !packages.iter().all(|package| has_candidate(package)) {
            self.refresh(root)?;
        }
        if let Some(unknown) = packages.iter().find(|package| !has_candidate(package)) {
            bail!("this system's package lists have no {unknown}");
        }
        let install = || {
            let mut command = root.command("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            capture(command.args(["install", "--yes", "--no-install-recommends"]).args(packages))
        };
        // A list that is out of date names packages that are gone.
        if install().is_err() && !self.refreshed.get() {
            self.refresh(root)?;
        }
        install().map(drop)
    }

    /// What `package` depends on, as `apt-cache depends` prints it; empty if it is unknown.
    pub(super) fn depends(&self, package: &str) -> Result<String> {
        if !has_candidate(package)
            && let Some(root) = Root::get()
        {
            self.refresh(root)?;
        }
        Ok(capture(Command::new("apt-cache").args(["depends", package])).unwrap_or_default())
    }

    /// Downloads packages and unpacks them together as `target`, installing nothing; half of it is never there.
    pub(super) fn unpack_as(
        &self,
        target: &Path,
        packages: impl IntoIterator<Item = &'static str>,
    ) -> Result<()> {
        let unpacked = tempfile::tempdir_in(dirs::cache()?)?;
        for package in packages {
            self.unpack(package, unpacked.path()).with_context(|| format!("can't unpack {package}"))?;
        }
        put_in_place(unpacked, target)
    }

    /// Downloads a package and unpacks it below `dir`, installing nothing.
    pub(super) fn unpack(&self, package: &str, dir: &Path) -> Result<()> {
        let downloads = tempfile::tempdir_in(dir)?;
        let download =
            || capture(Command::new("apt-get").args(["download", package]).current_dir(&downloads));
        if let Err(error) = download() {
            let Some(root) = Root::get().filter(|_| !self.refreshed.get()) else {
                return Err(error);
            };
            self.refresh(root)?;
            download()?;
        }
        for file in downloads.path().read_dir()? {
            capture(Command::new("dpkg").arg("--extract").arg(file?.path()).arg(dir))?;
        }
        Ok(())
    }

    fn refresh(&self, root: Root) -> Result<()> {
        if !self.refreshed.replace(true) {
            capture(root.command("apt-get").arg("update"))?;
        }
        Ok(())
    }
}

/// Whether the package lists know a version of `package`.
pub(super) fn has_candidate(package: &str) -> bool {
    capture(Command::new("apt-cache").args(["policy", package])).is_ok_and(|policy| names_candidate(&policy))
}

/// Reads `apt-cache policy`.
fn names_candidate(policy: &str) -> bool {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate:"))
        .any(|candidate| candidate.trim() != "(none)")
}

/// Makes what is complete the `target`, whatever an interrupted set-up or a changed layout left there.
pub(super) fn put_in_place(unpacked: TempDir, target: &Path) -> Result<()> {
    if target.exists() {
        fs::remove_dir_all(target)?;
    }
    fs::rename(unpacked.keep(), target)
        .with_context(|| format!("can't move what was unpacked to {}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::names_candidate;

    #[test]
    fn a_candidate_is_read_from_the_policy() {
        assert!(names_candidate("lz4:\n  Installed: (none)\n  Candidate: 1.9.4-1\n"));
        assert!(!names_candidate("lz4:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!names_candidate(""));
    }
}
