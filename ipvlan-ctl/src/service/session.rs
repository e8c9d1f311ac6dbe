//! One command's hold on the state.

use std::{collections::BTreeSet, fs::File};

use nix::fcntl::Flock;

use super::{Error, Failure, Root, preflight};
use crate::{
    bpf::{Dataplane, has_pins},
    model::{Name, Slot},
    netlink::Netlink,
    store::Store,
};

/// The state, for a command that changes it: nobody else does meanwhile, and nothing is half done.
pub struct Session {
    pub(super) root: Root,
    pub(super) store: Store,
    pub(super) netlink: Netlink,
    pub(super) facts: preflight::Facts,
    dataplane: Option<Dataplane>,
    warnings: Vec<String>,
    cleared: BTreeSet<Name>,
    /// Whether this command has made the store.
    is_new: bool,
    _lock: Flock<File>,
}

impl Session {
    /// Checks the machine, waits for other commands, and clears away what a killed one left.
    pub fn begin(root: &Root) -> Result<Self, Error> {
        let mut session = Self::open(root)?;
        session.restore()?;
        session.repair()?;
        Ok(session)
    }

    /// As [`Self::begin`], but takes things as they are.
    pub(super) fn open(root: &Root) -> Result<Self, Error> {
        let facts = preflight::Facts::gather();
        facts.check()?;
        let lock = root.lock()?;
        let is_new = !root.store().exists();
        // Before the store becomes one that the version whose pins these are can't read any more.
        has_pins(root.pin_dir())?;
        Ok(Self {
            root: root.clone(),
            store: Store::open(&root.store())?,
            netlink: Netlink::open()?,
            facts,
            dataplane: None,
            warnings: Vec::new(),
            cleared: BTreeSet::new(),
            is_new,
            _lock: lock,
        })
    }

    /// What went less than well so far, for the user to know.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Notes that the repair removed something of this name.
    pub(super) fn note_cleared(&mut self, name: Name) {
        self.cleared.insert(name);
    }

    /// Whether the repair has just removed what the user wants to be gone.
    pub(super) fn was_cleared(&self, name: &str) -> bool {
        self.cleared.iter().any(|cleared| cleared.as_str() == name)
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// The error that the user gets; the rest of the failure are warnings.
    pub(super) fn fail(&mut self, failure: Failure) -> Error {
        for left in failure.left {
            self.warn(format!("undoing after a failed {}: {left}", failure.step));
        }
        *failure.cause
    }

    /// A slot for a new endpoint or parent.
    pub(super) fn free_slot(&self, capacity: Slot) -> Result<Slot, Error> {
        self.store.free_slot(capacity)?.ok_or(Error::NoSlot { capacity })
    }

    pub(super) fn require_ipvlan(&self) -> Result<(), Error> {
        self.facts.check_ipvlan(self.netlink.has_ipvlan()?)
    }

    /// The shared maps; made where they are missing.
    pub(super) fn dataplane(&mut self) -> Result<&mut Dataplane, Error> {
        let dataplane = match self.dataplane.take() {
            Some(dataplane) => dataplane,
            None => {
                preflight::check_pin_dir(self.root.pin_dir())?;
                Dataplane::create(self.root.pin_dir(), self.store.capacity()?)?
            }
        };
        Ok(self.dataplane.insert(dataplane))
    }

    /// The shared maps, if all of them were there when this command first asked. Directories that are missing beside them are made.
    pub(super) fn existing_dataplane(&mut self) -> Result<Option<&mut Dataplane>, Error> {
        if self.dataplane.is_none() && !has_pins(self.root.pin_dir())? {
            return Ok(None);
        }
        self.dataplane().map(Some)
    }

    /// Removes the maps that all networks share.
    pub(super) fn remove_dataplane(&mut self) -> Result<(), Error> {
        self.dataplane = None;
        Ok(Dataplane::remove_all(self.root.pin_dir())?)
    }
}

/// A command that was refused leaves no store where there was none.
impl Drop for Session {
    fn drop(&mut self) {
        if self.is_new && self.store.networks().is_ok_and(|networks| networks.is_empty()) {
            // An empty store that stays does no harm.
            let _ignored = std::fs::remove_file(self.root.store());
        }
    }
}
