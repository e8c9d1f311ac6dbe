//! Reads what test executables print, and counts.

use std::fmt;
use std::ops::AddAssign;

use super::skips;
use super::suite::Suite;

/// Numbers of tests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
}

impl Tally {
    /// One failure that no test reported.
    pub(super) fn failure() -> Self {
        Self { failed: 1, ..Self::default() }
    }

    /// Whether no test ran; skipped ones did not.
    pub(super) fn is_empty(self) -> bool {
        self.passed + self.failed == 0
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The output of test executables, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) tally: Tally,
    /// How many executables came to their closing line.
    pub(super) finished: usize,
    /// Skips that nobody expects; the tally has them as failures.
    pub(super) unexpected: Vec<String>,
}

impl Report {
    /// Reads closing lines and skips. A test that was ignored without a word is an unexpected skip too.
    pub(super) fn read(suite: Suite, output: &str) -> Self {
        let mut report = Self::default();
        let (mut ignored, mut named) = (0, 0);
        for line in output.lines() {
            // The console of a VM may put a kernel message in front.
            if let Some((passed, failed, left_out)) =
                line.find("test result: ").and_then(|at| closing(&line[at..]))
            {
                report.finished += 1;
                report.tally.passed += passed;
                report.tally.failed += failed;
                ignored += left_out;
            } else if let Some(skip) = skip(line) {
                named += 1;
                if skips::is_expected(suite, skip) {
                    report.tally.skipped += 1;
                } else {
                    report.unexpected.push(skip.to_owned());
                }
            }
        }
        for _ in named..ignored {
            report.unexpected.push("a test was ignored without a reason".to_owned());
        }
        report.tally.failed += u32::try_from(report.unexpected.len()).unwrap_or(u32::MAX);
        report
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn closing(line: &str) -> Option<(u32, u32, u32)> {
    let (_verdict, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let text = counts.split(';').find_map(|part| part.trim().strip_suffix(what))?;
        text.trim().parse().ok()
    };
    Some((count("passed")?, count("failed")?, count("ignored")?))
}

/// Reads `skip NAME: REASON`, which on one thread comes behind `test NAME ... `.
fn skip(line: &str) -> Option<&str> {
    let line = if line.starts_with("test ") { line.split_once(" ... ")?.1 } else { line };
    line.strip_prefix("skip ").filter(|skip| skip.contains(": ")).map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let output = "running 2 tests\ntest a ... ok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\r\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let report = Report::read(Suite::Unit, output);
        assert_eq!(report.tally, Tally { passed: 3, failed: 1, skipped: 0 });
        assert_eq!((report.finished, report.unexpected.len()), (2, 0));
    }

    #[test]
    fn an_expected_skip_counts_as_skipped() {
        let output = "skip links::pinned: TCX needs Linux 6.6 (Linux 6.1.0-56-cloud-amd64)\n\
            test Parent: a link ... skip Parent: a link: TCX needs Linux 6.6 (Linux 6.1.0-56-cloud-amd64)\r\n\
            ignored (TCX needs Linux 6.6 (Linux 6.1.0-56-cloud-amd64))\n\
            test result: ok. 4 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let report = Report::read(Suite::Traffic6_1, output);
        assert_eq!(report.tally, Tally { passed: 4, failed: 0, skipped: 2 });
    }

    #[test]
    fn any_other_skip_fails() {
        let output = "skip links::pinned: TCX needs Linux 6.6 (Linux 6.12.117)\n\
            test result: ok. 4 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let report = Report::read(Suite::Traffic6_12, output);
        assert_eq!(report.tally, Tally { passed: 4, failed: 2, skipped: 0 });
        assert_eq!(
            report.unexpected,
            ["links::pinned: TCX needs Linux 6.6 (Linux 6.12.117)", "a test was ignored without a reason"]
        );
    }

    #[test]
    fn prose_is_neither() {
        assert_eq!(closing("test result: fine"), None);
        assert_eq!(skip("we skip this: why not"), None);
        assert_eq!(Report::read(Suite::Unit, "test results: 3 passed\n"), Report::default());
    }

    #[test]
    fn the_last_line_is_plain() {
        assert_eq!(Tally { passed: 7, failed: 0, skipped: 2 }.to_string(), "7 passed, 0 failed, 2 skipped");
    }
}
