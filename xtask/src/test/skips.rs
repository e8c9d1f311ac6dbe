//! The skips that are all right: each test below runs in another suite of the same run.

use super::suite::Suite;

struct Skip {
    suites: &'static [Suite],
    /// Start of the test's name; empty for every test.
    test: &'static str,
    /// Start of the reason that the test gives.
    reason: &'static str,
}

const EXPECTED: &[Skip] = &[
    // The host's kernel may have no ipvlan: the VM suites run these on kernels that do.
    Skip { suites: &[Suite::Programs, Suite::Log, Suite::Cli], test: "", reason: "`modprobe ipvlan` fails" },
    // Or it may have ipvlan, or be older or newer than TCX: one of the two VM kernels is on the other side.
    Skip { suites: &[Suite::Programs, Suite::Log, Suite::Cli], test: "", reason: "TCX needs Linux 6.6" },
    Skip {
        suites: &[Suite::Programs, Suite::Log, Suite::Cli, Suite::Traffic6_12],
        test: "",
        reason: "the kernel has TCX, no clsact filters are used",
    },
    Skip { suites: &[Suite::Traffic6_1], test: "", reason: "TCX needs Linux 6.6" },
    // What a kernel without ipvlan is told.
    Skip {
        suites: &[Suite::Cli, Suite::Traffic6_12, Suite::Traffic6_1],
        test: "",
        reason: "the kernel has ipvlan",
    },
];

/// Whether the table has this skip, given as `NAME: REASON`. A name may have colons itself.
pub(super) fn is_expected(suite: Suite, skip: &str) -> bool {
    EXPECTED.iter().any(|expected| {
        expected.suites.contains(&suite)
            && skip.starts_with(expected.test)
            && skip.contains(&format!(": {}", expected.reason))
    })
}
