//! The parent's XDP program, on a pinned link: it goes on when the controller ends.

use aya::programs::{XdpMode, xdp::XdpLink};
use ipvlan_common::{Identity, schema};

use super::{BpfError, attach::keep, object, pins::Pins, support::name};

/// Puts the program on `ifname` in the calling thread's netns, or swaps it there.
pub(super) fn attach(pins: &Pins, identity: &Identity, ifname: &str, mode: XdpMode) -> Result<(), BpfError> {
    let mut object = object::load(pins, identity, schema::PARENT_XDP)?;
    let kept = keep(
        object::xdp(&mut object)?,
        &pins.link(identity.slot, schema::PARENT_XDP),
        |program, link| {
            program.attach_to_link(XdpLink::try_from(link)?)?;
            Ok(())
        },
        |program| {
            let id = program.attach(&name(ifname), mode)?;
            Ok(program.take_link(id)?.try_into()?)
        },
    );
    kept.map_err(|source| BpfError::Xdp { ifname: ifname.to_owned(), source: Box::new(source) })
}
