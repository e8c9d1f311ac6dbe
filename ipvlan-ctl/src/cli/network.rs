//! `ipvlan-ctl network`.

use std::io;

use clap::{Args, Subcommand};
use comfy_table::Cell;
use ipvlan_common::schema::MAX_CAPACITY;

use super::{
    Format,
    progress::shown,
    render::{finish, json, lines, print_table, print_warnings, state},
};
use crate::{
    model::{NetworkSpec, RawNetwork, Slot},
    service::{Error, NetworkReport, Report, Root, Session, progress::note},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a network
    Create(Create),
    /// List networks
    #[command(visible_alias = "list")]
    Ls,
    /// Show networks and their endpoints
    Inspect {
        /// Names of networks
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm {
        /// Detach the endpoints that they have, too
        #[arg(short, long)]
        force: bool,
        /// Names of networks
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Remove all networks without endpoints
    Prune {
        /// Don't ask
        #[arg(short, long)]
        force: bool,
    },
}

const CREATE_HELP: &str = "\
Options for -o (defaults in parentheses):
  parent=IFACE            the interface that the network uses; eth0.10 is made
                          as VLAN 10 of eth0 where it doesn't exist, and removed
                          with the last network on it. Without: an interface
                          that leads nowhere, as with --internal alone
  ipvlan_mode=MODE        how frames are forwarded: l2, l3 or l3s (l2); all
                          networks of a parent have one mode
  ipvlan_flag=FLAG        whether its endpoints reach each other (bridge):
                            bridge   they do
                            private  they don't
                            vepa     by way of a switch that sends frames back;
                                     needs a parent without other flags
  mtu=N                   the mtu of its endpoints (the parent's)
  internal=true           the same as --internal
  multicast=on|local|off  how far broadcasts and multicasts go, but for ARP
                          and ICMPv6 (on)
  multicast_rate=N        how many of them an endpoint may send in a second,
                          after a burst of 100 (500); 0 is no limit
  arp_suppress=on|off     answer who asks for an endpoint's address (ARP, IPv6
                          neighbour discovery) on the spot, and ask the wire
                          alone for any other (on)
  snat=on|off             let the host's NAT give frames of modes l3 and l3s an
                          address of the host as their source (off)
  host_access=true        the same as --host-access
  xdp=auto|native|generic|off
                          refuse what the wire may not send in the driver
                          already (off): if it can, or always; one setting for
                          all networks of a parent

Examples:
  ipvlan-ctl network create --subnet 192.168.1.0/24 --gateway 192.168.1.1 \\
      -o parent=eth0 db_net
  ipvlan-ctl network create --subnet 10.9.0.0/24 --subnet fd00:9::/64 \\
      --internal -o parent=eth0 backend
  ipvlan-ctl network create --subnet 10.3.0.0/24 --ip-range 10.3.0.128/25 \\
      --aux-address nas=10.3.0.130 -o parent=eth0.10 --label team=db storage
  ipvlan-ctl network create scratch";

#[derive(Debug, Args)]
#[command(after_help = CREATE_HELP)]
pub(super) struct Create {
    /// Subnet of its endpoints, IPv4 or IPv6; a free IPv4 one where none is given
    #[arg(long = "subnet", value_name = "CIDR")]
    subnets: Vec<String>,
    /// Gateway in one of the subnets; the first usable address where none is given
    #[arg(long = "gateway", value_name = "IP")]
    gateways: Vec<String>,
    /// Part of a subnet that addresses are chosen from
    #[arg(long = "ip-range", value_name = "CIDR")]
    ranges: Vec<String>,
    /// Address in a subnet that somebody else has
    #[arg(long = "aux-address", value_name = "NAME=IP")]
    aux_addresses: Vec<String>,
    /// Say something of it, to be shown by 'inspect'
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// Let nothing pass between the network and the wire
    #[arg(long)]
    internal: bool,
    /// Let the host and its endpoints speak with each other
    #[arg(long)]
    host_access: bool,
    /// Accepted for the habit's sake: there is one driver
    #[arg(short = 'd', long, hide = true, value_parser = ["ipvlan"])]
    driver: Option<String>,
    /// Set an option of the driver
    #[arg(short = 'o', long = "opt", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Room for endpoints and parents of all networks, made with the first network
    #[arg(long, value_name = "N", env = "IPVLAN_CAPACITY",
          value_parser = clap::value_parser!(Slot).range(2..=i64::from(MAX_CAPACITY)))]
    capacity: Option<Slot>,
    /// Name of the network
    name: String,
}

