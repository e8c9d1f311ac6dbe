//! Boots a kernel in QEMU and runs one command in it, in a writable view of the host's root.

mod accel;
mod console;
mod initramfs;
mod marker;
mod qemu;
mod share;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use ipvlan_vm_init::{Job, OUT_TAG, ROOT_TAG};

use crate::kernel::{Kernel, Version};
use crate::setup::{self, Step};
use crate::{build, dirs};
use share::Share;

use accel::Accelerator;
pub(crate) use console::{Crash, Echo};
pub(crate) use share::file_server;

/// Environment variables that reach the guest: by prefix, and by name.
const PASSED_PREFIXES: [&str; 2] = ["IPVLAN_", "RUST_"];
const PASSED_NAMES: [&str; 4] = ["PATH", "HOME", "NO_COLOR", "LANG"];

/// How to boot, and when to give up.
#[derive(Clone, Debug, Args)]
pub(crate) struct Vm {
    /// Kernel series to boot
    #[arg(long, value_enum, default_value_t = Version::V6_12)]
    pub(crate) kernel: Version,
    /// Seconds until the VM is stopped, whatever it does
    #[arg(long, default_value = "1800", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Seconds without output after which the VM counts as hung
    #[arg(long, default_value = "180", value_parser = seconds)]
    pub(crate) silence: Duration,
    /// Memory in MiB
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(256..))]
    pub(crate) memory: u32,
    /// CPUs; without KVM they take turns on one of the machine's
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpus: u32,
    /// Let the guest's clock count instructions: half as fast, and the same each time
    #[arg(long)]
    pub(crate) icount: bool,
}

/// `cargo xtask vm`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    #[command(flatten)]
    vm: Vm,
    /// Command to run in the guest, as root, in the current folder
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    argv: Vec<String>,
}

/// What a command in the guest came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its exit status as a shell would give it.
    pub(crate) status: u8,
    /// Everything that came over the console.
    pub(crate) output: String,
}

impl Command {
    /// Runs the command and returns its exit status.
    pub(crate) fn run(self) -> Result<u8> {
        setup::ensure(Step::vm(self.vm.kernel))?;
        let cwd = std::env::current_dir().context("the current folder is gone")?;
        Ok(self.vm.run(self.argv, &cwd, &BTreeMap::new(), Echo::Raw)?.status)
    }
}

impl Vm {
    /// A VM for a whole suite, some of whose tests are long and silent where all is emulated.
    pub(crate) fn new(kernel: Version) -> Self {
        Self {
            kernel,
            timeout: Duration::from_secs(5000),
            silence: Duration::from_secs(600),
            memory: 2048,
            cpus: 1,
            icount: false,
        }
    }

    /// Runs `argv` in a fresh guest, shows its output, and returns it with the exit status.
    ///
    /// An error means that the guest failed, not the command.
    pub(crate) fn run(
        &self,
        argv: Vec<String>,
        cwd: &Path,
        env: &BTreeMap<String, String>,
        echo: Echo,
    ) -> Result<Outcome> {
        let kernel = Kernel::find(self.kernel)?;
        let out = out()?;
        let job = Job {
            argv,
            cwd: cwd.to_owned(),
            env: passed_environment().chain(env.clone()).collect(),
            kernel_modules: kernel.modules_dir(),
            out: out.clone(),
        };
        // Only an emulator counts them.
        let accelerator = if self.icount { Accelerator::Tcg } else { Accelerator::choose(&kernel)? };
        let shares = [Share::read_only(ROOT_TAG, Path::new("/")), Share::writable(OUT_TAG, &out)];
        let boot = Boot {
            kernel: &kernel,
            accelerator,
            memory: self.memory,
            cpus: self.cpus,
            icount: self.icount,
            shares: &shares,
            job: Some(job),
        };
        let limits = console::Limits { total: self.timeout, silence: self.silence, echo };
        boot.run(&limits).with_context(|| format!("the VM (kernel {}) failed", kernel.release))
    }
}

/// The folder that guests write to, at the same path as here.
pub(crate) fn out() -> Result<PathBuf> {
    let out = dirs::target().join("vm-out");
    fs::create_dir_all(&out).with_context(|| format!("can't create {}", out.display()))?;
    Ok(out)
}

/// One start of QEMU.
struct Boot<'a> {
    kernel: &'a Kernel,
    accelerator: Accelerator,
    memory: u32,
    cpus: u32,
    icount: bool,
    shares: &'a [Share<'a>],
    job: Option<Job>,
}

impl Boot<'_> {
    fn run(self, limits: &console::Limits) -> Result<Outcome> {
        let run_dir = tempfile::Builder::new().prefix("ipvlan-vm-").tempdir()?;
        let path = |name: &str| -> PathBuf { run_dir.path().join(name) };
        let (initrd, status, stderr) = (path("initrd"), path("status"), path("stderr"));

        let modules = self.kernel.module_files(&["virtio_pci", "virtiofs", "overlay"])?;
        let init = build::vm_init()?;
        initramfs::write(&initrd, &init, &modules, self.job)?;

        let servers =
            self.shares.iter().map(|share| share.serve(run_dir.path())).collect::<Result<Vec<_>>>()?;
        let mut qemu = qemu::command(&qemu::Machine {
            vmlinux: &self.kernel.vmlinux()?,
            initrd: &initrd,
            accelerator: self.accelerator,
            memory: self.memory,
            cpus: self.cpus,
            icount: self.icount,
            sockets: &servers.iter().map(|server| (server.tag(), server.socket())).collect::<Vec<_>>(),
            status: &status,
        })?;
        // Opened before QEMU starts, so that both stay readable once the folder is gone.
        let status = File::create_new(&status).and_then(|_| File::open(&status))?;
        let stderr = File::create_new(&stderr).and_then(|file| Ok((file, File::open(&stderr)?)))?;
        qemu.stderr(stderr.0);

        // The folder goes once the guest has booted: an interrupted run then leaves nothing behind.
        let mut run_dir = Some(run_dir);
        let booted = || match status.metadata() {
            Ok(metadata) if metadata.len() > 0 => run_dir.take().is_some(),
            _ => false,
        };
        let output = console::follow(qemu, limits, booted)?;
        let status = std::io::read_to_string(&status)?;
        match status.lines().last().map(str::parse) {
            Some(Ok(status)) => Ok(Outcome { status, output }),
            _ => bail!("QEMU ended before the command did\n{}", std::io::read_to_string(stderr.1)?.trim()),
        }
    }
}

/// The part of xtask's environment that the guest gets. The guest's console is a terminal, so it is told if ours isn't.
fn passed_environment() -> impl Iterator<Item = (String, String)> {
    let passed = |name: &str| {
        PASSED_NAMES.contains(&name) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let plain = (!std::io::stdout().is_terminal()).then(|| ("NO_COLOR".to_owned(), "1".to_owned()));
    std::env::vars().filter(move |(name, _)| passed(name)).chain(plain)
}

/// Parses a number of seconds for clap.
fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}
