//! Ways to put containers on a LAN: ipvlan as it is and enforced, Docker's bridge, and macvlan.

use std::{net::Ipv4Addr, process::Command};

use anyhow::{Result, ensure};
use aya::Ebpf;
use ipvlan_ctl::bench::{Way, spoofed};
use ipvlan_tests::{
    Maker, Netns, Network, Sandbox,
    netns::run,
    sandbox::{INTERFACE, LAN, PARENT_MAC, mac},
};

use crate::policy::{attach_empty, feed};

/// How endpoints get to each other and to the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// ip(8)'s ipvlan, in a mode.
    Stock(&'static str),
    /// The same, with an empty program wherever ours are: what the kernel takes to call any.
    Empty(&'static str),
    /// `ipvlan-ctl`'s, in a mode.
    Ours(&'static str),
    /// A bridge with veths and Docker's rules, which bridged frames see too where `filtered`.
    Bridge { filtered: bool },
    /// ip(8)'s macvlan, in mode bridge.
    Macvlan,
}

impl Kind {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Stock(mode) => format!("ipvlan {mode}"),
            Self::Empty(mode) => format!("empty programs, {mode}"),
            Self::Ours(mode) => format!("ours, {mode}"),
            Self::Bridge { filtered: true } => "bridge, br_netfilter".to_owned(),
            Self::Bridge { filtered: false } => "bridge".to_owned(),
            Self::Macvlan => "macvlan".to_owned(),
        }
    }

    fn network(self) -> Network {
        let mode = match self {
            Self::Stock(mode) | Self::Empty(mode) | Self::Ours(mode) => mode,
            Self::Bridge { .. } | Self::Macvlan => "l2",
        };
        Network::bridge("bench", 1).mode(mode).ipv4_only()
    }
}

/// Docker's default chains for a bridge without published ports.
const DOCKERS_RULES: &str = "\
*nat
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP
:DOCKER -
:DOCKER-ISOLATION-STAGE-1 -
:DOCKER-ISOLATION-STAGE-2 -
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
";

/// The first endpoint's number; the LAN host and the host come before.
const FIRST: u8 = 3;
/// A number that no endpoint has.
const STRANGER: u8 = 250;

/// A host, its LAN, and endpoints of one kind.
pub(crate) struct World {
    pub(crate) kind: Kind,
    sandbox: Sandbox,
    endpoints: Vec<Netns>,
    /// Keeps the empty ones in place.
    programs: Option<Ebpf>,
}

impl World {
    pub(crate) fn new(kind: Kind, endpoints: u8) -> Result<Self> {
        let maker = if matches!(kind, Kind::Ours(_)) { Maker::Ctl } else { Maker::Stock };
        let sandbox = Sandbox::new(maker)?;
        let mut world = Self { kind, sandbox, endpoints: Vec::new(), programs: None };
        world.sandbox.network(&kind.network())?;
        if let Kind::Bridge { filtered } = kind {
            world.bridge(filtered)?;
        }
        for number in 0..endpoints {
            let endpoint = world.endpoint(number)?;
            world.endpoints.push(endpoint);
        }
        if let Kind::Empty(_) = kind {
            // On the parent too.
            world.programs = Some(attach_empty(world.endpoints.iter().chain([&world.sandbox.host]))?);
        }
        world.check()?;
        Ok(world)
    }

    /// How many there are.
    pub(crate) fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// From the last endpoint to the first.
    pub(crate) fn to_peer(&self) -> Way<'_> {
        Way {
            from: &self.endpoints[self.endpoints.len() - 1],
            to: &self.endpoints[0],
            address: self.address(FIRST),
        }
    }

    /// From the last endpoint to the LAN host.
    pub(crate) fn to_lan(&self) -> Way<'_> {
        Way { to: &self.sandbox.lan, address: self.kind.network().ipv4(LAN), ..self.to_peer() }
    }

    fn address(&self, part: u8) -> Ipv4Addr {
        match self.kind {
            Kind::Bridge { .. } => Ipv4Addr::new(172, 17, 0, part),
            _ => self.kind.network().ipv4(part),
        }
    }

    fn endpoint(&self, number: u8) -> Result<Netns> {
        let (network, name) = (self.kind.network(), format!("e{number}"));
        let address = self.address(FIRST + number);
        let host = &self.sandbox.host;
        match self.kind {
            Kind::Stock(mode) | Kind::Empty(mode) | Kind::Ours(mode) => {
                let endpoint = self.sandbox.endpoint(&network, &name, FIRST + number)?;
                if mode != "l2" {
                    // Such slaves answer no requests.
                    let known = format!("neigh replace {address} lladdr {} dev {INTERFACE}", mac(PARENT_MAC));
                    self.sandbox.lan.ip(&known)?;
                }
                Ok(endpoint.netns)
            }
            Kind::Bridge { .. } => {
                let netns = self.sandbox.netns(&name)?;
                host.ip_batch(&format!(
                    "link add v{number} type veth peer name {INTERFACE} netns {}\nlink set v{number} master docker0 up\n",
                    netns.name()
                ))?;
                let via = self.address(1);
                netns.ip_batch(&format!(
                    "addr add {address}/16 dev {INTERFACE}\nlink set {INTERFACE} up\nroute add default via {via}\n"
                ))?;
                Ok(netns)
            }
            Kind::Macvlan => {
                let netns = self.sandbox.netns(&name)?;
                host.ip_batch(&format!(
                    "link add link {INTERFACE} name m{number} type macvlan mode bridge\n\
                     link set m{number} netns {} name {INTERFACE}\n",
                    netns.name()
                ))?;
                netns
                    .ip_batch(&format!("addr add {address}/24 dev {INTERFACE}\nlink set {INTERFACE} up\n"))?;
                Ok(netns)
            }
        }
    }

    fn bridge(&self, filtered: bool) -> Result<()> {
        let host = &self.sandbox.host;
        run(Command::new("modprobe").args(["-a", "bridge", "br_netfilter"]))?;
        host.ip_batch(&format!(
            "link add docker0 type bridge\naddr add {}/16 dev docker0\nlink set docker0 up\n",
            self.address(1)
        ))?;
        host.sysctl("net/ipv4/ip_forward", "1")?;
        host.sysctl("net/bridge/bridge-nf-call-iptables", if filtered { "1" } else { "0" })?;
        feed(host, Command::new("iptables-restore").arg("-w"), DOCKERS_RULES)
    }

    /// That both ways work, and that a spoofed address arrives where nobody promises otherwise.
    fn check(&self) -> Result<()> {
        const COUNT: u64 = 100;
        for way in [self.to_peer(), self.to_lan()] {
            let answered = way.from.pings(&way.address.to_string(), 56, 10)?;
            ensure!(answered, "{}: no answer from {}", self.kind.name(), way.address);
        }
        let (way, stranger) = (self.to_peer(), self.address(STRANGER));
        way.from.ip(&format!("addr add {stranger}/32 dev {INTERFACE}"))?;
        let arrived = spoofed(&way, stranger, COUNT)?;
        way.from.ip(&format!("addr del {stranger}/32 dev {INTERFACE}"))?;
        let due = if matches!(self.kind, Kind::Ours(_)) { 0 } else { COUNT };
        ensure!(arrived == due, "{}: {arrived} of {COUNT} spoofed datagrams arrived", self.kind.name());
        Ok(())
    }
}
