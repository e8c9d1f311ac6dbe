//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::{RouteMessageBuilder, packet_route::route::RouteScope};

use super::{Netlink, NetlinkError};

impl Netlink {
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
