//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use ipnet::{IpNet, Ipv4Net};
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope},
};

use super::{Netlink, NetlinkError};

impl Netlink {
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
