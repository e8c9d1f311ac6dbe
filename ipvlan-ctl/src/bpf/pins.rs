//! Where our pins are: `<pin dir>/v<ABI>/maps/<NAME>` and `<pin dir>/v<ABI>/links/<slot>-<program>`.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use ipvlan_common::{Slot, schema};
use nix::{
    libc,
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::BpfError;

const BPF_FS: &str = "/sys/fs/bpf";

/// The tree of pins of one controller.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    top: PathBuf,
    version: PathBuf,
}

impl Pins {
    pub(super) fn new(pin_dir: &Path) -> Self {
        Self { top: pin_dir.to_owned(), version: pin_dir.join(format!("v{}", schema::ABI_VERSION)) }
    }

    /// Makes the directories.
    pub(super) fn create(pin_dir: &Path) -> Result<Self, BpfError> {
        let pins = Self::new(pin_dir);
        if !on_bpf_fs(pin_dir) {
            // Nobody has mounted it yet: do so where everybody expects it, as ip(8) and bpftool do.
            let mounted = is_mountable(pin_dir)
                && mount(Some("bpf"), BPF_FS, Some("bpf"), MsFlags::empty(), None::<&str>).is_ok();
            if !mounted {
                return Err(BpfError::NotBpfFs(pin_dir.to_owned()));
            }
        }
        pins.refuse_other_versions()?;
        for directory in [pins.maps(), pins.links()] {
            fs::create_dir_all(&directory).map_err(at("create", &directory))?;
        }
        Ok(pins)
    }

    /// Another version's programs would go on with maps that nobody here writes. What isn't named as a version is somebody else's.
    pub(super) fn refuse_other_versions(&self) -> Result<(), BpfError> {
        let is_other = |path: &PathBuf| {
            let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix('v'));
            *path != self.version && number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        match entries(&self.top).find(is_other) {
            Some(other) => Err(BpfError::OtherVersion { found: other, known: schema::ABI_VERSION }),
            None => Ok(()),
        }
    }

    pub(super) fn has_maps(&self) -> bool {
        schema::MAPS.iter().all(|name| self.map(name).exists())
    }

    pub(super) fn maps(&self) -> PathBuf {
        self.version.join("maps")
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    fn links(&self) -> PathBuf {
        self.version.join("links")
    }

    pub(super) fn link(&self, slot: Slot, program: &str) -> PathBuf {
        self.links().join(format!("{slot}-{program}"))
    }

    /// The slots that have a link.
    pub(super) fn link_slots(&self) -> BTreeSet<Slot> {
        entries(&self.links()).filter_map(|pin| slot_of(&pin)).collect()
    }

    /// Removes the links of a slot.
    pub(super) fn unpin_slot(&self, slot: Slot) -> Result<(), BpfError> {
        entries(&self.links()).filter(|pin| slot_of(pin) == Some(slot)).try_for_each(|pin| unpin(&pin))
    }

    /// Removes every pin and directory of ours, by its name: whatever else is there is somebody else's, and stays.
    pub(super) fn remove_all(&self) -> Result<(), BpfError> {
        self.refuse_other_versions()?;
        // Another build than this one may have pinned the log.
        for name in schema::MAPS.into_iter().chain([schema::LOG_MAP]) {
            unpin(&self.map(name))?;
        }
        for pin in entries(&self.links()).filter(|pin| slot_of(pin).is_some()) {
            unpin(&pin)?;
        }
        for directory in [&self.maps(), &self.links(), &self.version, &self.top] {
            match fs::remove_dir(directory).map_err(|error| (error.raw_os_error(), error)) {
                // The last one is the file system itself, where the user wants it so.
                Err((Some(libc::ENOENT | libc::ENOTEMPTY | libc::EBUSY), _)) | Ok(()) => {}
                Err((_, error)) => return Err(at("remove", directory)(error)),
            }
        }
        Ok(())
    }
}

/// Whose link a pin is that is named as [`Pins::link`] does.
fn slot_of(pin: &Path) -> Option<Slot> {
    let (slot, program) = pin.file_name()?.to_str()?.split_once('-')?;
    slot.parse().ok().filter(|_| schema::PROGRAMS.contains(&program))
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether this version's maps are pinned below `pin_dir`.
///
/// # Errors
/// Where another version's are, or the directory can't be read.
pub fn has_pins(pin_dir: &Path) -> Result<bool, BpfError> {
    match fs::read_dir(pin_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at("read", pin_dir)(error)),
        Ok(_) => {}
    }
    let pins = Pins::new(pin_dir);
    pins.refuse_other_versions()?;
    Ok(pins.has_maps())
}

/// Whether `path`, or what of it exists, is on a BPF file system.
#[must_use]
pub fn on_bpf_fs(path: &Path) -> bool {
    let existing = path.ancestors().find(|it| it.exists()).unwrap_or(path);
    statfs(existing).is_ok_and(|it| it.filesystem_type() == BPF_FS_MAGIC)
}

/// Whether `pin_dir` is where everybody expects a BPF file system, so that one can be mounted for it.
#[must_use]
pub fn is_mountable(pin_dir: &Path) -> bool {
    pin_dir.starts_with(BPF_FS)
}

/// Removes one pin; none there is fine.
pub(super) fn unpin(path: &Path) -> Result<(), BpfError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BpfError {
    let path = path.to_owned();
    move |source| BpfError::Pin { action, path, source }
}
