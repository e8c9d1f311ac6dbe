//! Set-up, build, VM, demo, tests and lints of this workspace: `cargo xtask VERB`.

mod audit;
mod bench;
mod build;
mod dirs;
mod fuzz;
mod kernel;
mod lint;
mod process;
mod run;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up, build, VM, demo, tests and lints of ipvlan-ebpf
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the demo, or ipvlan-ctl, on a kernel that has ipvlan
    Run(run::Command),
    /// Attack stock ipvlan and ours on kernels that have it, and write reports
    Audit(audit::Command),
    /// Measure what the programs cost a frame, on this machine's kernel
    Bench(bench::Command),
    /// Run the test suites
    Test(test::Command),
    /// Fuzz the verdict
    Fuzz(fuzz::Command),
    /// Check formatting, lints and documents
    Lint,
    /// Provide what the other verbs need
    Setup(setup::Command),
    /// Run a command in a VM whose kernel has ipvlan
    Vm(vm::Command),
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Run(command) => command.run(),
        Verb::Audit(command) => command.run(),
        Verb::Bench(command) => command.run(),
        Verb::Test(command) => command.run(),
        Verb::Fuzz(command) => command.run(),
        Verb::Lint => lint::run(),
        Verb::Setup(command) => command.run(),
        Verb::Vm(command) => command.run(),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
