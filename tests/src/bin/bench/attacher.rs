//! Who attaches endpoints: `ipvlan-ctl`, and the reference CNI plugin `ipvlan` with `host-local`.

use std::{
    env,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use ipvlan_tests::{Maker, Netns, Sandbox, sandbox::INTERFACE};
use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};
use serde_json::{Value, json};

use crate::child::{Usage, measured};

const NETWORK: &str = "bench";
const SUBNET: &str = "10.77.0.0/16";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A tool and how it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The reference plugin, as a runtime calls it.
    Reference,
    /// `ipvlan-ctl` without asking the LAN, which the plugin doesn't either.
    Unprobed,
    /// `ipvlan-ctl` as it is called by default.
    Probing,
}

impl Tool {
    pub(crate) const ALL: [Self; 3] = [Self::Reference, Self::Unprobed, Self::Probing];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reference => "CNI ipvlan, host-local",
            Self::Unprobed => "ours, --no-probe",
            Self::Probing => "ours",
        }
    }
}

/// A host and a LAN for each of the two: ours refuses what slaves of others send on its parent.
pub(crate) struct Hosts {
    stock: Sandbox,
    ours: Sandbox,
    plugins: PathBuf,
    leases: tempfile::TempDir,
}

impl Hosts {
    pub(crate) fn new() -> Result<Self> {
        let plugins = env::var_os("IPVLAN_CNI").context("IPVLAN_CNI doesn't say where CNI's plugins are")?;
        let (stock, ours) = (Sandbox::new(Maker::Stock)?, Sandbox::new(Maker::Ctl)?);
        for sandbox in [&stock, &ours] {
            sandbox.lan.ip(&format!("addr add {GATEWAY}/16 dev {INTERFACE}"))?;
        }
        ours.ctl(&format!(
            "network create --subnet {SUBNET} --gateway {GATEWAY} -o parent={INTERFACE} {NETWORK}"
        ))?;
        Ok(Self { stock, ours, plugins: plugins.into(), leases: tempfile::tempdir()? })
    }

    fn sandbox(&self, tool: Tool) -> &Sandbox {
        if tool == Tool::Reference { &self.stock } else { &self.ours }
    }

    pub(crate) fn netns(&self, tool: Tool, name: &str) -> Result<Netns> {
        self.sandbox(tool).netns(name)
    }

    /// Attaches an endpoint, and sees that it has its address.
    pub(crate) fn attach(&self, tool: Tool, netns: &Netns) -> Result<Usage> {
        let host = &self.sandbox(tool).host;
        let (usage, address) = match tool {
            Tool::Reference => {
                let (usage, printed) = self.plugin("ADD", netns)?;
                let result: Value = serde_json::from_str(&printed)?;
                let address = result["ips"][0]["address"].as_str().context("the plugin names no address")?;
                (usage, address.split('/').next().unwrap_or_default().to_owned())
            }
            Tool::Unprobed | Tool::Probing => {
                let mut command = self.ours.ctl_command()?;
                command.args(["attach", NETWORK, "--netns", netns.name(), "--name", netns.name()]);
                command.args((tool == Tool::Unprobed).then_some("--no-probe"));
                let (usage, printed) = measured(host, &mut command, "")?;
                let address = printed.split_whitespace().nth(1).context("ipvlan-ctl names no address")?;
                (usage, address.to_owned())
            }
        };
        let address: IpAddr = address.parse().with_context(|| format!("no address: {address}"))?;
        let has = |netns: &Netns| {
            netns.enter(|| {
                let own = getifaddrs()?.filter(|it| it.interface_name == INTERFACE);
                let mut own =
                    own.filter_map(|it| it.address?.as_sockaddr_in().map(|it| IpAddr::from(it.ip())));
                Ok(own.any(|it| it == address))
            })
        };
        ensure!(has(netns)?, "{} says {address}, which {INTERFACE} doesn't have", tool.name());
        Ok(usage)
    }

    /// Detaches it, and sees that its interface is gone.
    pub(crate) fn detach(&self, tool: Tool, netns: &Netns) -> Result<Usage> {
        let usage = match tool {
            Tool::Reference => self.plugin("DEL", netns)?.0,
            Tool::Unprobed | Tool::Probing => {
                let mut command = self.ours.ctl_command()?;
                measured(&self.ours.host, command.args(["detach", netns.name()]), "")?.0
            }
        };
        if netns.enter(|| Ok(if_nametoindex(INTERFACE).is_ok()))? {
            bail!("{} has left {INTERFACE} there", tool.name());
        }
        Ok(usage)
    }

    /// That an endpoint of the tool gets to the LAN; it is detached then.
    pub(crate) fn check_and_detach(&self, tool: Tool, netns: &Netns) -> Result<()> {
        ensure!(netns.pings(&GATEWAY.to_string(), 56, 5)?, "no answer from the LAN by {}", tool.name());
        self.detach(tool, netns).map(|_usage| ())
    }

    fn plugin(&self, verb: &str, netns: &Netns) -> Result<(Usage, String)> {
        let config = json!({
            "cniVersion": "1.0.0", "name": NETWORK, "type": "ipvlan", "master": INTERFACE, "mode": "l2",
            "ipam": {
                "type": "host-local", "dataDir": self.leases.path(),
                "ranges": [[{ "subnet": SUBNET, "gateway": GATEWAY }]], "routes": [{ "dst": "0.0.0.0/0" }],
            },
        });
        let mut command = Command::new(self.plugins.join("ipvlan"));
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", netns.name())
            .env("CNI_NETNS", format!("/run/netns/{}", netns.name()))
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", &self.plugins);
        measured(&self.stock.host, &mut command, &config.to_string())
    }
}
