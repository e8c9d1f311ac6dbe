//! `ipvlan-ctl programs`.

use comfy_table::{Cell, CellAlignment};

use super::{
    Format,
    render::{json, print_table},
};
use crate::{
    bpf::Dataplane,
    service::{Error, Root},
};

/// Measures below a directory of its own, beside the root's pins, so that it works whatever exists.
pub(super) fn execute(root: &Root, format: Format) -> Result<u8, Error> {
    let mut scratch = root.pin_dir().as_os_str().to_owned();
    scratch.push(format!("-cost-{}", std::process::id()));
    let costs = Dataplane::costs(scratch.as_ref())?;
    if format == Format::Json {
        json(&costs);
        return Ok(0);
    }
    let number = |number: Option<u32>| {
        Cell::new(number.map_or("-".into(), |it| it.to_string())).set_alignment(CellAlignment::Right)
    };
    let rows = costs.iter().map(|cost| {
        vec![
            Cell::new(cost.program),
            number(cost.verified),
            number(cost.translated),
            number(Some(cost.jited)),
        ]
    });
    print_table(&["PROGRAM", "INSTRUCTIONS VERIFIED", "BPF BYTES", "JIT BYTES"], rows);
    Ok(0)
}
