//! What networks and endpoints are really like: the store says what was asked for, the kernel what is.

use super::{
    Error, Report,
    parent::device,
    slave::{self, Inside},
};
use crate::{
    bpf::{Dataplane, has_tcx},
    model::{Endpoint, Network, Parent, State},
    netlink::{Netlink, Netns},
};

const GONE: &str = "gone";
const UNENFORCED: &str = "unenforced";

impl Report {
    pub(super) fn parent(&self, slot: u16) -> Option<&Parent> {
        self.parents.iter().find(|parent| parent.slot == slot)
    }

    /// The namespace of an endpoint, if it lives. After a reboot, another one may have its cookie.
    pub(super) fn netns_of(&self, endpoint: &Endpoint) -> Option<Netns> {
        if self.rebooted { None } else { Netns::find(&endpoint.netns) }
    }

    pub(super) fn network_state(&self, netlink: &Netlink, network: &Network) -> Result<String, Error> {
        if network.state != State::Up {
            return Ok(network.state.to_string());
        }
        let Some(parent) = self.parent(network.parent) else { return Ok(GONE.into()) };
        let Some(device) = device(netlink, parent)? else { return Ok(GONE.into()) };
        let enforced = match &self.dataplane {
            Some(dataplane) => dataplane.parent_is_enforced(parent.slot, device.index)?,
            None => false,
        };
        Ok(if enforced { State::Up.to_string() } else { UNENFORCED.into() })
    }

    pub(super) fn endpoint_state(&self, endpoint: &Endpoint) -> Result<String, Error> {
        if endpoint.state == State::Offered {
            return self.offered_state(endpoint);
        }
        if endpoint.state != State::Up {
            return Ok(endpoint.state.to_string());
        }
        let (Some(parent), Some(netns)) = (self.parent(endpoint.parent), self.netns_of(endpoint)) else {
            return Ok(GONE.into());
        };
        let inside = Inside::open(netns)?;
        let present = slave::find(&inside.netlink, endpoint, parent)?.is_some();
        let Some(dataplane) = &self.dataplane else {
            return Ok(if present { UNENFORCED.into() } else { GONE.into() });
        };
        if !present {
            // Its programs go with it, where it was moved away and not deleted.
            let moved = has_tcx() && dataplane.endpoint_device(endpoint.slot)?.is_some();
            return Ok(if moved { "moved".into() } else { GONE.into() });
        }
        let enforced =
            inside.netns.run(|| dataplane.endpoint_is_enforced(endpoint.slot, endpoint.ifindex))??;
        Ok(if enforced { State::Up.to_string() } else { UNENFORCED.into() })
    }

    fn offered_state(&self, endpoint: &Endpoint) -> Result<String, Error> {
        Ok(match self.offered_is_enforced(endpoint)? {
            Some(true) => State::Offered.to_string(),
            Some(false) => UNENFORCED.into(),
            None => GONE.into(),
        })
    }

    /// Whether an offered slave, which waits on the host, has its programs; `None` where it is gone.
    pub(super) fn offered_is_enforced(&self, endpoint: &Endpoint) -> Result<Option<bool>, Error> {
        let Some(parent) = self.parent(endpoint.parent).filter(|_| !self.rebooted) else { return Ok(None) };
        if slave::find(&Netlink::open()?, endpoint, parent)?.is_none() {
            return Ok(None);
        }
        let enforced =
            |dataplane: &Dataplane| dataplane.endpoint_is_enforced(endpoint.slot, endpoint.ifindex);
        Ok(Some(self.dataplane.as_ref().map_or(Ok(false), enforced)?))
    }
}
