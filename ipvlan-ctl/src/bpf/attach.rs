//! Programs on links: TCX where the kernel has it, else classifiers of a clsact qdisc.

use std::path::Path;

use aya::{
    pin::PinError,
    programs::{
        Link, LinkOrder, ProgramError, SchedClassifier, TcAttach, TcAttachType,
        links::{FdLink, LinkError, PinnedLink},
        tc::{NlOptions, SchedClassifierLink, TcError, TcHandle},
    },
};
use ipvlan_common::{Identity, Slot, schema};
use tracing::debug;

use super::{
    BpfError,
    error::refused,
    object,
    pins::{self, Pins},
    qdisc,
    support::{has_tcx, name},
};

/// A program and the side of the link it watches.
pub(super) type Place = (&'static str, TcAttachType);

/// A slave's programs. Ingress first: until its egress is in place too, the slave can't seal, so nothing of it arrives.
pub(super) const SLAVE: [Place; 2] =
    [(schema::SLAVE_INGRESS, TcAttachType::Ingress), (schema::SLAVE_EGRESS, TcAttachType::Egress)];
/// A parent's programs.
pub(super) const PARENT: [Place; 2] =
    [(schema::PARENT_INGRESS, TcAttachType::Ingress), (schema::PARENT_EGRESS, TcAttachType::Egress)];

/// What a parent has on `lo`.
pub(super) const LOOPBACK: [Place; 1] = [(schema::LOOPBACK_EGRESS, TcAttachType::Egress)];

/// First among the classifiers of a clsact qdisc, as `LinkOrder::first` is among TCX programs.
pub(super) const PRIORITY: u16 = 1;

/// Our classifiers' handles at that priority: told apart by slot, since `lo` has one for each parent, and from those of others by
/// a number that nobody chooses.
pub(super) const fn handle(slot: Slot) -> TcHandle {
    TcHandle::new(0x6976, slot)
}

/// Loads the programs for `identity` and puts each in its place.
pub(super) fn attach(
    pins: &Pins,
    identity: &Identity,
    ifname: &str,
    places: &[Place],
) -> Result<(), BpfError> {
    if !has_tcx() {
        qdisc::ensure_clsact(ifname)?;
    }
    let [(first, _), ..] = places else { return Ok(()) };
    let mut object = object::load(pins, identity, first)?;
    for (name, side) in places {
        let program = object::program(&mut object, name)?;
        let attached = if has_tcx() {
            tcx(program, ifname, *side, &pins.link(identity.slot, name))
        } else {
            classifier(program, ifname, *side, identity.slot).map_err(Failure::from)
        };
        attached.map_err(refused(name, "attach", Some(ifname)))?;
        debug!(program = name, ifname, "attach");
    }
    Ok(())
}

/// Takes the programs off. A slave's classifiers go with the slave, so only a parent's `ifname` is given.
pub(super) fn detach(
    pins: &Pins,
    slot: Slot,
    ifname: Option<&str>,
    places: &[Place],
) -> Result<(), BpfError> {
    for (name, side) in places {
        pins::unpin(&pins.link(slot, name))?;
        if let (false, Some(ifname)) = (has_tcx(), ifname) {
            remove_classifier(ifname, *side, slot).map_err(refused(name, "detach", Some(ifname)))?;
        }
        debug!(program = name, ifname, "detach");
    }
    Ok(())
}

/// What fails while a program is put in its place; `?` converts into it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Pin(#[from] BpfError),
    #[error("pinning the link: {0}")]
    PinLink(#[from] PinError),
}

/// The device that a link was on has gone; the program needs a new one.
fn is_orphan(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(nix::libc::ENOLINK))
}

/// Puts `program` on a link pinned at `pin`. One that is there is updated in place, by `swap`, so that no frame passes between the old
/// program and the new one; else `attach` makes one.
pub(super) fn keep<P>(
    program: &mut P,
    pin: &Path,
    swap: impl FnOnce(&mut P, FdLink) -> Result<(), Failure>,
    attach: impl FnOnce(&mut P) -> Result<FdLink, Failure>,
) -> Result<(), Failure> {
    if pin.exists() {
        match swap(program, PinnedLink::from_pin(pin)?.into()) {
            Err(Failure::Program(error)) if is_orphan(&error) => pins::unpin(pin)?,
            other => return other,
        }
    }
    attach(program)?.pin(pin)?;
    Ok(())
}

fn tcx(program: &mut SchedClassifier, ifname: &str, side: TcAttachType, pin: &Path) -> Result<(), Failure> {
    keep(
        program,
        pin,
        |program, link| {
            program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
            Ok(())
        },
        |program| {
            let first = TcAttach::Tcx { attach_type: side, order: LinkOrder::first() };
            let id = program.attach(&name(ifname), first)?;
            Ok(program.take_link(id)?.try_into()?)
        },
    )
}

fn classifier(
    program: &mut SchedClassifier,
    ifname: &str,
    side: TcAttachType,
    slot: Slot,
) -> Result<(), ProgramError> {
    // One of ours that is there is replaced in place, so that no frame passes between the old one and the new one.
    let (interface, parent) = (name(ifname), TcHandle::from(side));
    let ours = SchedClassifierLink::attached(&interface, parent, PRIORITY, handle(slot), None);
    let ours = ours.map_err(|error| ProgramError::from(TcError::from(error)))?;
    let id = match program.attach_to_link(ours) {
        Err(error) if is_absent(&error) => {
            let options = NlOptions { priority: PRIORITY, handle: handle(slot), classid: None };
            program.attach(&interface, TcAttach::Netlink { parent, options })?
        }
        other => other?,
    };
    // Dropping the link would take the program off again.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

fn remove_classifier(ifname: &str, side: TcAttachType, slot: Slot) -> Result<(), ProgramError> {
    let detached = SchedClassifierLink::attached(&name(ifname), side.into(), PRIORITY, handle(slot), None)
        .map_err(|error| ProgramError::from(TcError::from(error)))
        .and_then(Link::detach);
    match detached {
        Err(error) if is_absent(&error) => Ok(()),
        other => other,
    }
}

/// The link, its clsact qdisc or the classifier isn't there.
fn is_absent(error: &ProgramError) -> bool {
    let code = match error {
        ProgramError::NetlinkError(error) | ProgramError::TcError(TcError::NetlinkError(error)) => {
            error.raw_os_error()
        }
        ProgramError::TcError(TcError::IoError(error)) => error.raw_os_error(),
        _ => None,
    };
    // A missing clsact qdisc is EINVAL, a missing classifier ENOENT, a missing link ENODEV.
    code.is_some_and(|code| [nix::libc::EINVAL, nix::libc::ENOENT, nix::libc::ENODEV].contains(&code))
}
