//! Parse, dispatch, print, exit.

use std::process::ExitCode;

use clap::Parser as _;
use ipvlan_ctl::cli::{Cli, Format, print_error, print_usage_error, wants_json};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let arguments: Vec<_> = std::env::args().collect();
            let format = if wants_json(&arguments) {
                Format::Json
            } else {
                Format::Table
            };
            return print_usage_error(&error, format).into();
        }
        // Help and version.
        Err(error) => error.exit(),
    };
    let format = cli.format();
    cli.execute()
        .unwrap_or_else(|error| print_error(&error, format))
        .into()
}
