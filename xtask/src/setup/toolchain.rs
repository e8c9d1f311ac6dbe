//! A toolchain that can build `core` for the BPF target: it has the library's sources and bpf-linker's LLVM.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Status;
use super::apt::Apt;
use super::linker::LLVM_MAJOR;
use crate::process::{capture, find_program};

/// The names that `ipvlan-ctl/build.rs` tries, in its order.
const CANDIDATES: [&str; 2] = ["ipvlan-bpf", "nightly"];

/// A nightly that is known to have the right LLVM; later ones move on.
const NIGHTLY: &str = "nightly-2026-05-20";

/// Debian's compiler with sources, for machines that reach its archive only.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];

pub(super) fn check() -> Status {
    let name = match choose() {
        Ok(name) => name,
        Err(error) => return Status::Missing(format!("{error:#}")),
    };
    Status::Have(format!("{name} (LLVM {LLVM_MAJOR}, with sources)"))
}

/// The toolchain that the programs are built with.
pub(crate) fn choose() -> Result<String> {
    if find_program("rustup").is_none() {
        bail!("rustup is not on PATH");
    }
    if let Ok(given) = std::env::var("IPVLAN_BPF_TOOLCHAIN") {
        fits(&given).with_context(|| format!("IPVLAN_BPF_TOOLCHAIN={given} does not fit"))?;
        return Ok(given);
    }
    let mut reasons = Vec::new();
    for name in CANDIDATES {
        match fits(name) {
            Ok(()) => return Ok(name.to_owned()),
            Err(reason) => reasons.push(format!("{name}: {reason}")),
        }
    }
    bail!("{}", reasons.join(", "))
}

pub(super) fn install(apt: &Apt) -> Result<()> {
    if find_program("rustup").is_none() || std::env::var_os("IPVLAN_BPF_TOOLCHAIN").is_some() {
        // Neither is ours to change; the reason is the one that `check` gave.
        return choose().map(drop);
    }
    let by_rustup = ["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"];
    let sysroot = match capture(Command::new("rustup").args(by_rustup)) {
        Ok(_) => sysroot(NIGHTLY)?,
        Err(_) if Apt::is_there() => {
            apt.install(&PACKAGES)?;
            "/usr".to_owned()
        }
        Err(error) => return Err(error),
    };
    capture(Command::new("rustup").args(["toolchain", "link", CANDIDATES[0], &sysroot])).map(drop)
}

/// Whether a toolchain can build the programs; an error says why not.
fn fits(name: &str) -> Result<()> {
    let Ok(version) = capture(&mut rustc(name, "-vV")) else { bail!("not installed") };
    match llvm_major(&version) {
        Some(LLVM_MAJOR) => {}
        Some(other) => bail!("has LLVM {other}, not {LLVM_MAJOR}"),
        None => bail!("names no LLVM version"),
    }
    if !Path::new(&sysroot(name)?).join("lib/rustlib/src/rust/library/core").is_dir() {
        bail!("has no library sources");
    }
    Ok(())
}

fn sysroot(name: &str) -> Result<String> {
    let mut command = rustc(name, "--print");
    Ok(capture(command.arg("sysroot"))?.trim().to_owned())
}

fn rustc(toolchain: &str, argument: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, "rustc", argument]);
    command
}

/// Reads `rustc -vV`.
fn llvm_major(version: &str) -> Option<u32> {
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    llvm.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::llvm_major;

    #[test]
    fn the_llvm_version_is_read() {
        assert_eq!(llvm_major("rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
    }
}
