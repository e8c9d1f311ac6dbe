//! Whether this machine keeps what its networks promise: looking ([`Evidence::gather`]) apart from judging ([`judge()`], pure).

mod gather;
mod judge;
mod processes;

pub use gather::{EndpointEvidence, Evidence};
pub use judge::judge;
pub use processes::Privileged;
use serde::Serialize;

use crate::text_enum::text_enum;

text_enum!(
    /// How much a risk weighs.
    #[derive(PartialOrd, Ord)]
    Severity {
        /// Worth knowing.
        Low = "low",
        /// It weakens what stands behind the programs.
        Medium = "medium",
        /// Somebody can do, or has done, what the programs can't undo.
        High = "high",
        /// Something isn't enforced now.
        Critical = "critical",
    }
);

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

impl Risk {
    fn new(
        severity: Severity,
        check: &str,
        object: impl Into<String>,
        evidence: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (object, evidence, advice) = (object.into(), evidence.into(), advice.into());
        Self { severity, check: check.to_owned(), object, evidence, advice }
    }
}
