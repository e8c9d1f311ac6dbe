//! Tables, JSON and error lines.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::error::ErrorKind;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use super::Format;
use crate::service::{Error, Outcome};

/// Whether the user wants no warnings.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Exit status of a failure.
const FAILURE: u8 = 1;
/// Exit status of input that can't be used, whatever the state of the machine.
const BAD_INPUT: u8 = 2;
/// Exit status, as a shell's, of a command that can't be run.
const NOT_RUN: u8 = 126;
/// Exit status, as a shell's, of a command that isn't there.
const NOT_FOUND: u8 = 127;

/// Whether a command line that clap refused asked for JSON.
#[must_use]
pub fn wants_json(arguments: &[String]) -> bool {
    let own = arguments.iter().take_while(|argument| *argument != "--");
    let own: Vec<_> = own.map(String::as_str).collect();
    own.contains(&"--format=json") || own.windows(2).any(|pair| pair == ["--format", "json"])
}

/// Prints an error, and what to do about it; returns the exit status.
#[must_use]
pub fn print_error(error: &Error, format: Format) -> u8 {
    print_lines(&error.to_string(), error.hint().as_deref(), format);
    match error {
        Error::Invalid(_) => BAD_INPUT,
        Error::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => NOT_FOUND,
        Error::Command { .. } => NOT_RUN,
        _ => FAILURE,
    }
}

/// Prints what clap has against a command line: its first paragraph is the error, its tip or its usage the hint.
#[must_use]
pub fn print_usage_error(error: &clap::Error, format: Format) -> u8 {
    // clap has the whole help in its place, whose first paragraph is no error.
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        print_lines("a command is missing", Some("--help lists the commands"), format);
        return BAD_INPUT;
    }
    let text = error.render().to_string();
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let message = paragraphs.first().map_or("", |first| first.trim_start_matches("error: "));
    let hint = |prefix| paragraphs.iter().find_map(|paragraph| paragraph.strip_prefix(prefix));
    // One of clap's tips takes every option that doesn't exist for a value.
    let tip = hint("tip: ").filter(|tip| !tip.starts_with("to pass"));
    let hint = tip.map(str::to_owned).or_else(|| hint("Usage: ").map(|usage| format!("usage: {usage}")));
    print_lines(message, hint.as_deref(), format);
    BAD_INPUT
}

fn print_lines(message: &str, hint: Option<&str>, format: Format) {
    if format == Format::Json {
        json(&Refusal { error: Complaint { message: message.into(), hint: hint.map(str::to_owned) } });
        return;
    }
    let label = |text: &str, color: &str| {
        if io::stderr().is_terminal() && allows_color() {
            format!("\x1b[{color}m{text}:\x1b[0m")
        } else {
            format!("{text}:")
        }
    };
    // An error of a library may have several lines.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("{} {message}", label("error", "1;31"));
    if let Some(hint) = hint {
        eprintln!("{} {hint}", label("hint", "36"));
    }
}

/// What a command that failed prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Refusal {
    /// What went wrong.
    error: Complaint,
}

/// An error as data.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Complaint {
    /// What went wrong, with which value.
    message: String,
    /// What to do about it.
    hint: Option<String>,
}

impl Complaint {
    pub(super) fn new(error: &Error) -> Self {
        Self { message: error.to_string(), hint: error.hint() }
    }
}

/// Leaves warnings out from now on.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether the user wants no more than results and errors.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

pub(super) fn print_warnings(warnings: &[String]) {
    if is_quiet() {
        return;
    }
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// Prints the names of what is gone, and an error for each thing that isn't; returns the exit status.
pub(super) fn finish(results: Vec<(String, Result<Vec<Error>, Error>)>, format: Format) -> Result<u8, Error> {
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for (name, result) in results {
        match result {
            Ok(left) if left.is_empty() => done.push(name),
            Ok(left) => errors.extend(left),
            Err(error) => errors.push(error),
        }
    }
    if format == Format::Table {
        done.iter().for_each(|name| println!("{name}"));
    } else if errors.is_empty() {
        json(&done);
    }
    // The caller prints the last one, as it does a command's only one.
    let Some(last) = errors.pop() else { return Ok(0) };
    for error in &errors {
        let _ = print_error(error, Format::Table);
    }
    Err(last)
}

pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: can't print the result as JSON: {error}"),
    }
}

/// One value on one line, of many.
pub(super) fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: can't print the result as JSON: {error}"),
    }
}

pub(super) fn allows_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

pub(super) fn print_table(header: &[&str], rows: impl Iterator<Item = Vec<Cell>>) {
    println!("{}", table(header, rows).set_content_arrangement(ContentArrangement::Disabled).trim_fmt());
}

/// A table of sentences, which are broken to fit 80 columns.
pub(super) fn print_wrapped_table(header: &[&str], rows: impl Iterator<Item = Vec<Cell>>) {
    let mut table = table(header, rows);
    println!(
        "{}",
        table.set_width(80).set_content_arrangement(ContentArrangement::DynamicFullWidth).trim_fmt()
    );
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !allows_color() {
        table.force_no_tty();
    }
    table.set_header(header).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// The state of a network or an endpoint; comfy-table leaves colours out where stdout is no terminal.
pub(super) fn state(state: &str) -> Cell {
    let color = if state == "up" { Color::Green } else { Color::Yellow };
    Cell::new(state).fg(color)
}

/// What became of something found.
pub(super) fn outcome(outcome: Outcome) -> Cell {
    let color = match outcome {
        Outcome::Mendable => Color::Yellow,
        Outcome::Mended => Color::Green,
        Outcome::Left => Color::Red,
    };
    Cell::new(outcome).fg(color)
}

pub(super) fn join(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// A cell with one item on each line, so that a row of many stays narrow.
pub(super) fn lines(items: impl IntoIterator<Item = impl Display>) -> Cell {
    let lines: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if lines.is_empty() { Cell::new("-") } else { Cell::new(lines.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_before_the_command_only() {
        let json = |line: &str| wants_json(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(json("ps --format json --bad"));
        assert!(json("ps --format=json --bad"));
        assert!(!json("run --bad -- x --format json"));
        assert!(!json("ps --format table"));
    }
}
