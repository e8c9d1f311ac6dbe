//! Whether this machine has what is needed: looking ([`Findings::gather`]) apart from judging ([`judge()`], pure).

mod features;
mod gather;
mod judge;
mod kernel;
mod parent;

pub use gather::{BpfFs, Findings, Looked, Presence, Setting};
pub use judge::judge;
pub(super) use kernel::setting;
pub use parent::{Medium, ParentFindings};
use serde::Serialize;

use crate::text_enum::text_enum;

text_enum!(
    /// How well one thing is.
    Status {
        /// As it should be.
        Ok = "ok",
        /// It works, but with less than there could be.
        Degraded = "degraded",
        /// It is needed, and not there.
        Missing = "missing",
        /// It couldn't be found out.
        Unknown = "unknown",
    }
);

/// What was checked, and what came of it. The field names are those of `--format json`, and stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    /// What was checked: `kernel`, `ipvlan`, `l3s`, `tcx`, `clsact` (a row for each of its modules, without TCX), `btf`, `bpf-fs`,
    /// `bpf`, `jit`, `jit-harden`, `unprivileged-bpf`, `capabilities`, `state`, `pins`, `interfaces`; of a parent `link`, `place`,
    /// `medium`, `xdp`.
    pub check: &'static str,
    /// The interface that was, if it was one.
    pub parent: Option<String>,
    /// `ok`; `degraded`: it works with less; `missing`: nothing works without; `unknown`: it couldn't be found out.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What that means, and how to mend it; `null` where there is nothing to say.
    pub advice: Option<String>,
}

impl Row {
    fn new(check: &'static str, status: Status, found: impl Into<String>) -> Self {
        Self { check, parent: None, status, found: found.into(), advice: None }
    }

    fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}
