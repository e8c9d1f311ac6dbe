//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::{IpNet, Ipv4Net};
use nix::errno::Errno;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope},
};

use super::{Netlink, NetlinkError};

/// Who made a route, as it shows in `ip route`: a number that nobody else has in rt_protos.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(118);

impl Netlink {
    /// Whether the routes lead to `address` by an interface straight away, without a gateway.
    pub fn leads_to(&self, index: u32, address: IpAddr) -> Result<bool, NetlinkError> {
        let lookup = self.handle.route().get(host_route(None, address)).execute().try_collect::<Vec<_>>();
        match self.request(|| format!("look up the route to {address}"), lookup) {
            Ok(routes) => {
                let has = |wanted: fn(&RouteAttribute, u32) -> bool| {
                    routes.iter().flat_map(|route| &route.attributes).any(|it| wanted(it, index))
                };
                let by_gateway = |it: &RouteAttribute, _| {
                    matches!(it, RouteAttribute::Gateway(_) | RouteAttribute::Via(_))
                };
                Ok(has(|it, index| *it == RouteAttribute::Oif(index)) && !has(by_gateway))
            }
            Err(error) if NOWHERE.iter().any(|errno| error.is(*errno)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A route of ours to `address`, on the interface's own link.
    pub fn add_host_route(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let route = self.handle.route().add(host_route(Some(index), address)).execute();
        match self.request(|| format!("add a route to {address}"), route) {
            Err(error) if error.is(Errno::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes such a route, and nobody else's. None is fine.
    pub fn remove_host_route(&self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let route = self.handle.route().del(host_route(Some(index), address)).execute();
        match self.request(|| format!("remove the route to {address}"), route) {
            Err(error) if error.is(Errno::ESRCH) || error.is(Errno::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// What the IPv4 routes of all tables lead to; that of a default route isn't listed.
    pub fn ipv4_routes(&self) -> Result<Vec<IpNet>, NetlinkError> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let dump = self.handle.route().get(all).execute().try_collect::<Vec<_>>();
        let routes = self.request(|| "list routes".into(), dump)?;
        let destination = |route: &RouteMessage| {
            route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                    Ipv4Net::new(*address, route.header.destination_prefix_length).ok()
                }
                _ => None,
            })
        };
        Ok(routes.iter().filter_map(destination).map(IpNet::V4).collect())
    }

    /// A default route through `gateway`, which is on the interface's own link.
    pub fn add_default_route(&self, index: u32, gateway: IpAddr) -> Result<(), NetlinkError> {
        let message = match gateway {
            IpAddr::V4(gateway) => {
                RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build()
            }
            IpAddr::V6(gateway) => {
                RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(index).build()
            }
        };
        self.request(
            || format!("add a default route via {gateway}"),
            self.handle.route().add(message).execute(),
        )
    }

    /// A default route straight into the interface, without a gateway.
    pub fn add_connected_default_route(&self, index: u32, ipv4: bool) -> Result<(), NetlinkError> {
        let message = if ipv4 {
            RouteMessageBuilder::<Ipv4Addr>::new().scope(RouteScope::Link).output_interface(index).build()
        } else {
            RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index).build()
        };
        self.request(|| "add a connected default route".into(), self.handle.route().add(message).execute())
    }
}

/// What the kernel says where there is no route.
const NOWHERE: [Errno; 5] =
    [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EACCES, Errno::EINVAL, Errno::ENETDOWN];

/// A route to `address` alone; a question for one where no interface is given.
fn host_route(index: Option<u32>, address: IpAddr) -> RouteMessage {
    match address {
        IpAddr::V4(address) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32);
            let on = |index| route.clone().scope(RouteScope::Link).protocol(PROTOCOL).output_interface(index);
            index.map_or_else(|| route.clone().build(), |index| on(index).build())
        }
        IpAddr::V6(address) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128);
            let on = |index| route.clone().protocol(PROTOCOL).output_interface(index);
            index.map_or_else(|| route.clone().build(), |index| on(index).build())
        }
    }
}
