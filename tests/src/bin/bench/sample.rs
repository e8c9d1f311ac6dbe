//! Samples, and what they come to.

use std::fmt::{self, Display};

use serde::Serialize;

/// Nanoseconds a run of one case, and of what is taken off it, round by round.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Samples {
    /// Of the case.
    pub(crate) whole: Vec<f64>,
    /// Of the same frame without the program.
    pub(crate) empty: Vec<f64>,
}

/// The middle of some samples, and the middle half of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Middle {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Samples {
    /// What the program itself costs: round by round, since a machine's noise comes in waves.
    pub(crate) fn cost(&self) -> Middle {
        Middle::of(self.whole.iter().zip(&self.empty).map(|(whole, empty)| whole - empty).collect())
    }

    /// What it takes without the program.
    pub(crate) fn base(&self) -> Middle {
        Middle::of(self.empty.clone())
    }
}

impl Middle {
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |part: usize| samples.get(samples.len() * part / 4).copied().unwrap_or(f64::NAN);
        Self { median: at(2), low: at(1), high: at(3) }
    }
}

impl Middle {
    /// As a ratio is written.
    pub(crate) fn as_ratio(&self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.median, self.low, self.high)
    }
}

/// The sample that this part of them doesn't exceed.
pub(crate) fn percentile(mut samples: Vec<f64>, part: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let rank = (samples.len() as f64 * part).ceil() as usize;
    samples.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

impl Display for Middle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ({:.0}–{:.0})", self.median, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample() {
        let samples: Vec<_> = (1..=50).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|part| percentile(samples.clone(), part)), [25.0, 50.0, 50.0]);
    }

    #[test]
    fn the_middle_is_of_the_differences() {
        let samples =
            Samples { whole: vec![9.0, 11.0, 30.0, 10.5, 12.0], empty: vec![1.0, 1.0, 1.0, 1.5, 1.0] };
        assert_eq!(samples.cost(), Middle { median: 10.0, low: 9.0, high: 11.0 });
    }
}
