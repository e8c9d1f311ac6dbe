//! What the programs cost on this kernel: the verifier's work at each load, and the memory of each copy.

use std::path::Path;

use ipvlan_common::{Identity, Slot, schema};

use super::{BpfError, Dataplane, error::refused, object, pins::Pins};

/// What one program costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cost {
    /// Its name.
    pub program: &'static str,
    /// Instructions that the verifier looked at, over all paths; none before Linux 5.16.
    pub verified: Option<u32>,
    /// Bytes after verification, without the branches that the identity rules out.
    pub translated: Option<u32>,
    /// Bytes of machine code; 0 without a JIT.
    pub jited: u32,
}

impl Dataplane {
    /// Loads each program once, attached to nothing, for an endpoint with addresses of both families.
    ///
    /// # Errors
    /// Where there is no BPF file system, or the kernel refuses a program.
    pub fn costs(scratch: &Path) -> Result<Vec<Cost>, BpfError> {
        let pins = Pins::create(scratch)?;
        let costs = object::pin_maps(&pins, 1).and_then(|()| measure(&pins));
        pins.remove_all()?;
        costs
    }
}

fn measure(pins: &Pins) -> Result<Vec<Cost>, BpfError> {
    const SLOT: Slot = 1;
    let mut identity = Identity { slot: SLOT, parent: SLOT, mac: [2, 0, 0, 0, 0, 1], ..Identity::default() };
    (identity.entry.ipv4, identity.entry.ipv6, identity.entry.key) = ([192, 0, 2, 1], [0xfd; 16], [1, 1]);
    let load = |program| object::load(pins, &identity, program);
    let (mut slaves, mut others) = (load(schema::SLAVE_EGRESS)?, load(schema::PARENT_INGRESS)?);
    schema::PROGRAMS
        .into_iter()
        .chain(schema::SHARED)
        .map(|program| {
            let info = match program {
                schema::PARENT_XDP => object::xdp(&mut others)?.info(),
                schema::SLAVE_EGRESS | schema::SLAVE_INGRESS => object::program(&mut slaves, program)?.info(),
                _ => object::program(&mut others, program)?.info(),
            };
            let info = info.map_err(refused(program, "look at", None))?;
            Ok(Cost {
                program,
                verified: info.verified_instruction_count(),
                translated: info.size_translated(),
                jited: info.size_jitted(),
            })
        })
        .collect()
}
