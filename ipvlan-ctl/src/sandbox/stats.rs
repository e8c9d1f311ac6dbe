//! The counters, as `ipvlan-ctl stats` shows them.

use anyhow::Result;
use ipvlan_common::DropReason;

use super::Sandbox;
use crate::service::{Report, Root, StatsReport};

/// All counters at one moment.
#[derive(Clone, Debug)]
pub struct Stats(Vec<StatsReport>);

/// By how much one drop counter rose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rise {
    /// The reason's name.
    pub reason: &'static str,
    /// Whose counter: an endpoint's or the parent's.
    pub charged: String,
    /// By how much.
    pub count: u64,
}

impl Stats {
    /// Reads the counters.
    ///
    /// # Errors
    /// Fails if the state or a map can't be read.
    pub fn read(sandbox: &Sandbox) -> Result<Self> {
        let root = Root::new(Some(sandbox.root()), Some(sandbox.pins()))?;
        Ok(Self(Report::read(&root)?.stats(&[])?))
    }

    /// The row called `name`.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&StatsReport> {
        self.0.iter().find(|row| row.name == name)
    }

    /// The drop counter of `name` for `reason`.
    #[must_use]
    pub fn drops(&self, name: &str, reason: DropReason) -> u64 {
        self.row(name).and_then(|row| row.drops_by_reason.get(reason.name())).copied().unwrap_or(0)
    }

    /// Every drop counter that rose since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Vec<Rise> {
        let mut rises = Vec::new();
        for row in &self.0 {
            for (reason, now) in &row.drops_by_reason {
                let before =
                    earlier.row(&row.name).and_then(|old| old.drops_by_reason.get(reason)).unwrap_or(&0);
                if now > before {
                    rises.push(Rise { reason, charged: row.name.clone(), count: now - before });
                }
            }
        }
        rises
    }
}
