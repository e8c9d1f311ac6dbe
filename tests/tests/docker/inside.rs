//! Frames that a container's own process sends: this program, run once more where only the container's capabilities count.

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use ipvlan_tests::{Door, Sender, sandbox::INTERFACE};

use crate::engine::Engine;

/// Asks this program to send: by which door, and the frame in hexadecimal digits.
const FRAME: &str = "IPVLAN_FRAME";
/// Where a container has this program.
const PROGRAM: &str = "/sender";

/// The options of `docker run` that give a container this program and its libraries.
pub(crate) fn mounts() -> Result<String> {
    let own = env::current_exe()?;
    Ok(format!("-v {}:{PROGRAM}:ro -v /usr:/usr:ro", own.display()))
}

/// Has a container that was started with [`mounts`] send `frame`.
pub(crate) fn send(engine: &Engine, container: &str, door: Door, frame: &[u8]) -> Result<()> {
    let digits: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    engine.docker(&format!("exec -e {FRAME}={door:?}:{digits} {container} {PROGRAM}")).map(drop)
}

/// Sends what this process is asked to send, if it is.
pub(crate) fn asked_for() -> Option<ExitCode> {
    let asked = env::var(FRAME).ok()?;
    Some(match send_here(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn send_here(asked: &str) -> Result<()> {
    let (name, digits) = asked.split_once(':').context("door and frame")?;
    let Some(door) = Door::ALL.into_iter().find(|door| format!("{door:?}") == name) else {
        bail!("there is no door {name}");
    };
    let frame: Result<Vec<_>, _> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16)).collect();
    Sender::here(INTERFACE, door)?.send(&frame?)
}
