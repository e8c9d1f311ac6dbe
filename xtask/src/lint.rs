//! `cargo xtask lint`: what keeps the house in order.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;

use crate::build::cargo;
use crate::process::{capture, succeeds};
use crate::setup::{self, Step};
use crate::{Cli, dirs};

/// Longer files are hard to hold in the head.
const MAX_LINES: usize = 450;

/// Documents whose `cargo xtask` lines must be commands that exist.
const DOCUMENTS: [&str; 2] = ["README.md", "CONTRIBUTING.md"];

/// A check and its name.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 7] = [
    ("formatting", formatting),
    ("lock file", lock_file),
    ("source files", source_files),
    ("documented commands", documented_commands),
    ("clippy", clippy),
    ("clippy, BPF target", clippy_bpf),
    ("rustdoc", rustdoc),
];

/// Runs every check, one line each, and fails if any does.
pub(crate) fn run() -> Result<u8> {
    // Clippy runs the build scripts, which build the programs.
    setup::ensure(Step::BUILD)?;
    let mut failures = 0;
    for (name, check) in CHECKS {
        let begin = Instant::now();
        let result = check();
        let seconds = begin.elapsed().as_secs_f32();
        match result {
            Ok(()) => println!("✓ {name:<20} {seconds:.1} s"),
            Err(error) => {
                failures += 1;
                println!("✗ {name:<20} {seconds:.1} s\n{error:#}");
            }
        }
    }
    if failures > 0 {
        eprintln!("xtask: {failures} of {} checks failed", CHECKS.len());
    }
    Ok(u8::from(failures > 0))
}

fn formatting() -> Result<()> {
    capture(cargo().args(["fmt", "--all", "--check", "--", "--files-with-diff"])).map(drop)
}

fn lock_file() -> Result<()> {
    capture(cargo().args(["metadata", "--locked", "--format-version=1"])).map(drop)
}

/// The programs are left out: checked together with the rest, they would get its features and with them std.
fn clippy() -> Result<()> {
    let selection = ["clippy", "--quiet", "--workspace", "--exclude", "ipvlan-ebpf", "--all-targets"];
    capture(cargo().args(selection).args(["--", "--deny", "warnings"])).map(drop)
}

/// The programs, for the target that they are built for; a toolchain without clippy leaves rustc's own warnings.
fn clippy_bpf() -> Result<()> {
    let toolchain = setup::toolchain()?;
    let on_toolchain = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(["run", &toolchain, "cargo"]).args(arguments).current_dir(dirs::workspace());
        // `-Z build-std` on a toolchain that isn't called nightly; and not the tools of the cargo that runs xtask.
        command.env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTC").env_remove("RUSTDOC");
        command
    };
    let selection =
        ["--quiet", "--package", "ipvlan-ebpf", "--target", "bpfel-unknown-none", "-Z", "build-std=core"];
    if succeeds(&mut on_toolchain(&["clippy", "--version"])) {
        let mut command = on_toolchain(&["clippy"]);
        return capture(command.args(selection).args(["--", "--deny", "warnings"])).map(drop);
    }
    println!("  toolchain {toolchain} has no clippy: rustc's warnings only");
    capture(on_toolchain(&["check"]).args(selection).env("RUSTFLAGS", "--deny warnings")).map(drop)
}

fn rustdoc() -> Result<()> {
    let selection = ["doc", "--quiet", "--no-deps", "--document-private-items"];
    capture(cargo().args(selection).env("RUSTDOCFLAGS", "--deny warnings")).map(drop)
}

/// What clippy doesn't see.
fn source_files() -> Result<()> {
    let mut complaints = Vec::new();
    for path in
        capture(Command::new("git").args(["ls-files", "*.rs"]).current_dir(dirs::workspace()))?.lines()
    {
        // Git also lists a file that was deleted and not committed.
        if let Ok(text) = fs::read_to_string(dirs::workspace().join(path)) {
            complaints.extend(complaints_about(&text).into_iter().map(|what| format!("  {path}{what}")));
        }
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

/// What is wrong with one source file.
fn complaints_about(text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let length = (lines > MAX_LINES).then(|| format!(" has {lines} lines, more than {MAX_LINES}"));
    let ignored =
        text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("#[ignore")).map(
            |(index, _)| format!(":{}: a test that never runs; skip through the tests' helper", index + 1),
        );
    length.into_iter().chain(ignored).collect()
}

/// Every documented `cargo xtask` line parses.
fn documented_commands() -> Result<()> {
    let mut complaints = Vec::new();
    for name in DOCUMENTS {
        // A document that isn't written yet promises nothing.
        let Ok(text) = fs::read_to_string(dirs::workspace().join(name)) else {
            continue;
        };
        for command in xtask_commands(&text) {
            if let Err(error) = Cli::try_parse_from(command.split_whitespace().skip(1))
                && error.use_stderr()
            {
                let why = error.to_string();
                complaints.push(format!("  {name}: `{command}`: {}", why.lines().next().unwrap_or_default()));
            }
        }
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

/// The `cargo xtask` lines in a document's code blocks, without prompt and comment.
fn xtask_commands(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter_map(move |line| {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            return None;
        }
        let line = line.trim_start().trim_start_matches("$ ");
        let command = line.split(" #").next().unwrap_or(line).trim();
        (in_block && command.starts_with("cargo xtask")).then_some(command)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_from_code_blocks() {
        let text = "Run `cargo xtask nothing`.\n```sh\n$ cargo xtask run   # the demo\ncargo build\n```\ncargo xtask x\n";
        assert_eq!(xtask_commands(text).collect::<Vec<_>>(), ["cargo xtask run"]);
    }

    #[test]
    fn long_files_and_ignored_tests_are_named() {
        assert!(complaints_about("fn a() {}\n").is_empty());
        assert_eq!(
            complaints_about("#[test]\n  #[ignore]\n"),
            [":2: a test that never runs; skip through the tests' helper"]
        );
        assert_eq!(complaints_about(&"\n".repeat(451)), [" has 451 lines, more than 450"]);
    }
}
