//! `cargo xtask run`: the demo, or the controller, on a kernel that has ipvlan.

use std::fs;
use std::process::{self, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::kernel::Version;
use crate::process::{capture, die_with_parent, status_code};
use crate::setup::{self, Step};
use crate::vm::{Echo, Vm};
use crate::{build, dirs};

/// `cargo xtask run`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Use a VM with this kernel even where the host has ipvlan
    #[arg(long, value_enum)]
    kernel: Option<Version>,
    /// Arguments for ipvlan-ctl; without any, the demo runs. A VM forgets everything when it ends
    #[arg(last = true)]
    args: Vec<String>,
}

/// Where something runs.
enum Place {
    Native,
    Vm(Version),
}

impl Command {
    /// Builds, picks the place, runs there, and returns the exit status.
    pub(crate) fn run(self) -> Result<u8> {
        setup::ensure(Step::BUILD.into_iter().chain(Step::NATIVE))?;
        let (place, reason) = match self.kernel {
            Some(version) => (Place::Vm(version), "as asked".to_owned()),
            None => match host_makes_ipvlan() {
                Ok(()) => (Place::Native, "this kernel has ipvlan".to_owned()),
                Err(error) => (Place::Vm(Version::ALL[0]), format!("{error:#}")),
            },
        };
        if let Place::Vm(version) = place {
            setup::ensure(Step::vm(version))?;
        }
        let build::Binaries { ctl, demo, .. } = build::binaries()?;
        let argv: Vec<String> = if self.args.is_empty() {
            [demo.as_os_str(), "--ctl".as_ref(), ctl.as_os_str()]
                .map(|word| word.to_string_lossy().into())
                .into()
        } else {
            std::iter::once(ctl.to_string_lossy().into_owned()).chain(self.args).collect()
        };
        match place {
            Place::Native => {
                eprintln!("xtask: running on this machine's kernel: {reason}");
                native(&argv)
            }
            Place::Vm(version) => {
                eprintln!("xtask: running in a VM with kernel {version}: {reason}");
                Ok(Vm::new(version).run(argv, &dirs::workspace(), &[].into(), Echo::Raw)?.status)
            }
        }
    }
}

/// Runs a command with xtask's own streams.
fn native(argv: &[String]) -> Result<u8> {
    let (program, args) = argv.split_first().context("no command")?;
    let status = die_with_parent(process::Command::new(program).args(args))
        .status()
        .with_context(|| format!("can't run {program}"))?;
    Ok(status_code(status))
}

/// Whether an ipvlan link can be made here, tried in a network namespace of its own; an error says why not.
fn host_makes_ipvlan() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        anyhow::bail!("ipvlan on this machine takes root");
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let script =
        "ip link add parent0 type veth peer name parent1 && ip link add ipvl0 link parent0 type ipvlan";
    capture(process::Command::new("unshare").args(["--net", "sh", "-c", script]).stderr(Stdio::null()))
        .map(drop)
        .map_err(|_| anyhow::anyhow!("this machine's kernel ({}) makes no ipvlan link", release.trim()))
}
