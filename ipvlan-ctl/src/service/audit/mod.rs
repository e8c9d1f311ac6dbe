//! Whether this machine keeps what its networks promise: looking ([`Evidence::gather`]) apart from judging ([`judge()`], pure).

mod gather;
mod judge;
mod processes;

pub use gather::{EndpointEvidence, Evidence};
pub use judge::judge;
pub use processes::Privileged;
use serde::Serialize;

/// How much a risk weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// It weakens what stands behind the programs.
    Medium,
    /// Somebody can do, or has done, what the programs can't undo.
    High,
    /// Something isn't enforced now.
    Critical,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Something that isn't as it should be. The field names are those of `--format json`, and stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Risk {
    /// How much it weighs.
    pub severity: Severity,
    /// What was checked: the kinds of `reconcile`, and `mode`, `flag`, `promiscuous`, `privileged`, `accept-ra`, `unprivileged-bpf`,
    /// `jit-harden`.
    pub check: String,
    /// What it is about.
    pub object: String,
    /// What was found.
    pub evidence: String,
    /// How to mend it.
    pub advice: String,
}
