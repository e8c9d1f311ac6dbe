//! Which reasons to drop a frame the suite has shown: all of them, where it ran as a whole.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use ipvlan_common::DropReason;

static SHOWN: Mutex<BTreeSet<DropReason>> = Mutex::new(BTreeSet::new());

/// Real traffic was seen to be dropped and counted for `reason`.
pub(crate) fn add(reason: DropReason) {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(reason);
}

/// The names of the reasons that no test has shown.
pub(crate) fn missing() -> Vec<&'static str> {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    DropReason::ALL.iter().filter(|reason| !shown.contains(reason)).map(|reason| reason.name()).collect()
}
