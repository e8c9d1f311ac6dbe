//! Lines by which a kernel says that it is no longer to be trusted.

/// What the kernel prints, behind its timestamp, when something is badly wrong.
const MARKERS: [&str; 9] = [
    "Kernel panic",
    "Oops",
    "BUG:",
    "kernel BUG at",
    "general protection fault",
    "soft lockup",
    "hard LOCKUP",
    "rcu_preempt detected",
    "detected stall",
];

/// The kernel's complaint in a console line, if there is one.
///
/// Only text behind a kernel timestamp counts, so that a program may print the same words.
pub(super) fn complaint(line: &str) -> Option<&str> {
    line.match_indices('[')
        .filter_map(|(at, _)| message(&line[at + 1..]))
        .find(|message| MARKERS.iter().any(|marker| message.contains(marker)) || is_stall(message))
}

/// Whether the complaint is of what software can't do to a CPU, but an emulator does once in a few hundred runs.
pub(super) fn is_emulators(complaint: &str) -> bool {
    complaint.contains("double fault")
}

/// `rcu: INFO: rcu_preempt self-detected stall on CPU` and its kin.
fn is_stall(message: &str) -> bool {
    message.contains("rcu") && message.contains("stall")
}

/// What follows a timestamp such as `   12.345678] `.
fn message(text: &str) -> Option<&str> {
    let (stamp, message) = text.split_once("] ")?;
    let (seconds, micros) = stamp.trim_start().split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(seconds) && digits(micros) && micros.len() == 6).then(|| message.trim_end())
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn kernel_complaints_are_found() {
        for (line, expected) in [
            (
                "[   12.345678] Kernel panic - not syncing: Attempted to kill init!",
                "Kernel panic - not syncing: Attempted to kill init!",
            ),
            (
                "[    1.000001] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\r",
                "Oops: int3: 0000 [#1] PREEMPT SMP NOPTI",
            ),
            (
                "half a line[  100.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
                "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
            ),
            (
                "[  60.123456] rcu: INFO: rcu_preempt self-detected stall on CPU",
                "rcu: INFO: rcu_preempt self-detected stall on CPU",
            ),
            (
                "[  60.123456] BUG: kernel NULL pointer dereference, address: 0000000000000008",
                "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            ),
        ] {
            assert_eq!(complaint(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_program_may_print_the_same_words() {
        for line in [
            "Kernel panic",
            "test detects a BUG: ... ok",
            "[12.3] Oops",
            "[info] BUG: none",
            "[   12.345678] ipvlan: loaded",
            "",
        ] {
            assert_eq!(complaint(line), None, "{line}");
        }
    }
}
