//! A host, a LAN and endpoints: the same for stock ipvlan and with enforcement.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, Result, bail};
use caps::{CapSet, Capability as Cap, CapsHashSet};

use super::{
    case::Capability,
    setting::{Family, Place, Setting},
};
use crate::{
    model::Flag,
    sandbox::{
        Door, Endpoint, HOST, INTERFACE, LAN, LAN_MAC, Maker, Network, Sandbox, Sender, Watch,
        frame::{self, Link},
        mac,
        packet::PacketSocket,
        static_neighbor,
    },
};

/// Whose address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Attacker,
    Peer,
    Third,
    Root,
    Other,
    Host,
    Gateway,
    /// Somebody far away.
    Stranger,
    Loopback,
}

/// What a case acts in.
pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) sandbox: Sandbox,
    /// Sends what it shouldn't, with no more than a case says it needs.
    pub(super) attacker: Endpoint,
    pub(super) peer: Endpoint,
    /// May speak with the host, where that can be had.
    pub(super) third: Endpoint,
    /// Root without a user namespace, in the same network as the attacker.
    pub(super) root: Endpoint,
    /// Of another network.
    pub(super) other: Endpoint,
    /// Of a network without IPv6, and without multicast.
    pub(super) old: Endpoint,
}

impl World {
    /// Builds it; takes some seconds.
    ///
    /// # Errors
    /// Fails without root, ip(8), tc(8) or ipvlan.
    pub(super) fn build(setting: Setting, maker: Maker) -> Result<Self> {
        let mut sandbox = Sandbox::new(maker)?;
        sandbox.use_ctl(&env::current_exe().context("find this program")?);
        let mut network = Network::bridge("a_net", 1).mode(setting.mode.as_str());
        network.flag = setting.flag.as_str();
        let (ours, beside) = (Network { internal: setting.internal, ..network }, network.named("b_net", 2));
        // What is left of the burst at the end is what the storm has.
        let ours = ours.multicast_rate(1);
        let old = network.named("c_net", 3).ipv4_only().multicast("off");
        for network in [&ours, &beside, &old] {
            sandbox.network(network)?;
        }
        let world = Self {
            attacker: sandbox.endpoint(&ours, "attacker", 11)?,
            peer: sandbox.endpoint(&ours, "peer", 12)?,
            third: if setting.has_host_access() {
                sandbox.granted_endpoint(&ours, "third", 13)?
            } else {
                sandbox.endpoint(&ours, "third", 13)?
            },
            root: sandbox.endpoint(&ours, "root", 14)?,
            other: sandbox.endpoint(&beside, "other", 11)?,
            old: sandbox.endpoint(&old, "old", 11)?,
            setting,
            sandbox,
        };
        if setting.flag == Flag::Vepa {
            world.reflect()?;
        }
        world.teach()?;
        Ok(world)
    }

    /// Whether it is ours that is attacked, not stock ipvlan.
    pub(super) fn is_enforced(&self) -> bool {
        self.sandbox.maker() == Maker::Ctl
    }

    /// Tells an endpoint where `address` is, as somebody who knows ipvlan would; in modes l3 and l3s there is nothing to tell.
    pub(super) fn know_neighbor(&self, endpoint: &Endpoint, address: &str) -> Result<()> {
        if self.setting.is_l2() { static_neighbor(&endpoint.netns, address) } else { Ok(()) }
    }

    fn endpoints(&self) -> [&Endpoint; 6] {
        [&self.attacker, &self.peer, &self.third, &self.root, &self.other, &self.old]
    }

    /// The LAN's end becomes a switch port that sends frames back where they came from, as VEPA asks for.
    fn reflect(&self) -> Result<()> {
        let lan = &self.sandbox.lan;
        let mut lines = format!(
            "link add br0 address {} type bridge\nlink set {INTERFACE} master br0\nlink set br0 up\n\
             link set {INTERFACE} type bridge_slave hairpin on\naddr flush dev {INTERFACE}\n",
            mac(LAN_MAC)
        );
        for network in self.networks() {
            lines += &format!(
                "addr add {}/24 dev br0\naddr add {}/64 dev br0 nodad\n",
                network.ipv4(LAN),
                network.ipv6(LAN)
            );
        }
        lan.ip_batch(&lines)
    }

    fn networks(&self) -> [&Network; 3] {
        [&self.attacker.network, &self.other.network, &self.old.network]
    }

