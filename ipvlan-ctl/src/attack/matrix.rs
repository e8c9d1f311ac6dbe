//! What came of all cases, judged: case by setting, stock ipvlan beside ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::SystemTime,
};

use ipvlan_common::DropReason;
use serde::Serialize;

use super::{
    case::{Capability, Case, Class, Expect},
    setting::{Family, Place, Setting},
    throw::{Key, Trace},
};
use crate::{service::Facts, text_enum::text_enum};

text_enum!(
    /// What is to be said of a case under enforcement.
    #[derive(PartialOrd, Ord)]
    Verdict {
        /// What must pass came where it belongs, or there is no attack in it.
        Passed = "passed",
        /// It came out nowhere it shouldn't, and the reason was counted.
        Blocked = "blocked",
        /// It came out nowhere, and neither does it on stock ipvlan: the kernel itself stops it.
        Stopped = "stopped",
        /// There is nothing to try here.
        Pointless = "not applicable",
        /// It came through, and that is known: see the advice.
        NotContained = "not contained",
        /// It came out nowhere, but no reason for it was counted.
        Uncounted = "uncounted",
        /// What must pass didn't.
        Missing = "missing",
        /// It couldn't be tried.
        Failed = "failed",
        /// It came through.
        CameThrough = "came through",
    }
);

impl Verdict {
    /// Whether enforcement falls short of what it promises.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Uncounted | Self::Missing | Self::Failed | Self::CameThrough)
    }
}

/// One case in one setting.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cell {
    /// Where.
    pub setting: Setting,
    /// Where stock ipvlan lets it come out.
    pub stock: BTreeSet<Place>,
    /// Whether that is anywhere that it mustn't.
    pub stock_leaks: bool,
    /// Whether it works there, for what does or doesn't by itself.
    pub stock_works: Option<bool>,
    /// What came of it under enforcement.
    pub verdict: Verdict,
    /// Where it came out under enforcement.
    pub reached: BTreeSet<Place>,
    /// The reason that was counted.
    pub reason: Option<&'static str>,
    /// What there is to say about it: why there is nothing to try, or what went wrong.
    pub note: Option<String>,
}

/// One case in one family, in every setting.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    /// The case's name.
    pub case: &'static str,
    /// What happens in it.
    pub what: &'static str,
    /// What it is about.
    pub class: Class,
    /// In which family.
    pub family: Family,
    /// What the sender needs.
    pub needs: Capability,
    /// What to do where it isn't contained.
    pub advice: Option<&'static str>,
    /// What came of it.
    pub cells: Vec<Cell>,
    #[serde(skip)]
    expect: fn(Setting) -> Expect,
}

/// Everything that was tried.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Matrix {
    /// This program's version.
    pub version: &'static str,
    /// The kernel's release.
    pub kernel: String,
    /// When it was tried, in UTC.
    pub date: String,
    /// One row for a case and family.
    pub rows: Vec<Row>,
}

/// How many cells there are of each kind.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Summary {
    /// What was tried, without what isn't applicable.
    pub tried: usize,
    /// Attacks that come through on stock ipvlan: wherever they mustn't.
    pub through_stock: usize,
    /// By verdict.
    pub verdicts: BTreeMap<&'static str, usize>,
}

impl Matrix {
    pub(super) fn new(cases: &[&'static Case]) -> Self {
        let rows = cases.iter().flat_map(|case| {
            case.families.iter().map(|family| Row {
                case: case.id,
                what: case.what,
                class: case.class,
                family: *family,
                needs: case.needs,
                advice: case.advice,
                cells: Vec::new(),
                expect: case.expect,
            })
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            kernel: Facts::gather().release,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            rows: rows.collect(),
        }
    }

    pub(super) fn add(
        &mut self,
        setting: Setting,
        stock: &BTreeMap<Key, Trace>,
        enforced: &BTreeMap<Key, Trace>,
    ) {
        for row in &mut self.rows {
            let key = (row.case, row.family);
            let expect = (row.expect)(setting);
            row.cells.push(judge(setting, &expect, stock.get(&key), enforced.get(&key)));
        }
    }

    /// Every cell, with its row.
    pub fn cells(&self) -> impl Iterator<Item = (&Row, &Cell)> {
        self.rows.iter().flat_map(|row| row.cells.iter().map(move |cell| (row, cell)))
    }

    /// How it all came out.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for (_, cell) in self.cells() {
            *summary.verdicts.entry(cell.verdict.as_str()).or_default() += 1;
            if cell.verdict != Verdict::Pointless {
                summary.tried += 1;
            }
            summary.through_stock += usize::from(cell.stock_leaks);
        }
        summary
    }
}

impl Summary {
    /// How many cells have the verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.get(verdict.as_str()).copied().unwrap_or(0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tried: {} on stock ipvlan came through", self.tried, self.through_stock)?;
        for (verdict, count) in &self.verdicts {
            write!(f, ", {count} {verdict}")?;
        }
        Ok(())
    }
}

impl Expect {
    /// Whether it came out anywhere that it mustn't.
    pub(super) fn leaked(&self, trace: &Trace) -> bool {
        trace.seen.iter().any(|place| !self.must.contains(place) && !self.may.contains(place))
    }

    /// Whether it didn't come out where it must.
    pub(super) fn lacks(&self, trace: &Trace) -> bool {
        self.must.iter().any(|place| !trace.seen.contains(place)) || trace.worked == Some(false)
    }
}

/// Judges one case by where it came out on both sides.
fn judge(setting: Setting, expect: &Expect, stock: Option<&Trace>, enforced: Option<&Trace>) -> Cell {
    let cell = |verdict, reached: &BTreeSet<Place>, reason: Option<DropReason>, note| Cell {
        setting,
        stock: stock.map(|trace| trace.seen.clone()).unwrap_or_default(),
        stock_leaks: stock.is_some_and(|trace| expect.leaked(trace)),
        stock_works: stock.and_then(|trace| trace.worked),
        verdict,
        reached: reached.clone(),
        reason: reason.map(DropReason::name),
        note,
    };
    let (Some(stock), Some(trace)) = (stock, enforced) else {
        let why = expect.pointless.unwrap_or("the network has no IPv6 here");
        return cell(Verdict::Pointless, &BTreeSet::new(), None, Some(why.to_owned()));
    };
    if let Some(error) = stock.failed.as_ref().or(trace.failed.as_ref()) {
        return cell(Verdict::Failed, &trace.seen, None, Some(error.clone()));
    }
    let (leaked, missing) = (expect.leaked(trace), expect.lacks(trace));
    let unexpected = || (!trace.others.is_empty()).then(|| format!("counted: {}", trace.others.join(", ")));
    let (verdict, note) = match trace.counted {
        _ if (leaked || missing) && expect.known => (Verdict::NotContained, None),
        _ if leaked => (Verdict::CameThrough, unexpected()),
        _ if missing => (Verdict::Missing, unexpected()),
        Some(_) => (Verdict::Blocked, None),
        None if expect.reasons.is_empty() => (Verdict::Passed, None),
        None if expect.leaked(stock) => (Verdict::Uncounted, unexpected()),
        None if trace.seen.is_empty() => (Verdict::Stopped, None),
        None => (Verdict::Passed, None),
    };
    cell(verdict, &trace.seen, trace.counted, note)
}
