//! How far a command has come, as events: `--verbose` prints them, and a terminal shows the last one.

use std::fmt::Display;

use tracing::debug;

/// What the events are told by.
pub(crate) const TARGET: &str = "ipvlan_ctl::progress";

/// Says before something is done to `object` that it is the next one of `total`, of which `done` are done.
pub(crate) fn note(what: &'static str, done: usize, total: usize, object: impl Display) {
    debug!(target: TARGET, done, total, %object, "{what}");
}