    /// In modes l3 and l3s the LAN host knows the way to the endpoints, as a router must. Neighbours that sockets need are known.
    fn teach(&self) -> Result<()> {
        let (lan, host) = (&self.sandbox.lan, &self.sandbox.host);
        if !self.setting.is_l2() {
            let mut lines = String::new();
            for endpoint in self.endpoints() {
                let network = endpoint.network;
                lines += &format!("route replace {}/32 via {}\n", endpoint.ipv4, network.ipv4(HOST));
                lines += &format!("route replace {}/128 via {}\n", endpoint.ipv6, network.ipv6(HOST));
            }
            lan.ip_batch(&lines)?;
        }
        let network = self.attacker.network;
        host.ip_batch(&format!(
            "neigh replace {four} lladdr {gateway} dev {INTERFACE} nud permanent\n\
             neigh replace {six} lladdr {gateway} dev {INTERFACE} nud permanent\n\
             route add default via {four}\nroute add default via {six}\n",
            four = network.ipv4(LAN),
            six = network.ipv6(LAN),
            gateway = mac(LAN_MAC),
        ))
    }

    /// Watches every place.
    ///
    /// # Errors
    /// Fails if an interface isn't there.
    pub(super) fn watch(&self) -> Result<Watch> {
        let mut watch = Watch::new()
            .wire(Place::Wire.as_str(), &self.sandbox.lan, INTERFACE)?
            .accepted(Place::Host.as_str(), &self.sandbox.host, INTERFACE)?
            .socket(Place::Host.as_str(), &self.sandbox.host)?;
        for (place, endpoints) in [
            (Place::Attacker, &[&self.attacker][..]),
            (Place::Peer, &[&self.peer, &self.third, &self.root]),
            (Place::Other, &[&self.other, &self.old]),
        ] {
            for endpoint in endpoints {
                watch = watch.accepted(place.as_str(), &endpoint.netns, INTERFACE)?;
                watch = watch.socket(place.as_str(), &endpoint.netns)?;
            }
        }
        Ok(watch)
    }

    /// The address of somebody.
    pub(super) fn address(&self, family: Family, who: Who) -> IpAddr {
        let network = &self.attacker.network;
        let of = |endpoint: &Endpoint| match family {
            Family::V4 => IpAddr::V4(endpoint.ipv4),
            Family::V6 => endpoint.ipv6.into(),
        };
        let at = |part| match family {
            Family::V4 => IpAddr::V4(network.ipv4(part)),
            Family::V6 => network.ipv6(part).into(),
        };
        match who {
            Who::Attacker => of(&self.attacker),
            Who::Peer => of(&self.peer),
            Who::Third => of(&self.third),
            Who::Root => of(&self.root),
            Who::Other => of(&self.other),
            Who::Host => at(HOST),
            Who::Gateway => at(LAN),
            // Of the ranges for documentation.
            Who::Stranger if family == Family::V4 => Ipv4Addr::new(203, 0, 113, 5).into(),
            Who::Stranger => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5).into(),
            Who::Loopback if family == Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Who::Loopback => Ipv6Addr::LOCALHOST.into(),
        }
    }

    /// A datagram that carries the marker.
    pub(super) fn udp(
        &self,
        family: Family,
        link: Link,
        from: Who,
        to: Who,
        marker: &[u8],
    ) -> Result<Vec<u8>> {
        match (self.address(family, from), self.address(family, to)) {
            (IpAddr::V4(from), IpAddr::V4(to)) => frame::udp4(link, from, to, marker),
            (IpAddr::V6(from), IpAddr::V6(to)) => frame::udp6(link, from, to, marker),
            _ => bail!("two families"),
        }
    }

    /// Sends `frame` out of the attacker, with no more rights than needed.
    pub(super) fn send(&self, door: Door, frame: &[u8]) -> Result<()> {
        self.attacker.netns.enter(|| {
            keep(Capability::NetRaw)?;
            Sender::here(INTERFACE, door)?.send(frame)
        })
    }

    /// Sends `frame` from the LAN host.
    pub(super) fn lan_sends(&self, frame: &[u8]) -> Result<()> {
        PacketSocket::sender(&self.sandbox.lan, INTERFACE)?.send(frame)
    }
}

/// Gives up, for this thread, what the sender doesn't need.
pub(super) fn keep(capability: Capability) -> Result<()> {
    let kept: CapsHashSet = match capability {
        Capability::Nothing => CapsHashSet::new(),
        Capability::NetRaw => [Cap::CAP_NET_RAW].into(),
        Capability::NetAdmin => [Cap::CAP_NET_RAW, Cap::CAP_NET_ADMIN].into(),
    };
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).with_context(|| format!("keep {capability} alone"))?;
    }
    Ok(())
}
