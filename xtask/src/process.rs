//! Child processes: they die with xtask, and what a failing one printed is shown.

use std::ffi::OsStr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// How much of a failing child's output is worth showing.
const TAIL_LINES: usize = 25;

/// Makes `command` die when the thread that started it does, however xtask ends.
pub(crate) fn die_with_parent(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) }
}

/// Runs `command` without showing its output, and returns that; a failure names the command and ends with its last lines.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let shown = display(command);
    let output = die_with_parent(command)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("can't run `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({}):\n{}", output.status, tail(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `command` runs and succeeds; its output is of no interest.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A status as a shell would give it.
pub(crate) fn status_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    code.to_le_bytes()[0]
}

/// The command as one would type it.
pub(crate) fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// How to become root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// This process is.
    Already,
    /// By sudo.
    Sudo,
}

impl Root {
    /// `None` where it takes a password.
    pub(crate) fn get() -> Option<Self> {
        if nix::unistd::geteuid().is_root() {
            return Some(Self::Already);
        }
        succeeds(Command::new("sudo").args(["-n", "true"])).then_some(Self::Sudo)
    }

    /// `program`, to be run as root.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Already => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.arg("-n").arg(program);
                command
            }
        }
    }
}

/// Finds an executable on PATH or in the folders that only root's PATH has.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

/// The last lines of both output streams.
fn tail(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..].iter().map(|line| format!("  {line}\n")).collect()
}
