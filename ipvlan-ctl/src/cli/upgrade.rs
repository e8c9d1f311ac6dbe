//! `ipvlan-ctl upgrade`.

use serde::Serialize;

use super::{
    Format,
    progress::shown,
    render::{Complaint, json, print_error, print_warnings},
};
use crate::service::{Error, Root, Session, Swapped};

pub(super) const HELP: &str = "\
Each program is replaced in place: no frame is lost, and none gets past. Prints
each parent and endpoint that has them; where one could not be swapped it keeps
what it had, the rest are swapped, and the exit status is 1.";

/// What came of the programs of one parent or endpoint.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Row {
    /// The name of the endpoint or of the parent interface.
    name: String,
    /// `endpoint` or `parent`.
    kind: &'static str,
    /// Why they weren't swapped, if they weren't.
    error: Option<Complaint>,
}

impl Row {
    fn new(Swapped { name, kind, result }: &Swapped) -> Self {
        Self { name: name.clone(), kind, error: result.as_ref().err().map(Complaint::new) }
    }
}

pub(super) fn execute(root: &Root, format: Format) -> Result<u8, Error> {
    let (swapped, warnings) = shown(format, "upgrade", || {
        let mut session = Session::begin(root)?;
        let swapped = session.upgrade();
        Ok::<_, Error>((swapped, session.take_warnings()))
    })?;
    print_warnings(&warnings);
    let swapped = swapped?;
    if format == Format::Json {
        let rows: Vec<_> = swapped.iter().map(Row::new).collect();
        json(&rows);
        return Ok(u8::from(rows.iter().any(|row| row.error.is_some())));
    }
    let mut status = 0;
    for Swapped { name, kind, result } in &swapped {
        match result {
            Ok(()) => println!("{kind} {name}"),
            Err(error) => status = status.max(print_error(error, format)),
        }
    }
    Ok(status)
}
