//! bpf-linker, built against the LLVM of the compiler's major version.

use std::process::Command;

use anyhow::{Context, Result};

use super::Status;
use super::apt::Apt;
use crate::process::{capture, find_program};

/// LLVM of both the compiler and the linker: a linker can't read what a newer compiler wrote.
pub(super) const LLVM_MAJOR: u32 = 22;
const VERSION: &str = "0.13.0";

pub(super) fn check() -> Status {
    match capture(Command::new("bpf-linker").arg("--version")) {
        Ok(version) if version.trim().ends_with(VERSION) => Status::Have(VERSION.to_owned()),
        Ok(version) => Status::Missing(format!("{} is there, {VERSION} is needed", version.trim())),
        Err(_) => Status::Missing("not on PATH".to_owned()),
    }
}

pub(super) fn install(apt: &Apt) -> Result<()> {
    let prefix = match llvm_prefix() {
        Some(prefix) => prefix,
        None => {
            apt.install(&[&format!("llvm-{LLVM_MAJOR}-dev")])?;
            llvm_prefix().with_context(|| format!("no llvm-config of LLVM {LLVM_MAJOR}"))?
        }
    };
    let mut command = Command::new("cargo");
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{LLVM_MAJOR}")])
        // Without it the link step looks for an LLVM in the wrong place.
        .env("LLVM_PREFIX", prefix)
        .env_remove("CARGO_TARGET_DIR");
    capture(&mut command).map(drop)
}

/// Where LLVM is installed, with what it takes to link to it.
fn llvm_prefix() -> Option<String> {
    if let Ok(prefix) = std::env::var("LLVM_PREFIX") {
        return Some(prefix);
    }
    let versioned = format!("llvm-config-{LLVM_MAJOR}");
    [&*versioned, "llvm-config"].into_iter().filter(|name| find_program(name).is_some()).find_map(|name| {
        let version = capture(Command::new(name).arg("--version")).ok()?;
        let major: u32 = version.split('.').next()?.parse().ok()?;
        let prefix = capture(Command::new(name).arg("--prefix")).ok()?;
        (major == LLVM_MAJOR).then(|| prefix.trim().to_owned())
    })
}
