//! A real Docker daemon on our driver, in a VM: the commands that users know, what is dropped, and what survives.

mod crowd;
mod engine;
mod host_access;
mod inside;
mod isolation;
mod kinds;
mod proxy;
mod seed;
mod survival;

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use engine::Engine;
use ipvlan_tests::harness::{self, Need};
use libtest_mimic::{Arguments, Trial};

const NEEDS: &[Need] = &[Need::Root, Need::Docker, Need::Ipvlan, Need::Tcx];

/// The daemons take long to start: all tests use the same ones, one after another.
static ENGINE: Mutex<Option<Engine>> = Mutex::new(None);

/// A test with Docker, which has neither containers nor networks when it begins.
fn test(name: &str, body: fn(&mut Engine) -> Result<()>) -> Trial {
    harness::test(name, NEEDS, move || {
        let mut started = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = match &mut *started {
            Some(engine) => engine,
            none => none.insert(Engine::start().context("start Docker")?),
        };
        engine.clear()?;
        body(engine).inspect_err(|error| {
            // The others take minutes, and their ends are behind it.
            eprintln!(
                "{error:#}\ndockerd:\n{}\nserve:\n{}",
                engine.log_of("dockerd"),
                engine.log_of("serve")
            );
        })
    })
}

fn main() -> ExitCode {
    if let Some(outcome) = inside::asked_for() {
        return outcome;
    }
    let tests = [
        seed::tests(),
        isolation::tests(),
        host_access::tests(),
        kinds::tests(),
        survival::tests(),
        crowd::tests(),
    ];
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().flatten().collect());
    // A static isn't dropped.
    drop(ENGINE.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit_code()
}
