//! An endpoint's slave: made, moved, found again and deleted. It is known by its index alone, which was drawn at random before it
//! existed: names inside a namespace are chosen by whoever is root there.

use std::os::fd::AsFd as _;

use nix::errno::Errno;

use super::{Attachment, Error, parent::device, uppers::macvlans};
use crate::{
    bpf::has_tcx,
    model::{Endpoint, Parent},
    netlink::{Link, Netlink, Netns, NewSlave},
};

/// A namespace that an endpoint is for.
pub(super) struct Inside {
    pub(super) netns: Netns,
    pub(super) netlink: Netlink,
}

impl Inside {
    pub(super) fn open(netns: Netns) -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open_in(&netns)?, netns })
    }
}

/// The endpoint's slave, if it is in the namespace of `netlink`, whatever it is called there.
pub(super) fn find(netlink: &Netlink, endpoint: &Endpoint, parent: &Parent) -> Result<Option<Link>, Error> {
    let link = netlink.link_by_index(endpoint.ifindex)?;
    Ok(link.filter(|link| link.is_slave() && link.lower == Some(parent.ifindex)))
}

impl Attachment<'_> {
    pub(super) fn inside(&self) -> Result<&Inside, Error> {
        self.inside.as_ref().ok_or_else(|| Error::NetnsGone(self.endpoint.netns.label.clone()))
    }

    /// The slave in the endpoint's namespace.
    pub(super) fn slave_inside(&self) -> Result<Link, Error> {
        let slave = find(&self.inside()?.netlink, &self.endpoint, &self.parent)?;
        slave.ok_or_else(|| Error::SlaveGone {
            endpoint: self.endpoint.name.to_string(),
            netns: self.endpoint.netns.label.clone(),
        })
    }

    /// The slave, on the host or in the endpoint's namespace.
    pub(super) fn slave_anywhere(&self) -> Result<Link, Error> {
        find(&self.session.netlink, &self.endpoint, &self.parent)?.map_or_else(|| self.slave_inside(), Ok)
    }

    /// Makes the slave, down: with TCX on the host, where nobody in a container can reach it before its programs are on it. A
    /// classifier would be lost on the way into the container, so without TCX it is made there.
    pub(super) fn create_slave(&self) -> Result<(), Error> {
        let name = self.endpoint.temporary_ifname();
        let slave = NewSlave {
            name: &name,
            index: self.endpoint.ifindex,
            parent: self.parent.ifindex,
            mode: self.network.spec.mode,
            flag: self.network.spec.flag,
            netns: if has_tcx() { None } else { Some(self.inside()?.netns.as_fd()) },
        };
        match self.session.netlink.add_slave(&slave) {
            Err(error) if error.is(Errno::EBUSY) => {
                let parent = device(&self.session.netlink, &self.parent)?;
                let macvlans = parent.map_or_else(|| Ok(Vec::new()), macvlans)?;
                Err(Error::ParentBusy { parent: self.parent.name.to_string(), macvlans })
            }
            other => Ok(other?),
        }
    }

    /// Puts the programs on the slave, or swaps them there, and has the kernel confirm it.
    pub(super) fn attach_programs(&mut self) -> Result<(), Error> {
        let (identity, ifindex) = (self.identity(), self.endpoint.ifindex);
        let on_host = find(&self.session.netlink, &self.endpoint, &self.parent)?;
        let slave = on_host.clone().map_or_else(|| self.slave_inside(), Ok)?;
        let dataplane = self.session.dataplane()?;
        let attach = || {
            dataplane.attach_endpoint(&identity, &slave.name)?;
            dataplane.endpoint_is_enforced(identity.slot, ifindex)
        };
        let enforced = match &self.inside {
            Some(inside) if on_host.is_none() => inside.netns.run(attach)??,
            _ => attach()?,
        };
        if enforced { Ok(()) } else { Err(self.tampered()) }
    }

    /// Moves the slave from the host into the endpoint's namespace, if it isn't there.
    pub(super) fn move_slave(&self) -> Result<(), Error> {
        if has_tcx() {
            self.session.netlink.move_to(self.endpoint.ifindex, self.inside()?.netns.as_fd())?;
        }
        self.slave_inside().map(drop)
    }

    /// Deletes the slave, wherever it is. With TCX, it is gone only once its programs are on nothing.
    pub(super) fn delete_slave(&mut self) -> Result<(), Error> {
        let inside = self.inside.as_ref().map(|inside| &inside.netlink);
        let mut found = false;
        for netlink in inside.into_iter().chain([&self.session.netlink]) {
            if let Some(link) = find(netlink, &self.endpoint, &self.parent)? {
                netlink.delete_link(link.index)?;
                found = true;
            }
        }
        let slot = self.endpoint.slot;
        if !has_tcx() {
            // Moved away, a slave has lost its classifiers, and nothing that it sends arrives, wherever it is.
            return if found { Ok(()) } else { self.search_elsewhere(|_| Ok(false)) };
        }
        let dataplane = self.session.dataplane()?;
        if dataplane.endpoint_device(slot)?.is_none() {
            return Ok(());
        }
        self.search_elsewhere(|attachment| {
            Ok(attachment.session.dataplane()?.endpoint_device(slot)?.is_none())
        })?;
        match self.session.dataplane()?.endpoint_device(slot)? {
            None => Ok(()),
            Some(ifindex) => Err(Error::SlaveHidden {
                endpoint: self.endpoint.name.to_string(),
                netns: self.endpoint.netns.label.clone(),
                ifindex,
            }),
        }
    }

    /// Deletes what looks like the slave in all other namespaces that can be found, until `is_done`: root inside may have moved it.
    fn search_elsewhere(&mut self, is_done: impl Fn(&mut Self) -> Result<bool, Error>) -> Result<(), Error> {
        for netns in Netns::all() {
            let Ok(netlink) = Netlink::open_in(&netns) else { continue };
            let Some(link) = find(&netlink, &self.endpoint, &self.parent)? else { continue };
            netlink.delete_link(link.index)?;
            if is_done(self)? {
                break;
            }
        }
        Ok(())
    }

    fn tampered(&self) -> Error {
        Error::Tampered { endpoint: self.endpoint.name.to_string(), netns: self.endpoint.netns.label.clone() }
    }
}
