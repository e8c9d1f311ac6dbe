//! `cargo xtask bench`: what enforcement costs, on this machine's kernel and on one that has ipvlan.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::build::{self, Executable};
use crate::dirs;
use crate::kernel::Version;
use crate::process::{Root, die_with_parent, status_code};
use crate::setup::{self, Step};
use crate::vm::{self, Echo, Vm};

/// What is measured; the benchmark knows the parts by the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What each program costs a frame
    Programs,
    /// What they cost real frames, beside other filters
    Traffic,
    /// What it takes to refuse a frame from the wire
    Drops,
    /// What an endpoint takes of the kernel's memory
    Memory,
    /// Attaching an endpoint, beside the reference CNI plugin, in a VM
    Attach,
    /// Real traffic of ipvlan, beside a bridge and macvlan, in a VM
    Ipvlan,
}

impl Part {
    /// Whether it takes a kernel with ipvlan, and so a VM: this machine's may have none.
    fn is_in_vm(self) -> bool {
        matches!(self, Self::Attach | Self::Ipvlan)
    }

    fn name(self) -> String {
        self.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
    }
}

/// `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Fewer and shorter rounds, in seconds, and none in a VM: shows that it can be measured, not how well
    #[arg(long)]
    quick: bool,
    /// This part alone; may be given again
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

impl Command {
    /// Measures, and leaves the report in the target folder; returns the exit status.
    pub(crate) fn run(&self) -> Result<u8> {
        setup::ensure(Step::BUILD.into_iter().chain(Step::NATIVE))?;
        measure(&build::binaries()?.bench, self.quick, &self.only)
    }
}

/// For the test run: whether it can be measured.
pub(crate) fn briefly(built: &[Executable]) -> Result<()> {
    match measure(&build::binary(built, "bench")?, true, &[])? {
        0 => Ok(()),
        status => bail!("the benchmark ended with {status}"),
    }
}

/// First in VMs, one for each part that takes one; then here, where the report is put together.
fn measure(bench: &Path, quick: bool, only: &[Part]) -> Result<u8> {
    let Some(root) = Root::get() else {
        bail!("loading programs takes root, and `sudo -n` is refused: run it as root");
    };
    let out = dirs::target().join("bench");
    let mut command = root.command(bench);
    command.arg("--out").arg(&out).args(quick.then_some("--quick"));
    let wanted =
        |part: &Part| if only.is_empty() { !(quick && part.is_in_vm()) } else { only.contains(part) };
    for part in Part::value_variants().iter().filter(|part| wanted(part)) {
        if part.is_in_vm() {
            command.arg("--merge").arg(in_vm(bench, quick, *part)?);
        } else {
            command.args(["--only", &part.name()]);
        }
    }
    let status = status_code(die_with_parent(&mut command).status()?);
    if status == 0 {
        println!("{}", fs::read_to_string(out.join("report.md")).context("no report")?);
        println!("All samples are in {}.", out.display());
    }
    Ok(status)
}

/// Measures a part in a VM of its own, and returns the folder of its report.
fn in_vm(bench: &Path, quick: bool, part: Part) -> Result<PathBuf> {
    const KERNEL: Version = Version::V6_12;
    setup::ensure(Step::vm(KERNEL).into_iter().chain([Step::Peers]))?;
    let ctl = build::release_ctl()?;
    let out = vm::out()?.join(format!("bench-{}", part.name()));
    let words = [bench, Path::new("--out"), &out].map(|it| it.to_string_lossy().into_owned());
    let rest = ["--only".to_owned(), part.name()].into_iter().chain(quick.then(|| "--quick".to_owned()));
    let env: BTreeMap<_, _> = [("IPVLAN_CTL", ctl), ("IPVLAN_CNI", setup::cni_plugins()?)]
        .map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned()))
        .into();
    eprintln!("xtask: measuring {} in a VM with kernel {KERNEL}", part.name());
    let vm = Vm {
        // A progress bar that nobody sees says nothing.
        silence: Duration::from_secs(5000),
        memory: 4096,
        // By the clock, an emulator takes longest for code that it sees for the first time.
        icount: true,
        ..Vm::new(KERNEL)
    };
    let argv = words.into_iter().chain(rest).collect();
    match vm.run(argv, &dirs::workspace(), &env, Echo::Raw)?.status {
        0 => Ok(out),
        status => bail!("measuring {} in the VM ended with {status}", part.name()),
    }
}