impl Command {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "network create",
            Self::Ls => "network ls",
            Self::Inspect { .. } => "network inspect",
            Self::Rm { .. } => "network rm",
            Self::Prune { .. } => "network prune",
        }
    }

    pub(super) fn execute(self, root: &Root, format: Format) -> Result<u8, Error> {
        match self {
            Self::Create(create) => create.execute(root, format),
            Self::Ls => {
                let networks = Report::read(root)?.networks()?;
                if format == Format::Json {
                    json(&networks);
                } else {
                    table(&networks);
                }
                Ok(0)
            }
            // As Docker does, always JSON.
            Self::Inspect { names } => {
                json(&Report::read(root)?.inspect(&names)?);
                Ok(0)
            }
            Self::Rm { names, force } => remove(root, names, force, format),
            Self::Prune { force } => {
                let names = Report::read(root)?.unused_networks();
                // Nobody has to wait for the answer: the session begins behind it.
                let agreed = force || names.is_empty() || confirm(&names)?;
                remove(root, if agreed { names } else { Vec::new() }, false, format)
            }
        }
    }
}

fn remove(root: &Root, names: Vec<String>, force: bool, format: Format) -> Result<u8, Error> {
    let (results, warnings) = shown(format, "network rm", || {
        let mut session = Session::begin(root)?;
        let (mut results, total) = (Vec::new(), names.len());
        for (done, name) in names.into_iter().enumerate() {
            note("remove", done, total, format_args!("network {name}"));
            let result = session.remove_network(&name, force);
            results.push((name, result));
        }
        Ok::<_, Error>((results, session.take_warnings()))
    })?;
    print_warnings(&warnings);
    finish(results, format)
}

/// Asks on standard error, since standard output may be read by a program.
fn confirm(names: &[String]) -> Result<bool, Error> {
    eprint!("Networks without endpoints: {}. Remove them? [y/N] ", names.join(", "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Error::Answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

impl Create {
    fn execute(self, root: &Root, format: Format) -> Result<u8, Error> {
        let Self {
            subnets,
            gateways,
            ranges,
            aux_addresses,
            labels,
            internal,
            host_access,
            options,
            capacity,
            name,
            driver: _,
        } = self;
        let raw = RawNetwork {
            name,
            subnets,
            gateways,
            ranges,
            aux_addresses,
            labels,
            internal,
            host_access,
            options,
            owner: None,
        };
        let spec = NetworkSpec::parse(&raw)?;
        let name = spec.name.to_string();
        let mut session = Session::begin(root)?;
        let result = session.create_network(spec, capacity);
        print_warnings(&session.take_warnings());
        result?;
        if format == Format::Json {
            json(&Report::read(root)?.inspect(&[name])?);
        } else {
            println!("{name}");
        }
        Ok(0)
    }
}

fn table(networks: &[NetworkReport]) {
    let rows = networks.iter().map(|network| {
        vec![
            Cell::new(&network.name),
            Cell::new(&network.parent),
            Cell::new(network.mode),
            lines(
                [network.flag.as_str()]
                    .into_iter()
                    .chain(network.internal.then_some("internal"))
                    .chain(network.host_access.then_some("host-access")),
            ),
            lines(
                network.subnets.iter().flat_map(|it| [it.subnet.to_string(), format!("via {}", it.gateway)]),
            ),
            Cell::new(network.endpoints.len()),
            state(&network.state),
        ]
    });
    let header = ["NAME", "PARENT", "MODE", "FLAGS", "SUBNET", "ENDPOINTS", "STATE"];
    print_table(&header, rows);
}
