//! The same attempts on stock ipvlan and under enforcement, side by side.

mod attempts;
mod report;
mod world;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use ipvlan_tests::{Maker, Sandbox, Stats, harness};
use nix::unistd::geteuid;

use crate::{
    attempts::{ATTEMPTS, Outcome},
    report::Row,
    world::{PICTURE, World},
};

/// Shows what ipvlan lets through by itself and what it lets through under ipvlan-ctl, in namespaces of its own.
#[derive(Debug, Parser)]
struct Args {
    /// The ipvlan-ctl to use; the one beside this program where none is given
    #[arg(long, value_name = "PATH", env = "IPVLAN_CTL")]
    ctl: Option<PathBuf>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, with every step as it is taken
    #[default]
    Table,
    /// For programs
    Json,
}

fn main() -> ExitCode {
    match demo(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything came out as it must.
fn demo(args: &Args) -> Result<bool> {
    if !geteuid().is_root() {
        bail!("the demo makes network namespaces: run it as root");
    }
    if !harness::has_ipvlan() {
        bail!("this kernel (Linux {}) has no ipvlan", harness::kernel_release());
    }
    let people = args.format == Format::Table;
    let say = |text: &str| {
        if people {
            println!("{text}");
        }
    };
    let start = Instant::now();
    say(&format!("{PICTURE}\n\nAll of it are network namespaces on Linux {}.", harness::kernel_release()));

    say("\n1. Stock ipvlan, made with ip(8)");
    let world = World::build(new_sandbox(Maker::Stock, args)?).context("set up stock ipvlan")?;
    let stock = ATTEMPTS
        .iter()
        .map(|attempt| {
            world.prepare(attempt.network)?;
            (attempt.act)(&world, attempt.stock).with_context(|| format!("on stock ipvlan: {}", attempt.what))
        })
        .collect::<Result<Vec<_>>>()?;
    drop(world);
    say(&format!("   {} attempts made", stock.len()));

    say("\n2. The same, made with ipvlan-ctl");
    let mut sandbox = new_sandbox(Maker::Ctl, args)?;
    sandbox.narrate(people);
    let world = World::build(sandbox).context("set up enforcement")?;
    let mut rows = Vec::new();
    let mut before = Stats::read(&world.sandbox)?;
    for (attempt, stock) in ATTEMPTS.iter().zip(stock) {
        let hope = if attempt.dropped.is_some() { Outcome::Stopped } else { Outcome::Delivered };
        let outcome =
            (attempt.act)(&world, hope).with_context(|| format!("with enforcement: {}", attempt.what))?;
        let after = Stats::read(&world.sandbox)?;
        rows.push(Row::new(attempt, stock, outcome, &after.since(&before)));
        before = after;
    }

    if people {
        println!("\n{}", report::table(&rows));
        for command in ["ps", "stats"] {
            println!("\n$ ipvlan-ctl {command}\n{}", world.sandbox.ctl(command)?.trim_end());
        }
    } else {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    let complaints: Vec<_> = rows.iter().flat_map(Row::complaints).collect();
    for complaint in &complaints {
        eprintln!("unexpected: {complaint}");
    }
    if complaints.is_empty() {
        say(&format!(
            "\nAll {} attempts came out as they must, on both sides, in {:.0} s.",
            rows.len(),
            start.elapsed().as_secs_f32()
        ));
    } else {
        eprintln!("error: {} thing(s) came out otherwise than expected", complaints.len());
    }
    Ok(complaints.is_empty())
}

fn new_sandbox(maker: Maker, args: &Args) -> Result<Sandbox> {
    let mut sandbox = Sandbox::new(maker)?;
    if let Some(path) = &args.ctl {
        sandbox.use_ctl(path);
    }
    Ok(sandbox)
}
