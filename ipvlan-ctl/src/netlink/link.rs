//! Interfaces.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::{
    LinkDummy, LinkIpVlan, LinkMessageBuilder, LinkUnspec, LinkVlan,
    packet_route::link::{
        InfoKind, IpVlanFlags, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    },
};

use super::{Netlink, NetlinkError};
use crate::model::{Flag, Mode};

/// What the kernel says of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind, as in `ip link add type KIND`; empty for a physical one.
    pub kind: String,
    /// Its MAC address, if it is an Ethernet interface.
    pub mac: Option<[u8; 6]>,
    /// The index of the interface that it lies on, in that interface's namespace.
    pub lower: Option<u32>,
    /// The kind of the interface that it is a port of, as `bridge` or `bond`.
    pub port_of: Option<String>,
    /// Its MTU.
    pub mtu: u32,
    /// The loopback interface.
    pub loopback: bool,
}

/// A slave to be made.
#[derive(Debug)]
pub struct NewSlave<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its index.
    pub index: u32,
    /// The index of its parent.
    pub parent: u32,
    /// The mode that the parent's port is to be in.
    pub mode: Mode,
    /// Its network's flag.
    pub flag: Flag,
    /// The namespace that it is made in, if not the socket's own.
    pub netns: Option<BorrowedFd<'a>>,
}

