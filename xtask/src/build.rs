//! Builds the workspace's binaries with cargo and says where they are.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::dirs;
use crate::process::{die_with_parent, display};

/// Only x86-64 guests are known to `vm`.
const VM_TARGET: &str = "x86_64-unknown-linux-gnu";

/// A message of `cargo build --message-format=json`.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        target: Target,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The cargo that runs xtask.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(dirs::workspace());
    command
}

/// The VM's PID 1, linked statically: it runs before there is a dynamic linker.
pub(crate) fn vm_init() -> Result<PathBuf> {
    let mut command = cargo();
    // An explicit target keeps the flag away from build scripts and from every other artifact.
    command
        .args([
            "build",
            "--package",
            "ipvlan-vm-init",
            "--bin",
            "ipvlan-vm-init",
            "--target",
            VM_TARGET,
        ])
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static",
        );
    executable(&mut command, "ipvlan-vm-init")
}

/// Runs a `cargo build` or `cargo test --no-run` and returns the path of one executable.
fn executable(command: &mut Command, name: &str) -> Result<PathBuf> {
    let found = executables(command)?.into_iter().find(|(built, _)| built == name);
    Ok(found
        .with_context(|| format!("cargo built no executable {name}"))?
        .1)
}

/// Runs a `cargo build` or `cargo test --no-run` and returns name and path of every executable.
///
/// Cargo's progress and diagnostics stay visible.
fn executables(command: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    command.args(["--quiet", "--message-format=json-render-diagnostics"]);
    let shown = display(command);
    let output = die_with_parent(command)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't run `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed");
    }
    let mut executables = Vec::new();
    for line in output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| line.starts_with(b"{"))
    {
        if let Message::CompilerArtifact {
            target,
            executable: Some(path),
        } = serde_json::from_slice(line)?
        {
            executables.push((target.name, path));
        }
    }
    Ok(executables)
}
