//! Builds the workspace's binaries with cargo and says where they are.
//!
//! Always the same packages and the dev profile, so that no verb makes another one's artifacts stale.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::dirs;
use crate::process::{die_with_parent, display};

/// Only x86-64 guests are known to `vm`.
const VM_TARGET: &str = "x86_64-unknown-linux-gnu";

/// What people start.
pub(crate) struct Binaries {
    /// The controller.
    pub(crate) ctl: PathBuf,
    /// The demo, which is given the controller's path.
    pub(crate) demo: PathBuf,
    /// The benchmark.
    pub(crate) bench: PathBuf,
}

/// An executable that cargo built.
#[derive(Debug)]
pub(crate) struct Executable {
    /// Name of the target, which for a test target is that of its file.
    pub(crate) name: String,
    /// `lib`, `bin`, `test` …
    pub(crate) kind: String,
    /// Whether it was built to run tests.
    pub(crate) is_test: bool,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The folder of its package, where cargo runs tests.
    pub(crate) package: PathBuf,
}

/// A message of `cargo build --message-format=json`.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        target: Target,
        profile: Profile,
        manifest_path: PathBuf,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// The cargo that runs xtask, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(dirs::workspace());
    command
}

/// Builds the controller, the demo and the benchmark.
pub(crate) fn binaries() -> Result<Binaries> {
    let built = executables(cargo().args(["build", "--bins"]))?;
    Ok(Binaries {
        ctl: binary(&built, "ipvlan-ctl")?,
        demo: binary(&built, "demo")?,
        bench: binary(&built, "bench")?,
    })
}

/// Builds every test executable, and the binaries that they start.
pub(crate) fn tests() -> Result<Vec<Executable>> {
    executables(cargo().args(["build", "--all-targets"]))
}

/// The tests of the programs, with programs that log each verdict.
pub(crate) fn logging_tests() -> Result<Vec<Executable>> {
    executables(cargo().args([
        "build",
        "--package",
        "ipvlan-tests",
        "--features",
        "log",
        "--test",
        "programs",
    ]))
}

/// A controller with programs whose rules can be switched off, kept apart: it is no use to anybody else.
pub(crate) fn faulty_ctl() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "ipvlan-ctl", "--bin", "ipvlan-ctl", "--features", "faulty"]);
    let built = binary(&executables(&mut command)?, "ipvlan-ctl")?;
    let copy = dirs::target().join("faulty-ipvlan-ctl");
    std::fs::copy(&built, &copy).with_context(|| format!("can't write {}", copy.display()))?;
    Ok(copy)
}

/// The controller as it is installed, for what its own work costs: another profile, so its artifacts are kept apart.
pub(crate) fn release_ctl() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "--package", "ipvlan-ctl", "--bin", "ipvlan-ctl"]);
    binary(&executables(&mut command)?, "ipvlan-ctl")
}

/// The VM's PID 1, linked statically: it runs before there is a dynamic linker.
pub(crate) fn vm_init() -> Result<PathBuf> {
    const NAME: &str = "ipvlan-vm-init";
    let mut command = cargo();
    // An explicit target keeps the flag away from build scripts and from every other artifact.
    command
        .args(["build", "--package", NAME, "--bin", NAME, "--target", VM_TARGET])
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static");
    binary(&executables(&mut command)?, NAME)
}

/// The path of a binary among those that were built.
pub(crate) fn binary(built: &[Executable], name: &str) -> Result<PathBuf> {
    let found = built.iter().find(|it| it.name == name && it.kind == "bin" && !it.is_test);
    Ok(found.with_context(|| format!("no package has a binary {name}"))?.path.clone())
}

/// Runs a `cargo build` and returns every executable; cargo's diagnostics stay visible.
fn executables(command: &mut Command) -> Result<Vec<Executable>> {
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
    for line in output.stdout.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message =
            serde_json::from_slice(line).with_context(|| format!("can't read what `{shown}` says"))?;
        if let Message::CompilerArtifact { target, profile, manifest_path, executable: Some(path) } = message
        {
            executables.push(Executable {
                name: target.name,
                kind: target.kind.into_iter().next().unwrap_or_default(),
                is_test: profile.test,
                path,
                package: manifest_path.parent().unwrap_or(Path::new("/")).to_owned(),
            });
        }
    }
    Ok(executables)
}
