//! Follows the guest's console and decides when it has failed.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::marker::{complaint, is_emulators};
use crate::process::die_with_parent;

/// The guest's kernel broke.
#[derive(Debug, thiserror::Error)]
#[error("the guest kernel reports: {complaint}")]
pub(crate) struct Crash {
    complaint: String,
}

impl Crash {
    /// Whether the emulated CPU is to blame.
    pub(crate) fn is_emulators(&self) -> bool {
        is_emulators(&self.complaint)
    }
}

/// When to give up on a guest.
pub(super) struct Limits {
    pub(super) total: Duration,
    pub(super) silence: Duration,
    pub(super) echo: Echo,
}

/// How the console is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    Off,
    /// As it comes.
    Raw,
    /// Whole lines, behind the name of the guest: others print at the same time.
    Lines(&'static str),
}

/// How long a failing kernel may go on to print its trace.
const TRACE: Duration = Duration::from_secs(2);

/// Kills QEMU when the guest is given up.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How often to see whether the guest has booted.
const POLL: Duration = Duration::from_millis(300);

/// Runs QEMU to its end and returns what it printed; calls `booted` until that says that the guest has booted.
pub(super) fn follow(mut qemu: Command, limits: &Limits, booted: impl FnMut() -> bool) -> Result<String> {
    let child = die_with_parent(&mut qemu).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut guest = Guest(child.context("can't start QEMU")?);
    let stdout = guest.0.stdout.take().context("QEMU's output is piped")?;
    let (sender, chunks) = sync_channel::<Vec<u8>>(64);
    std::thread::spawn(move || read_chunks(stdout, |chunk| sender.send(chunk).is_ok()));
    Console { chunks, limits, text: Vec::new(), line_start: 0 }.follow(booted)
}

/// Reads until the end or until `take` refuses.
fn read_chunks(mut input: impl Read, take: impl Fn(Vec<u8>) -> bool) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = input.read(&mut buffer) {
        if !take(buffer[..length].to_vec()) {
            break;
        }
    }
}

struct Console<'a> {
    chunks: Receiver<Vec<u8>>,
    limits: &'a Limits,
    text: Vec<u8>,
    /// Where the first line that was not looked at starts.
    line_start: usize,
}

impl Console<'_> {
    fn follow(mut self, mut booted: impl FnMut() -> bool) -> Result<String> {
        let begin = Instant::now();
        let (mut last_output, mut is_booted) = (begin, false);
        let mut deadline = begin + self.limits.total;
        let mut failure: Option<String> = None;
        loop {
            match self.chunks.recv_timeout(POLL) {
                Ok(chunk) => {
                    last_output = Instant::now();
                    if let Some(found) = self.take(&chunk)
                        && failure.is_none()
                    {
                        failure = Some(found);
                        deadline = deadline.min(last_output + TRACE);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => is_booted = is_booted || booted(),
            }
            if Instant::now() >= deadline {
                if failure.is_some() {
                    break;
                }
                bail!("it ran for {} s, which is its limit (--timeout)", self.limits.total.as_secs());
            }
            if last_output.elapsed() >= self.limits.silence {
                let what = if is_booted { "said nothing" } else { "didn't boot" };
                bail!("it {what} for {} s (--silence)", self.limits.silence.as_secs());
            }
        }
        match failure {
            Some(complaint) => bail!(Crash { complaint }),
            None => Ok(String::from_utf8_lossy(&self.text).into_owned()),
        }
    }

    /// Takes new output and returns a complaint of the kernel in the lines it completes.
    fn take(&mut self, chunk: &[u8]) -> Option<String> {
        if self.limits.echo == Echo::Raw {
            show(chunk);
        }
        self.text.extend_from_slice(chunk);
        let end = self.text.iter().rposition(|&byte| byte == b'\n')?;
        let lines = String::from_utf8_lossy(self.text.get(self.line_start..end)?).into_owned();
        self.line_start = end + 1;
        if let Echo::Lines(name) = self.limits.echo {
            let shown: String = lines.lines().map(|line| format!("{name} │ {line}\n")).collect();
            show(shown.as_bytes());
        }
        lines.lines().find_map(complaint).map(str::to_owned)
    }
}

/// Nobody may read any more: the guest's status still counts.
fn show(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_a_crash_is_shows_behind_its_context() {
        for (complaint, is_emulators) in [
            ("Oops: double fault: 0000 [#1] PREEMPT SMP NOPTI", true),
            ("BUG: kernel NULL pointer dereference", false),
        ] {
            let crash = anyhow::Error::from(Crash { complaint: complaint.into() }).context("the VM failed");
            assert_eq!(crash.downcast_ref().map(Crash::is_emulators), Some(is_emulators), "{complaint}");
        }
    }
}
