//! `ipvlan-ctl upgrade`.

use serde_json::json as object;

use super::{
    Format,
    render::{error_object, json, print_error, print_warnings},
};
use crate::service::{Error, Root, Session, Swapped};

pub(super) const HELP: &str = "\
Each program is replaced in place: no frame is lost, and none gets past. Prints
each parent and endpoint that has them; where one could not be swapped it keeps
what it had, the rest are swapped, and the exit status is 1.";

pub(super) fn execute(root: &Root, format: Format) -> Result<u8, Error> {
    let mut session = Session::begin(root)?;
    let swapped = session.upgrade();
    print_warnings(&session.take_warnings());
    let swapped = swapped?;
    if format == Format::Json {
        let rows = swapped.iter().map(|Swapped { name, kind, result }| {
            object!({ "name": name, "kind": kind, "error": result.as_ref().err().map(error_object) })
        });
        json(&rows.collect::<Vec<_>>());
        return Ok(u8::from(swapped.iter().any(|row| row.result.is_err())));
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
