//! What a command that takes its time shows on a terminal, and that it shows nothing anywhere else.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    process::{Child, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::{Maker, Sandbox, harness::test};
use libtest_mimic::Trial;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl},
    pty::{Winsize, openpty},
};

use crate::ROOT;

/// Long enough for the slowest machine to start a process and have it wait two seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const WAITS: &str = "wait for another ipvlan-ctl to end";
/// What erases a line of a terminal.
const ERASE: &str = "\x1b[2K";

pub(crate) fn tests() -> Vec<Trial> {
    vec![test("progress_is_for_terminals", ROOT, progress)]
}

/// A command whose standard error is a terminal.
struct OnTerminal {
    child: Child,
    terminal: File,
    shown: String,
}

impl OnTerminal {
    fn start(sandbox: &Sandbox, words: &str) -> Result<Self> {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).context("open a pseudo-terminal")?;
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = sandbox.ctl_command()?;
        command.args(words.split_whitespace()).env("TERM", "xterm").stdout(Stdio::piped()).stderr(pty.slave);
        let child = sandbox.host.spawn(&mut command)?;
        Ok(Self { child, terminal: pty.master.into(), shown: String::new() })
    }

    /// All that has been shown so far.
    fn shown(&mut self) -> Result<&str> {
        let mut bytes = [0; 4096];
        loop {
            match self.terminal.read(&mut bytes) {
                Ok(0) => return Ok(&self.shown),
                Ok(length) => self.shown += &String::from_utf8_lossy(&bytes[..length]),
                // Nothing new, or nobody is there any more.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(Errno::EIO as i32) =>
                {
                    return Ok(&self.shown);
                }
                Err(error) => return Err(error).context("read a terminal"),
            }
        }
    }

    fn end(mut self) -> Result<(String, Output)> {
        let output = self.child.wait()?;
        let mut stdout = Vec::new();
        self.child.stdout.take().context("no stdout")?.read_to_end(&mut stdout)?;
        let shown = self.shown()?.to_owned();
        Ok((shown, Output { status: output, stdout, stderr: Vec::new() }))
    }
}

/// All wait for one lock, so that whatever some show after two seconds, the others would have shown too.
fn progress() -> Result<()> {
    let sandbox = Sandbox::new(Maker::Ctl)?;
    let file = OpenOptions::new().create(true).append(true).open(sandbox.root().join("lock"))?;
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;

    let silent = ["--quiet reconcile", "--format json reconcile", "--verbose reconcile"]
        .into_iter()
        .map(|words| Ok((words, OnTerminal::start(&sandbox, words)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut piped = sandbox.ctl_command()?;
    let piped = sandbox.host.spawn(piped.arg("reconcile").stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let mut loud = [
        ("reconcile", "reconcile"),
        ("upgrade", "upgrade"),
        ("network rm", "network prune --force"),
        ("network rm", "network rm --force n"),
        ("detach", "detach n"),
    ]
    .into_iter()
    .map(|(name, words)| Ok((name, OnTerminal::start(&sandbox, words)?)))
    .collect::<Result<Vec<_>>>()?;
    for (name, command) in &mut loud {
        let deadline = Instant::now() + PATIENCE;
        while !command.shown()?.contains(&format!("{name}: {WAITS}")) {
            ensure!(Instant::now() < deadline, "{name} shows {:?}", command.shown);
            thread::sleep(Duration::from_millis(50));
        }
    }
    drop(lock);

    for (name, command) in loud {
        let (shown, output) = command.end()?;
        let rest = shown.rsplit(WAITS).next().unwrap_or_default();
        ensure!(rest.contains(ERASE), "{name} leaves a line: {shown:?}");
        ensure!(output.stdout.is_empty(), "{name} prints {:?}", String::from_utf8_lossy(&output.stdout));
    }
    for (words, command) in silent {
        let (shown, output) = command.end()?;
        ensure!(output.status.success() && !shown.contains(ERASE), "{words} draws {shown:?}");
        ensure!(shown.contains(WAITS) == words.starts_with("--verbose"), "{words} says {shown:?}");
    }
    let output = piped.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "without a terminal: {output:?}");
    Ok(())
}
