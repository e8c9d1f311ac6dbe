//! The parent's XDP program, on a pinned link: it goes on when the controller ends.

use aya::programs::{
    Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};
use ipvlan_common::{Identity, schema};

use super::{
    BpfError,
    attach::{Failure, is_orphan},
    object,
    pins::{self, Pins},
};

/// Puts the program on `ifname` in the calling thread's netns, or swaps it there.
pub(super) fn attach(pins: &Pins, identity: &Identity, ifname: &str, mode: XdpMode) -> Result<(), BpfError> {
    let mut object = object::load(pins, identity)?;
    place(object::xdp(&mut object)?, pins, identity, ifname, mode)
        .map_err(|source| BpfError::Xdp { ifname: ifname.to_owned(), source: Box::new(source) })
}

fn place(
    program: &mut Xdp,
    pins: &Pins,
    identity: &Identity,
    ifname: &str,
    mode: XdpMode,
) -> Result<(), Failure> {
    let pin = pins.link(identity.slot, schema::PARENT_XDP);
    if pin.exists() {
        let link = XdpLink::try_from(FdLink::from(PinnedLink::from_pin(&pin)?))?;
        match program.attach_to_link(link) {
            Ok(_) => return Ok(()),
            Err(error) if is_orphan(&error) => pins::unpin(&pin)?,
            Err(error) => return Err(error.into()),
        }
    }
    let id = program.attach(ifname, mode)?;
    FdLink::try_from(program.take_link(id)?)?.pin(&pin)?;
    Ok(())
}
