//! What a network of a test is like.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::INTERFACE;

/// A network as a user would ask for it. Its subnets are 192.168.N.0/24 and fd00:N::/64.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Its name.
    pub name: &'static str,
    /// The N in its subnets.
    pub number: u8,
    /// Its parent.
    pub parent: &'static str,
    /// Without a way to the wire.
    pub internal: bool,
    /// Its `ipvlan_flag`.
    pub flag: &'static str,
    /// Its `ipvlan_mode`.
    pub mode: &'static str,
    /// How far its multicast goes.
    pub multicast: &'static str,
    /// Broadcasts and multicasts an endpoint may send in a second; the default where `None`.
    pub multicast_rate: Option<u32>,
    /// The parent's XDP setting.
    pub xdp: &'static str,
    /// Without a subnet of IPv6.
    pub ipv4_only: bool,
    /// With requests for neighbours going to everybody.
    pub asks_all: bool,
    /// With the host's NAT.
    pub snat: bool,
    /// With host access.
    pub host_access: bool,
}

impl Network {
    /// An ordinary network in bridge mode.
    #[must_use]
    pub const fn bridge(name: &'static str, number: u8) -> Self {
        Self {
            name,
            number,
            parent: INTERFACE,
            internal: false,
            flag: "bridge",
            mode: "l2",
            multicast: "on",
            multicast_rate: None,
            xdp: "off",
            ipv4_only: false,
            asks_all: false,
            snat: false,
            host_access: false,
        }
    }

    /// The same on another parent.
    #[must_use]
    pub const fn on(self, parent: &'static str) -> Self {
        Self { parent, ..self }
    }

    /// The same with `--internal`.
    #[must_use]
    pub const fn internal(self) -> Self {
        Self { internal: true, ..self }
    }

    /// The same with `ipvlan_flag=private`.
    #[must_use]
    pub const fn private(self) -> Self {
        Self { flag: "private", ..self }
    }

    /// The same with `ipvlan_flag=vepa`.
    #[must_use]
    pub const fn vepa(self) -> Self {
        Self { flag: "vepa", ..self }
    }

    /// The same in another mode.
    #[must_use]
    pub const fn mode(self, mode: &'static str) -> Self {
        Self { mode, ..self }
    }

    /// The same with another multicast setting.
    #[must_use]
    pub const fn multicast(self, multicast: &'static str) -> Self {
        Self { multicast, ..self }
    }

    /// The same with another limit to broadcasts and multicasts.
    #[must_use]
    pub const fn multicast_rate(self, rate: u32) -> Self {
        Self { multicast_rate: Some(rate), ..self }
    }

    /// The same with a program in XDP too.
    #[must_use]
    pub const fn xdp(self, xdp: &'static str) -> Self {
        Self { xdp, ..self }
    }

    /// The same under another name, with other subnets.
    #[must_use]
    pub const fn named(self, name: &'static str, number: u8) -> Self {
        Self { name, number, ..self }
    }

    /// The same without IPv6.
    #[must_use]
    pub const fn ipv4_only(self) -> Self {
        Self { ipv4_only: true, ..self }
    }

    /// The same with `snat=on`.
    #[must_use]
    pub const fn snat(self) -> Self {
        Self { snat: true, ..self }
    }

    /// The same with `arp_suppress=off`.
    #[must_use]
    pub const fn asking_all(self) -> Self {
        Self { asks_all: true, ..self }
    }

    /// The same with `--host-access`.
    #[must_use]
    pub const fn host_access(self) -> Self {
        Self { host_access: true, ..self }
    }

    /// Whether it has IPv6, which an internal network may not have in modes l3 and l3s.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        !self.ipv4_only && (!self.internal || self.mode == "l2")
    }

    /// The network's IPv4 address with host part `host`.
    #[must_use]
    pub const fn ipv4(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, self.number, host)
    }

    /// The network's IPv6 address with host part `host`.
    #[must_use]
    pub fn ipv6(&self, host: u8) -> Ipv6Addr {
        // Written in hexadecimal, so that fd00:4::11 goes with 192.168.4.11.
        let decimal = |number: u8| {
            u16::from(number / 100) << 8 | u16::from(number / 10 % 10) << 4 | u16::from(number % 10)
        };
        Ipv6Addr::new(0xfd00, decimal(self.number), 0, 0, 0, 0, 0, decimal(host))
    }
}