impl Netlink {
    /// All interfaces.
    pub fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let links = self.handle.link().get().execute().try_collect::<Vec<_>>();
        let links = self.request(|| "list interfaces".into(), links)?;
        Ok(links.iter().map(Link::from_message).collect())
    }

    /// The interface called `name`.
    pub fn link_by_name(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let request = self.handle.link().get().match_name(name);
        self.one_link(name, request)
    }

    /// The interface with an index.
    pub fn link_by_index(&self, index: u32) -> Result<Option<Link>, NetlinkError> {
        let request = self.handle.link().get().match_index(index);
        self.one_link(&format!("number {index}"), request)
    }

    fn one_link(
        &self,
        which: &str,
        request: rtnetlink::LinkGetRequest,
    ) -> Result<Option<Link>, NetlinkError> {
        Ok(self.one_message(which, request)?.as_ref().map(Link::from_message))
    }

    /// What the kernel says of one interface, if it is there.
    pub(super) fn one_message(
        &self,
        which: &str,
        request: rtnetlink::LinkGetRequest,
    ) -> Result<Option<LinkMessage>, NetlinkError> {
        let stream = request.execute();
        let found = self.request(|| format!("look up interface {which}"), async move {
            std::pin::pin!(stream).try_next().await
        });
        match found {
            Err(error) if error.is(Errno::ENODEV) => Ok(None),
            other => other,
        }
    }

    /// Whether the kernel has ipvlan. Makes nothing: without a parent the request is incomplete, which only a kernel
    /// that knows the kind (and has loaded its module, if it can) gets to see.
    pub fn has_ipvlan(&self) -> Result<bool, NetlinkError> {
        let request = LinkMessageBuilder::<LinkIpVlan>::new("ipvlan-probe").build();
        let result = self.request(|| "probe ipvlan".into(), self.handle.link().add(request).execute());
        match result {
            Err(error) if error.is(Errno::EOPNOTSUPP) => Ok(false),
            Err(error) if error.is(Errno::EINVAL) => Ok(true),
            Err(error) => Err(error),
            Ok(()) => Ok(true),
        }
    }

    /// Makes a slave, down.
    pub fn add_slave(&self, slave: &NewSlave<'_>) -> Result<(), NetlinkError> {
        let mode = match slave.mode {
            Mode::L2 => IpVlanMode::L2,
            Mode::L3 => IpVlanMode::L3,
            Mode::L3s => IpVlanMode::L3S,
        };
        // The kernel keeps the flag per parent, so private, which the programs enforce per network, is bridge to it.
        let flags = if slave.flag == Flag::Vepa { IpVlanFlags::Vepa } else { IpVlanFlags::empty() };
        let mut message = LinkIpVlan::new(slave.name, slave.parent, mode).flag(flags).index(slave.index);
        if let Some(netns) = slave.netns {
            message = message.setns_by_fd(netns.as_raw_fd());
        }
        let request = self.handle.link().add(message.build()).execute();
        self.request(|| "create an ipvlan slave".into(), request)
    }

    /// Makes an interface that leads nowhere, down.
    pub fn add_dummy(
        &self,
        name: &str,
        index: u32,
        mac: [u8; 6],
        mtu: Option<u32>,
    ) -> Result<(), NetlinkError> {
        let mut message = LinkDummy::new(name).index(index).address(mac.to_vec());
        if let Some(mtu) = mtu {
            message = message.mtu(mtu);
        }
        let request = self.handle.link().add(message.build()).execute();
        self.request(|| format!("create dummy interface {name}"), request)
    }

    /// Makes a VLAN of the interface number `base`, down.
    pub fn add_vlan(
        &self,
        name: &str,
        index: u32,
        base: u32,
        id: u16,
        mac: [u8; 6],
    ) -> Result<(), NetlinkError> {
        let message = LinkVlan::new(name, base, id).index(index).address(mac.to_vec()).build();
        let request = self.handle.link().add(message).execute();
        self.request(|| format!("create VLAN {id} as {name}"), request)
    }

    /// Moves an interface into another namespace, where it keeps its index.
    pub fn move_to(&self, index: u32, netns: BorrowedFd<'_>) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_index(index)
            .setns_by_fd(netns.as_raw_fd())
            .append_extra_attribute(LinkAttribute::NewIfIndex(index.cast_signed()));
        self.set(|| "move the slave into its namespace".into(), message)
    }

    /// Renames an interface that is down.
    pub fn rename(&self, index: u32, name: &str) -> Result<(), NetlinkError> {
        self.set(|| format!("rename the slave to {name}"), LinkUnspec::new_with_index(index).name(name))
    }

    /// Sets the MTU.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), NetlinkError> {
        self.set(|| format!("set mtu {mtu}"), LinkUnspec::new_with_index(index).mtu(mtu))
    }

    /// Brings an interface up.
    pub fn set_up(&self, index: u32) -> Result<(), NetlinkError> {
        self.set(|| "bring an interface up".into(), LinkUnspec::new_with_index(index).up())
    }

    fn set(
        &self,
        action: impl FnOnce() -> String,
        message: LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), NetlinkError> {
        self.request(action, self.handle.link().set(message.build()).execute())
    }

    /// Deletes an interface; it may be gone already.
    pub fn delete_link(&self, index: u32) -> Result<(), NetlinkError> {
        match self.request(|| "delete an interface".into(), self.handle.link().del(index).execute()) {
            Err(error) if !error.is(Errno::ENODEV) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Link {
    pub(super) fn from_message(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            kind: String::new(),
            mac: None,
            lower: None,
            port_of: None,
            mtu: 0,
            loopback: message.header.flags.contains(LinkFlags::Loopback),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Link(index) => link.lower = Some(*index),
                LinkAttribute::Address(address) if message.header.link_layer_type == LinkLayerType::Ether => {
                    link.mac = address.as_slice().try_into().ok();
                }
                LinkAttribute::LinkInfo(infos) => link.read_infos(infos),
                _ => {}
            }
        }
        link
    }

    fn read_infos(&mut self, infos: &[LinkInfo]) {
        for info in infos {
            match info {
                LinkInfo::Kind(kind) => self.kind = kind.to_string(),
                LinkInfo::PortKind(kind) => self.port_of = Some(kind.to_string()),
                _ => {}
            }
        }
    }

    /// Whether it is an ipvlan slave.
    #[must_use]
    pub fn is_slave(&self) -> bool {
        self.kind == InfoKind::IpVlan.to_string()
    }

    /// Whether it takes the frames of the interface below in ipvlan's place.
    #[must_use]
    pub fn is_macvlan(&self) -> bool {
        [InfoKind::MacVlan, InfoKind::MacVtap].iter().any(|kind| self.kind == kind.to_string())
    }
}
