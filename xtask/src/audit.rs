//! `cargo xtask audit`: the attacks of `ipvlan-ctl audit --attack`, on kernels that have ipvlan, and their reports.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::kernel::Version;
use crate::setup::{self, Step};
use crate::vm::{self, Echo, Vm};
use crate::{build, dirs};

/// `cargo xtask audit`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Only on this kernel; may be given several times
    #[arg(long = "kernel", value_enum)]
    kernels: Vec<Version>,
    /// Switch off each rule of the programs in turn, and see that the attacks notice
    #[arg(long)]
    faults: bool,
    /// Arguments for `ipvlan-ctl audit --attack`, such as --mode l2
    #[arg(last = true)]
    args: Vec<String>,
}

impl Command {
    /// Attacks on all kernels at once; the exit status is the heaviest.
    pub(crate) fn run(&self) -> Result<u8> {
        let kernels = if self.kernels.is_empty() { &Version::ALL[..] } else { &self.kernels };
        setup::ensure(Step::BUILD.into_iter().chain(kernels.iter().flat_map(|kernel| Step::vm(*kernel))))?;
        let ctl = if self.faults { build::faulty_ctl()? } else { build::binaries()?.ctl };
        let results = thread::scope(|scope| {
            let running: Vec<_> =
                kernels.iter().map(|kernel| scope.spawn(|| self.attack(*kernel, &ctl))).collect();
            running
                .into_iter()
                .map(|it| it.join().map_err(|_panic| anyhow!("a thread panicked"))?)
                .collect::<Result<Vec<_>>>()
        })?;
        for (kernel, (_, reports)) in kernels.iter().zip(&results) {
            let reports: Vec<_> = reports.iter().map(|path| path.display().to_string()).collect();
            println!("Linux {kernel}: {}", reports.join(", "));
        }
        Ok(results.into_iter().map(|(status, _)| status).max().unwrap_or(0))
    }

    /// Attacks on one kernel; returns the exit status and the reports.
    fn attack(&self, kernel: Version, ctl: &Path) -> Result<(u8, Vec<PathBuf>)> {
        let (shared, echo) = (vm::out()?, Echo::Lines(kernel.as_str()));
        let names = ["html", "json"].map(|ending| format!("audit-{kernel}.{ending}"));
        let mut argv: Vec<String> = [&ctl.to_string_lossy(), "audit", "--attack"].map(str::to_owned).into();
        if self.faults {
            argv.push("--faults".to_owned());
            return Ok((Vm::new(kernel).run(argv, &dirs::workspace(), &[].into(), echo)?.status, Vec::new()));
        }
        for name in &names {
            argv.extend(["--report".to_owned(), shared.join(name).to_string_lossy().into_owned()]);
        }
        argv.extend(self.args.iter().cloned());
        let outcome = Vm::new(kernel).run(argv, &dirs::workspace(), &[].into(), echo)?;
        let folder = dirs::target().join("audit");
        fs::create_dir_all(&folder)?;
        let mut reports = Vec::new();
        for name in names {
            let (from, to) = (shared.join(&name), folder.join(&name));
            fs::rename(&from, &to).with_context(|| format!("no report from Linux {kernel}"))?;
            reports.push(to);
        }
        Ok((outcome.status, reports))
    }
}
