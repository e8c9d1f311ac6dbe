//! Finds or provides what the other verbs need.

mod apt;
mod docker;
mod fuzzer;
mod kernel;
mod linker;
mod peers;
mod toolchain;
mod tools;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::kernel::Version;
use apt::Apt;
pub(crate) use docker::dir as docker_dir;
pub(crate) use peers::plugins as cni_plugins;
pub(crate) use toolchain::choose as toolchain;
use tools::Group;

/// `cargo xtask setup`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Only report what is there and what is missing
    #[arg(long)]
    check: bool,
}

/// Something that the project needs on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A compiler that can build `core` for the BPF target.
    Toolchain,
    /// Links the programs.
    Linker,
    /// Runs the verdict on whatever comes to its mind.
    Fuzzer,
    /// QEMU and its file server.
    Emulator,
    /// Programs that unpack kernels and load their modules.
    Unpacking,
    /// Load and reference tools of the demo and the tests.
    Network,
    /// Docker's daemon and client, for the VM.
    Docker,
    /// What the benchmark holds ours against.
    Peers,
    /// A guest kernel.
    Kernel(Version),
}

/// Whether a step has anything to do.
#[derive(Debug)]
enum Status {
    /// It is there; the text says which.
    Have(String),
    /// It isn't; the text says what is missing.
    Missing(String),
}

impl Step {
    /// Everything, in the order in which it builds on each other.
    const ALL: [Self; 10] = [
        Self::Toolchain,
        Self::Linker,
        Self::Fuzzer,
        Self::Emulator,
        Self::Unpacking,
        Self::Network,
        Self::Docker,
        Self::Peers,
        Self::Kernel(Version::V6_12),
        Self::Kernel(Version::V6_1),
    ];

    /// What building the programs takes.
    pub(crate) const BUILD: [Self; 2] = [Self::Toolchain, Self::Linker];

    /// What the demo and the suites take on the host.
    pub(crate) const NATIVE: [Self; 1] = [Self::Network];

    /// What a VM takes.
    pub(crate) fn vm(version: Version) -> [Self; 3] {
        [Self::Emulator, Self::Unpacking, Self::Kernel(version)]
    }

    fn name(self) -> String {
        match self {
            Self::Toolchain => "BPF toolchain".to_owned(),
            Self::Linker => "bpf-linker".to_owned(),
            Self::Fuzzer => "fuzzer".to_owned(),
            Self::Emulator => "emulator".to_owned(),
            Self::Unpacking => "unpacking tools".to_owned(),
            Self::Network => "network tools".to_owned(),
            Self::Docker => "Docker".to_owned(),
            Self::Peers => "benchmark's peers".to_owned(),
            Self::Kernel(version) => format!("kernel {version}"),
        }
    }

    fn check(self) -> Status {
        match self {
            Self::Toolchain => toolchain::check(),
            Self::Linker => linker::check(),
            Self::Fuzzer => fuzzer::check(),
            Self::Emulator => Group::EMULATOR.check(),
            Self::Unpacking => Group::UNPACKING.check(),
            Self::Network => Group::NETWORK.check(),
            Self::Docker => docker::check(),
            Self::Peers => peers::check(),
            Self::Kernel(version) => kernel::check(version),
        }
    }

    fn install(self, apt: &Apt) -> Result<()> {
        match self {
            Self::Toolchain => toolchain::install(apt),
            Self::Linker => linker::install(apt),
            Self::Fuzzer => fuzzer::install(apt),
            Self::Emulator => Group::EMULATOR.install(apt),
            Self::Unpacking => Group::UNPACKING.install(apt),
            Self::Network => Group::NETWORK.install(apt),
            Self::Docker => docker::install(apt),
            Self::Peers => peers::install(apt),
            Self::Kernel(version) => kernel::install(version, apt),
        }
    }

    /// Installs the step and says what is there now.
    fn provide(self, apt: &Apt, missing: &str) -> Result<String> {
        eprintln!("  {}: {missing}; installing", self.name());
        let begin = Instant::now();
        let spinner = spinner(&self.name());
        let result = self.install(apt);
        spinner.finish_and_clear();
        result?;
        match self.check() {
            Status::Have(detail) => Ok(format!("{detail} (installed in {} s)", begin.elapsed().as_secs())),
            Status::Missing(what) => bail!("was installed, but still: {what}"),
        }
    }
}

impl Command {
    /// Reports every step, and does what is missing unless only asked.
    pub(crate) fn run(&self) -> Result<u8> {
        let apt = Apt::default();
        let mut failures = 0;
        for step in Step::ALL {
            let outcome = match step.check() {
                Status::Have(detail) => Ok(detail),
                Status::Missing(what) if self.check => Err(what),
                Status::Missing(what) => step.provide(&apt, &what).map_err(|error| format!("{error:#}")),
            };
            match outcome {
                Ok(detail) => println!("✓ {:<16} {detail}", step.name()),
                Err(what) => {
                    failures += 1;
                    println!("✗ {:<16} {what}", step.name());
                }
            }
        }
        if failures > 0 {
            let hint = if self.check { "; `cargo xtask setup` provides it" } else { "" };
            eprintln!("xtask: {failures} of {} missing{hint}", Step::ALL.len());
        }
        Ok(u8::from(failures > 0))
    }
}

/// Provides those of `steps` that are missing; says nothing if none is.
pub(crate) fn ensure(steps: impl IntoIterator<Item = Step>) -> Result<()> {
    let apt = Apt::default();
    for step in steps {
        if let Status::Missing(what) = step.check() {
            let detail = step.provide(&apt, &what).map_err(|error| error.context(step.name()))?;
            eprintln!("✓ {:<16} {detail}", step.name());
        }
    }
    Ok(())
}

/// A sign of life on a terminal; nothing elsewhere.
fn spinner(name: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(name.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
