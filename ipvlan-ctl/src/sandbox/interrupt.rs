//! An end before the end: whoever interrupts what acts in a sandbox finds nothing of it left.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, ensure};
use nix::sys::signal::{SigSet, Signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on, signals that ask for an end are noted, and end nothing by themselves.
pub(crate) fn listen() -> io::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Threads and programs that are started later inherit it; none of them outlives the sandbox.
    signals.thread_block()?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.wait().is_ok() {
            ASKED.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(())
}

/// An error once an end was asked for.
pub(crate) fn check() -> Result<()> {
    ensure!(!ASKED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}
