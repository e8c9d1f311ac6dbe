//! Where the state lies.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::Hasher as _,
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use tracing::debug;

use super::Error;

const DEFAULT_ROOT: &str = "/var/lib/ipvlan-ebpf";
const DEFAULT_PINS: &str = "/sys/fs/bpf/ipvlan-ebpf";

/// The state directory, and the directory of its pins.
#[derive(Debug, Clone)]
pub struct Root {
    dir: PathBuf,
    pin_dir: PathBuf,
}

impl Root {
    /// The directories asked for, or the defaults. Another root has other pins, so that two never meet.
    pub fn new(dir: Option<&Path>, pin_dir: Option<&Path>) -> Result<Self, Error> {
        let dir = dir.unwrap_or(Path::new(DEFAULT_ROOT));
        let dir = canonical(dir).map_err(|source| Error::Root { path: dir.to_owned(), source })?;
        let pin_dir = pin_dir.map_or_else(|| default_pins(&dir), Path::to_owned);
        Ok(Self { dir, pin_dir })
    }

    /// The directory of the state.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of the pins.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Where the hosts files of endpoints in namespaces without a name are.
    pub(super) fn hosts_dir(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    pub(super) fn store(&self) -> PathBuf {
        self.dir.join("store.sqlite")
    }

    /// The right to read the events; they are handed out once, so a second reader would take the first one's.
    pub(super) fn lock_events(&self) -> Result<Flock<File>, Error> {
        Flock::lock(self.lock_file("monitor.lock")?, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
            match errno {
                Errno::EWOULDBLOCK => Error::MonitorRuns,
                other => Error::Root { path: self.dir.clone(), source: other.into() },
            }
        })
    }

    /// Waits until no other command changes this root.
    pub(super) fn lock(&self) -> Result<Flock<File>, Error> {
        let fail = |(_, errno): (File, Errno)| Error::Root { path: self.dir.clone(), source: errno.into() };
        match Flock::lock(self.lock_file("lock")?, FlockArg::LockExclusiveNonblock) {
            Err((file, Errno::EWOULDBLOCK)) => {
                debug!("wait for another ipvlan-ctl to end");
                Flock::lock(file, FlockArg::LockExclusive).map_err(fail)
            }
            other => other.map_err(fail),
        }
    }

    /// Waits until no other command changes this root, to look at it; `None` where no command has ever been.
    pub(super) fn lock_to_look(&self) -> Result<Option<Flock<File>>, Error> {
        let fail = |source| Error::Root { path: self.dir.clone(), source };
        match File::open(self.dir.join("lock")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fail(error)),
            Ok(file) => {
                Flock::lock(file, FlockArg::LockShared).map(Some).map_err(|(_, errno)| fail(errno.into()))
            }
        }
    }

    fn lock_file(&self, name: &str) -> Result<File, Error> {
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            OpenOptions::new().create(true).append(true).mode(0o600).open(self.dir.join(name))
        };
        open().map_err(|source| Error::Root { path: self.dir.clone(), source })
    }
}

/// The path without links and dots, though its last parts may not exist yet.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    let base = fs::canonicalize(existing)?;
    Ok(if rest.as_os_str().is_empty() { base } else { base.join(rest) })
}

fn default_pins(dir: &Path) -> PathBuf {
    if dir == Path::new(DEFAULT_ROOT) {
        return DEFAULT_PINS.into();
    }
    // FNV-1a: the same on every machine and in every version of this program.
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(dir.as_os_str().as_bytes());
    format!("{DEFAULT_PINS}-{:016x}", hasher.finish()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_root_has_pins_of_its_own() {
        let pins = |dir: Option<&str>| Root::new(dir.map(Path::new), None).unwrap().pin_dir;
        assert_eq!(pins(None), Path::new(DEFAULT_PINS));
        assert_eq!(pins(Some("/var/lib/ipvlan-ebpf/")), Path::new(DEFAULT_PINS));
        assert_ne!(pins(Some("/nonexistent/a")), pins(Some("/nonexistent/b")));
        assert_eq!(pins(Some("/nonexistent/a")), pins(Some("/nonexistent//a/")));
        let chosen = Root::new(None, Some(Path::new("/sys/fs/bpf/mine"))).unwrap();
        assert_eq!(chosen.pin_dir(), Path::new("/sys/fs/bpf/mine"));
    }

    #[test]
    fn a_root_keeps_its_pins_once_it_exists() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("root");
        let before = Root::new(Some(&dir), None).unwrap();
        drop(before.lock().unwrap());
        assert_eq!(before.pin_dir(), Root::new(Some(&dir), None).unwrap().pin_dir());
        assert!(dir.join("lock").exists());
    }
}
