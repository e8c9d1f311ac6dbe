//! The compiled programs, and loading them.

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};
use ipvlan_common::{Identity, Slot, schema};

use super::{BpfError, error::refused, pins::Pins, tables};

/// The programs and the maps they share.
static PROGRAMS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/ipvlan"));
/// A slave's own: aya reads all of an object, whatever is loaded of it, and this is a fiftieth of the other.
static SLAVE: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/slave"));
/// The tests' program that gives a frame a seal before it tail-calls the program under test.
pub static PRIME: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/prime"));
/// What benchmarks hold the programs' cost against.
pub static BENCH: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench"));

/// Creates and pins the maps that are missing, for as many endpoints and parents as `capacity`.
pub(super) fn pin_maps(pins: &Pins, capacity: Slot) -> Result<(), BpfError> {
    loader(pins, capacity).load(PROGRAMS)?;
    Ok(())
}

/// The object that has `program`, with an identity compiled in, on the shared maps.
pub(super) fn load(pins: &Pins, identity: &Identity, program: &str) -> Result<Ebpf, BpfError> {
    let capacity = tables::check_layout(pins)?;
    #[cfg(feature = "faulty")]
    let identity = &Identity { pad: fault(), ..*identity };
    let is_slaves = [schema::SLAVE_EGRESS, schema::SLAVE_INGRESS].contains(&program);
    let object = if is_slaves { SLAVE } else { PROGRAMS };
    Ok(loader(pins, capacity).override_global(schema::IDENTITY, identity, true).load(object)?)
}

/// The number of the rule that isn't to hold; 0 for none.
#[cfg(feature = "faulty")]
fn fault() -> [u8; 2] {
    use ipvlan_common::DropReason;
    let name = std::env::var("IPVLAN_FAULT").unwrap_or_default();
    let reason = DropReason::ALL.iter().find(|reason| reason.name() == name);
    reason.map_or(0, |reason| *reason as u16).to_ne_bytes()
}

/// aya-log's map, where there is one, doesn't ask to be pinned, and each copy of the programs would get one of its own.
fn loader<'a>(pins: &Pins, capacity: Slot) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    for (name, entries) in schema::sized_maps(capacity) {
        loader.map_max_entries(name, entries);
    }
    loader.default_map_pin_directory(pins.maps()).map_pin_path(schema::LOG_MAP, pins.map(schema::LOG_MAP));
    loader
}

/// Has the verifier look at one classifier of a loaded object.
pub(super) fn program<'a>(
    object: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, BpfError> {
    let program: &mut SchedClassifier = find(object, name)?;
    program.load().map_err(refused(name, "load", None))?;
    Ok(program)
}

/// Has the verifier look at the parent's XDP program.
pub(super) fn xdp(object: &mut Ebpf) -> Result<&mut Xdp, BpfError> {
    let program: &mut Xdp = find(object, schema::PARENT_XDP)?;
    program.load().map_err(refused(schema::PARENT_XDP, "load", None))?;
    Ok(program)
}

/// A program of an object, by name.
pub(super) fn find<'a, P>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, BpfError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = object.program_mut(name).ok_or(ProgramError::NotLoaded);
    program.and_then(TryInto::try_into).map_err(refused(name, "find", None))
}
