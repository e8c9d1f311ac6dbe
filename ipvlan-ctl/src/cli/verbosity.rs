//! How much is said beside the result.

use std::io::{self, IsTerminal as _};

use clap::{ArgAction, Args};
use tracing::{Level, debug_span, span::EnteredSpan};
use tracing_subscriber::fmt::time::uptime;

use super::render::{allows_color, be_quiet};

#[derive(Debug, Args)]
pub(super) struct Verbosity {
    /// Print neither warnings nor progress; errors stay
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    quiet: bool,
    /// Print each step and repair on stderr; twice: also when a step begins
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    verbose: u8,
}

impl Verbosity {
    /// Applies it, and opens the span of the command called `name`.
    pub(super) fn begin(&self, name: &'static str) -> Option<EnteredSpan> {
        if self.quiet {
            be_quiet();
        }
        let level = match self.verbose {
            0 => return None,
            1 => Level::DEBUG,
            _ => Level::TRACE,
        };
        tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal() && allows_color())
            .with_max_level(level)
            .with_target(false)
            .with_timer(uptime())
            .init();
        Some(debug_span!("ipvlan-ctl", command = name).entered())
    }
}
