//! Parse, dispatch, print, exit.

use std::process::ExitCode;

use clap::Parser as _;
use ipvlan_ctl::cli::{Cli, Format, print_error, print_usage_error, wants_json};
use nix::sys::signal::{SigHandler, Signal, signal};

fn main() -> ExitCode {
    // A reader that has seen enough, as in `ps | head`, ends us quietly; Rust's default makes printing panic.
    // SAFETY: nothing else runs yet, and the default action needs no handler.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let arguments: Vec<_> = std::env::args().collect();
            let format = if wants_json(&arguments) { Format::Json } else { Format::Table };
            return print_usage_error(&error, format).into();
        }
        // Help and version.
        Err(error) => error.exit(),
    };
    let format = cli.format();
    cli.execute().unwrap_or_else(|error| print_error(&error, format)).into()
}
