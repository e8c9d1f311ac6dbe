//! `ipvlan-ctl attach`, `detach`, `inspect` and `ps`.

use clap::Args;
use comfy_table::Cell;

use super::{
    Format,
    progress::shown,
    render::{finish, join, json, lines, print_table, print_warnings, state},
};
use crate::{
    model::Invalid,
    service::{AttachRequest, Error, Report, Root, Session, Target, progress::note},
};

/// What `attach` and `run` have in common.
#[derive(Debug, Args)]
pub(super) struct EndpointArgs {
    /// Name of the endpoint; made of the network's where none is given
    #[arg(long)]
    name: Option<String>,
    /// Its IPv4 address; a free one where none is given
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// Its IPv6 address; a free one where none is given
    #[arg(long, value_name = "IP")]
    ip6: Option<String>,
    /// Name of its interface
    #[arg(long, default_value = "eth0")]
    ifname: String,
    /// Don't ask the LAN first whether somebody there has the address
    #[arg(long)]
    no_probe: bool,
    /// Let it and the host speak with each other
    #[arg(long)]
    host_access: bool,
    /// Not supported: all endpoints share their parent's MAC
    #[arg(long, value_name = "MAC", hide = true, alias = "mac-address")]
    mac: Option<String>,
}

impl EndpointArgs {
    fn check(&self) -> Result<(), Invalid> {
        self.mac.clone().map_or(Ok(()), |mac| Err(Invalid::Mac(mac)))
    }

    pub(super) fn request(self, network: String) -> Result<AttachRequest, Error> {
        self.check()?;
        let Self { name, ip, ip6, ifname, no_probe, host_access, mac: _ } = self;
        Ok(AttachRequest { network, name, ip, ip6, ifname, no_probe, host_access })
    }
}

const ATTACH_HELP: &str = "\
Examples:
  ipvlan-ctl attach db_net --netns red --name ipv1
  ipvlan-ctl attach db_net --pid 4242 --ip 192.168.1.9 --ifname eth1
  ipvlan-ctl attach db_net --container web --ifname eth1

Names:
  'ip netns exec red ping ipv2' finds the endpoints of the network by name, and
  so do 'ipvlan-ctl run' and 'ipvlan-ctl exec', as they come and go. Programs
  that run already in a container or elsewhere don't.";

/// clap's own is wider than 80 columns.
const ATTACH_USAGE: &str = "ipvlan-ctl attach <NETWORK> --netns|--pid|--container <WHICH> [OPTIONS]";

#[derive(Debug, Args)]
#[command(after_help = ATTACH_HELP, override_usage = ATTACH_USAGE)]
pub(super) struct Attach {
    /// Name of the network
    network: String,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// The container's, once its engine has said
    #[arg(skip)]
    found: Option<Target>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// Network namespace: a name, as 'ip netns' lists it, or a path
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,
    /// Network namespace of a process
    #[arg(long)]
    pid: Option<u32>,
    /// Network namespace of a container that Docker or Podman runs
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Detach {
    /// Names of endpoints
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Even where a container engine manages them
    #[arg(short, long)]
    force: bool,
}

impl Attach {
    /// Asks Docker or Podman for a container's process. They are the user's own programs, so that is done before privileges are
    /// given up; and before other commands have to wait for this one, since who answers may be waiting for one of them.
    pub(super) fn ask_engine(&mut self) -> Result<(), Error> {
        // Nobody is asked for what can't be attached in any case.
        self.endpoint.check()?;
        self.found = self.target.container.as_deref().map(Target::container).transpose()?;
        Ok(())
    }

    pub(super) fn execute(self, root: &Root, format: Format) -> Result<u8, Error> {
        let request = self.endpoint.request(self.network)?;
        let TargetArgs { netns, pid, container: _ } = self.target;
        let target = match (self.found, pid) {
            (Some(container), _) => container,
            (None, Some(pid)) => Target::Pid(pid),
            (None, None) => Target::Named(netns.unwrap_or_default()),
        };
        let mut session = Session::begin(root)?;
        let result = target.open().map_err(Error::from).and_then(|netns| session.attach(&request, netns));
        print_warnings(&session.take_warnings());
        let endpoint = result?;
        if format == Format::Json {
            json(&Report::read(root)?.inspect_endpoints(&[endpoint.name.to_string()])?.pop());
        } else {
            println!("{} {}", endpoint.name, join(global(&endpoint)));
        }
        Ok(0)
    }
}

/// The addresses that others reach the endpoint by.
fn global(endpoint: &crate::model::Endpoint) -> impl Iterator<Item = std::net::IpAddr> + use<> {
    let link_local = endpoint.addresses.link_local.map(std::net::IpAddr::V6);
    endpoint.addresses.iter().filter(move |address| Some(*address) != link_local)
}

impl Detach {
    pub(super) fn execute(self, root: &Root, format: Format) -> Result<u8, Error> {
        let (results, warnings) = shown(format, "detach", || {
            let mut session = Session::begin(root)?;
            let (mut results, total) = (Vec::new(), self.names.len());
            for (done, name) in self.names.into_iter().enumerate() {
                note("detach", done, total, format_args!("endpoint {name}"));
                let result = session.detach(&name, self.force);
                results.push((name, result));
            }
            Ok::<_, Error>((results, session.take_warnings()))
        })?;
        print_warnings(&warnings);
        finish(results, format)
    }
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Names of endpoints
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Inspect {
    /// As Docker does, always JSON.
    pub(super) fn execute(&self, root: &Root) -> Result<u8, Error> {
        json(&Report::read(root)?.inspect_endpoints(&self.names)?);
        Ok(0)
    }
}

/// `ipvlan-ctl ps`.
pub(super) fn list(root: &Root, format: Format) -> Result<u8, Error> {
    let endpoints = Report::read(root)?.endpoints()?;
    if format == Format::Json {
        json(&endpoints);
        return Ok(0);
    }
    let rows = endpoints.iter().map(|endpoint| {
        let ipv4 = endpoint.ipv4.map(|address| address.to_string());
        let ipv6 = endpoint.ipv6.map(|address| address.to_string());
        vec![
            Cell::new(&endpoint.name),
            Cell::new(&endpoint.network),
            lines(ipv4.into_iter().chain(ipv6)),
            Cell::new(&endpoint.ifname),
            Cell::new(&endpoint.netns),
            state(&endpoint.state),
        ]
    });
    print_table(&["NAME", "NETWORK", "IP", "IFNAME", "NETNS", "STATE"], rows);
    Ok(0)
}
