//! A command, run in a namespace, and what it took.

use std::{
    io::{self, Read as _, Write as _},
    mem::MaybeUninit,
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ipvlan_tests::Netns;
use nix::libc;
use serde::Serialize;

/// What a command and those that it started took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Usage {
    /// Milliseconds from its start to its end.
    pub(crate) wall: f64,
    /// Milliseconds of CPU, the user's and the kernel's.
    pub(crate) cpu: f64,
    /// KiB of memory that the largest of them had at most.
    pub(crate) peak: i64,
}

/// Runs `command` with `input`; returns what it printed.
pub(crate) fn measured(netns: &Netns, command: &mut Command, input: &str) -> Result<(Usage, String)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    netns.enter(|| {
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| format!("run {command:?}"))?;
        child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
        let (mut printed, mut complaint) = (String::new(), String::new());
        child.stdout.take().context("a pipe")?.read_to_string(&mut printed)?;
        child.stderr.take().context("a pipe")?.read_to_string(&mut complaint)?;
        let (status, rusage) = wait(&child)?;
        let wall = begin.elapsed().as_secs_f64() * 1e3;
        ensure!(status == 0, "{command:?} failed: {printed} {complaint}");
        let millis = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
        let cpu = millis(rusage.ru_utime) + millis(rusage.ru_stime);
        Ok((Usage { wall, cpu, peak: rusage.ru_maxrss }, printed))
    })
}

/// Waits for a child; its status, and what it and those that it waited for took.
fn wait(child: &Child) -> io::Result<(libc::c_int, libc::rusage)> {
    let (mut status, mut rusage) = (0, MaybeUninit::uninit());
    // SAFETY: both pointers are to values that live on this stack frame.
    let pid = unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, rusage.as_mut_ptr()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: wait4(2) has filled it in, since it returned a child.
    Ok((status, unsafe { rusage.assume_init() }))
}
