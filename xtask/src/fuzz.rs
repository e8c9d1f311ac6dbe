//! `cargo xtask fuzz`: the verdict under libFuzzer, from the rows as seeds, and what it finds through the loaded programs.

use std::fs;
use std::path::Path;
use std::process::{self, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, Executable, cargo};
use crate::dirs;
use crate::process::{Root, capture, die_with_parent, display};
use crate::setup::{self, Step};

/// Tests of the suite `programs`.
const SEEDS: &str = "every row is a seed of the fuzzer";
const REPLAY: &str = "decide and the programs agree on what the fuzzer found";

/// `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// Stop after so many inputs, however long it takes
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    runs: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Arguments for libFuzzer
    #[arg(last = true)]
    args: Vec<String>,
}

impl Command {
    /// Fuzzes; fails where an input breaks a rule.
    pub(crate) fn run(&self) -> Result<u8> {
        setup::ensure(Step::BUILD.into_iter().chain([Step::Fuzzer]))?;
        let limit = match self.runs {
            Some(runs) => format!("-runs={runs}"),
            None => format!("-max_total_time={}", self.seconds),
        };
        fuzz(&build::tests()?, std::iter::once(limit).chain(self.args.iter().cloned()))?;
        Ok(0)
    }
}

/// For the test run: long enough to show that it works.
pub(crate) fn briefly(built: &[Executable]) -> Result<()> {
    fuzz(built, ["-max_total_time=10".to_owned()])
}

/// The corpus outlives a run, and the next one goes on from it.
fn fuzz(built: &[Executable], args: impl IntoIterator<Item = String>) -> Result<()> {
    let target = dirs::target().join("fuzz");
    let corpus = target.join("corpus");
    fs::create_dir_all(&corpus).with_context(|| format!("can't create {}", corpus.display()))?;
    let programs = built.iter().find(|it| it.kind == "test" && it.name == "programs");
    let programs = programs.context("no package has a test target programs")?;
    let exactly = |mut command: process::Command, test: &str| -> Result<String> {
        capture(command.args(["--exact", "--nocapture", test]).current_dir(&programs.package))
    };
    let mut seeds = process::Command::new(&programs.path);
    seeds.env("IPVLAN_SEEDS", &corpus);
    exactly(seeds, SEEDS)?;

    let mut command = cargo();
    // The verdict has no unsafe code, so no sanitizer is missed, and stable builds the rest.
    command.args(["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none", "--features", "libfuzzer"]);
    command
        .arg("--target-dir")
        .arg(&target)
        .arg("decide")
        .arg(&corpus)
        .arg("--")
        .arg("-max_len=1024")
        .args(args);
    // cargo-fuzz looks for a package from here upwards.
    command.current_dir(dirs::workspace().join("tests")).stdin(Stdio::null());
    let shown = display(&command);
    let status = die_with_parent(&mut command).status().with_context(|| format!("can't run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    replay(&programs.path, &corpus, exactly)
}

/// Only root can load programs.
fn replay(
    programs: &Path,
    corpus: &Path,
    exactly: impl Fn(process::Command, &str) -> Result<String>,
) -> Result<()> {
    let Some(root) = Root::get() else {
        println!("not root, and `sudo -n` is refused: what was found doesn't go through the loaded programs");
        return Ok(());
    };
    let mut command = root.command("env");
    command.arg(format!("IPVLAN_CORPUS={}", corpus.display())).arg(programs);
    let output = exactly(command, REPLAY)?;
    print!("{output}");
    Ok(())
}
