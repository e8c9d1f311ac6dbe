//! What enforcement costs on this machine: the programs by themselves, and traffic between endpoints in a sandbox.

pub mod crowd;
mod flow;
mod programs;
mod traffic;

use serde::Serialize;

pub use flow::{Flow, Way, arrived, spoofed};
pub use programs::ProgramCost;
pub use traffic::Rates;

use crate::{
    netlink::Netlink,
    sandbox::interrupt,
    service::{Error, Facts, Root},
};

/// What is measured, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What each program costs a frame.
    pub programs: bool,
    /// What comes through between endpoints; takes ipvlan.
    pub traffic: bool,
    /// Fewer and shorter rounds.
    pub quick: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// What each program costs a frame.
    pub programs: Vec<ProgramCost>,
    /// What comes through from endpoint to endpoint, in mode l2.
    pub traffic: Vec<Rates>,
}

/// Measures what `options` ask for, and touches no network that there is; `step` is told each round of `steps`.
///
/// # Errors
/// Fails without root, and for traffic without ip(8) or ipvlan.
pub fn run(root: &Root, options: Options, step: &dyn Fn()) -> Result<Report, Error> {
    let facts = Facts::gather();
    facts.check()?;
    if options.traffic {
        facts.check_ipvlan(Netlink::open()?.has_ipvlan()?)?;
    }
    interrupt::listen().map_err(Error::Wait)?;
    let programs = if options.programs { programs::measure(root, options.quick, step)? } else { Vec::new() };
    let traffic = if options.traffic {
        traffic::measure(options.quick, step).map_err(Error::Bench)?
    } else {
        Vec::new()
    };
    Ok(Report { programs, traffic })
}

/// How many steps `run` takes.
#[must_use]
pub fn steps(options: Options) -> u64 {
    let programs = if options.programs { programs::rounds(options.quick) } else { 0 };
    let traffic = if options.traffic { traffic::rounds(options.quick) } else { 0 };
    (programs + traffic) as u64
}

/// The sample in the middle.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
