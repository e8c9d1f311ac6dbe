//! One host, one wire and one LAN, made of network namespaces; frames, and watchers that say where a frame came out.
//!
//! What attacks and tests act in. It uses ip(8) and `ipvlan-ctl` as a user would, and touches no interface but its own.

pub mod door;
pub mod frame;
pub(crate) mod interrupt;
pub mod netns;
pub mod network;
pub mod offload;
pub mod packet;
pub mod ring;
pub mod stats;
pub mod watch;
pub mod xdp;

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    process::{self, Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipvlan_common::types::Mac;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

pub use door::{Door, Sender};
use frame::Link;
pub use netns::Netns;
use netns::stderr;
pub use network::Network;
pub use ring::Ring;
pub use stats::Stats;
pub use watch::{Marker, Watch};

/// Every interface here has this name: the parent, the LAN host's and each endpoint's.
pub const INTERFACE: &str = "eth0";
/// The MAC of the parent, and so of every endpoint.
pub const PARENT_MAC: Mac = [0x02, 0x1b, 0, 0, 0, 0x02];
/// The MAC of the LAN host, which is the gateway too.
pub const LAN_MAC: Mac = [0x02, 0x1b, 0, 0, 0, 0x01];
/// The MAC of nobody here.
pub const STRANGER_MAC: Mac = [0x02, 0x66, 0, 0, 0, 0x66];
/// From an endpoint to the LAN host.
pub const TO_LAN: Link = Link { source: PARENT_MAC, destination: LAN_MAC };
/// From an endpoint to another one or to the host: their MAC is the parent's.
pub const SHARED: Link = Link::shared(PARENT_MAC);
/// From the LAN host to an endpoint or the host.
pub const FROM_LAN: Link = Link { source: LAN_MAC, destination: PARENT_MAC };
/// The host part of the LAN host's addresses.
pub const LAN: u8 = 1;
/// The host part of the host's own addresses on the parent.
pub const HOST: u8 = 2;

/// A namespace with an ipvlan slave as its [`INTERFACE`].
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub netns: Netns,
    /// The network it belongs to.
    pub network: Network,
    /// Its IPv4 address.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address.
    pub ipv6: Ipv6Addr,
}

impl Endpoint {
    /// Sends `frame` as it is.
    ///
    /// # Errors
    /// Fails if the socket can't be made or the kernel refuses the frame.
    pub fn send(&self, frame: &[u8], door: Door) -> Result<()> {
        Sender::new(&self.netns, INTERFACE, door)?.send(frame)
    }
}

/// Who makes the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// ip(8): the kernel's ipvlan as it is.
    Stock,
    /// `ipvlan-ctl`.
    Ctl,
}

/// A host namespace with the parent, a LAN namespace at the other end of its wire, and what `ipvlan-ctl` keeps.
#[derive(Debug)]
pub struct Sandbox {
    /// The host. Its [`INTERFACE`] is the parent.
    pub host: Netns,
    /// The LAN host, which is every network's gateway and routes between them.
    pub lan: Netns,
    maker: Maker,
    name: String,
    root: TempDir,
    pins: PathBuf,
    ctl: Option<PathBuf>,
    narrate: bool,
    capacity: Option<u16>,
}

impl Sandbox {
    /// A host and a LAN without any network yet.
    ///
    /// # Errors
    /// Fails without root.
    pub fn new(maker: Maker) -> Result<Self> {
        Self::with_host(maker, Netns::create)
    }

    /// The same, with the namespace of this process as the host: for daemons that take a machine for theirs, in a VM.
    ///
    /// # Errors
    /// Fails without root, or where there is an interface of the name [`INTERFACE`].
    pub fn on_this_machine(maker: Maker) -> Result<Self> {
        Self::with_host(maker, |name| Netns::of_process(name, process::id()))
    }

    fn with_host(maker: Maker, host: impl FnOnce(String) -> Result<Netns>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ipvlan-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let sandbox = Self {
            host: host(format!("{name}-host"))?,
            lan: Netns::create(format!("{name}-lan"))?,
            maker,
            root: tempfile::Builder::new().prefix(&name).tempdir().context("make the state directory")?,
            pins: Path::new("/sys/fs/bpf").join(&name),
            name,
            ctl: None,
            narrate: false,
            capacity: None,
        };
        sandbox.lan.sysctl("net/ipv4/ip_forward", "1")?;
        sandbox.lan.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        sandbox.wire()?;
        Ok(sandbox)
    }

    /// Makes the parent and its wire to the LAN, again where a test has removed it.
    ///
    /// # Errors
    /// Fails if it is there.
    pub fn wire(&self) -> Result<()> {
        self.lan.ip(&format!(
            "link add {INTERFACE} address {lan} type veth peer name {INTERFACE} netns {host} address {parent}",
            lan = mac(LAN_MAC),
            parent = mac(PARENT_MAC),
            host = self.host.name(),
        ))?;
        self.lan.ip(&format!("link set {INTERFACE} up"))?;
        self.host.ip(&format!("link set {INTERFACE} up"))?;
        self.settle()
    }

    /// Waits for the parent's link-local address, which comes once the kernel has looked at the carrier: an address of the host's that
    /// came after a network would be one that it doesn't know. Where IPv6 is off, none comes.
    fn settle(&self) -> Result<()> {
        let begin = Instant::now();
        while Path::new("/proc/net/if_inet6").exists() && begin.elapsed() < Duration::from_secs(2) {
            if !self.host.ip(&format!("-6 -oneline addr show dev {INTERFACE} scope link"))?.is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Who makes the endpoints here.
    #[must_use]
    pub const fn maker(&self) -> Maker {
        self.maker
    }

    /// Uses the `ipvlan-ctl` at `path` instead of looking for one.
    pub fn use_ctl(&mut self, path: &Path) {
        self.ctl = Some(path.to_owned());
    }

    /// Whether to print the commands that change something, as a user would type them.
    pub const fn narrate(&mut self, narrate: bool) {
        self.narrate = narrate;
    }

    /// Room for endpoints and parents, instead of the default; to be set before the first network.
    pub const fn set_capacity(&mut self, capacity: u16) {
        self.capacity = Some(capacity);
    }

    /// Makes `network`, with the LAN host as its gateway and an address of the host in it.
    ///
    /// # Errors
    /// Fails if ip(8) or `ipvlan-ctl` does.
    pub fn network(&self, network: &Network) -> Result<()> {
        self.addresses(network)?;
        if self.maker == Maker::Stock {
            return Ok(());
        }
        self.act(&create(network))
    }

    /// Gives the LAN host and the host their addresses in `network`.
    ///
    /// # Errors
    /// Fails if they have them.
    pub fn addresses(&self, network: &Network) -> Result<()> {
        let parent = network.parent;
        for (netns, part) in [(&self.lan, LAN), (&self.host, HOST)] {
            netns.ip_batch(&format!(
                "addr add {}/24 dev {parent}\naddr add {}/64 dev {parent} nodad\n",
                network.ipv4(part),
                network.ipv6(part)
            ))?;
        }
        Ok(())
    }

    /// Makes an endpoint of `network` with host part `host`.
    ///
    /// # Errors
    /// Fails if ip(8) or `ipvlan-ctl` does.
    pub fn endpoint(&self, network: &Network, name: &str, host: u8) -> Result<Endpoint> {
        self.make_endpoint(network, name, host, false)
    }

    /// The same with host access of its own; stock ipvlan has none.
    ///
    /// # Errors
    /// Fails if ip(8) or `ipvlan-ctl` does.
    pub fn granted_endpoint(&self, network: &Network, name: &str, host: u8) -> Result<Endpoint> {
        self.make_endpoint(network, name, host, true)
    }

    fn make_endpoint(&self, network: &Network, name: &str, host: u8, granted: bool) -> Result<Endpoint> {
        let endpoint = Endpoint {
            name: name.to_owned(),
            netns: self.netns(name)?,
            network: *network,
            ipv4: network.ipv4(host),
            ipv6: network.ipv6(host),
        };
        match self.maker {
            Maker::Stock => self.stock_slave(&endpoint)?,
            Maker::Ctl => {
                let mut words = format!(
                    "attach {} --netns {} --name {name} --ip {}",
                    network.name,
                    endpoint.netns.name(),
                    endpoint.ipv4
                );
                if network.has_ipv6() {
                    words += &format!(" --ip6 {}", endpoint.ipv6);
                }
                if granted {
                    words += " --host-access";
                }
                self.act(&words)?;
            }
        }
        Ok(endpoint)
    }

    /// An empty namespace of this sandbox.
    ///
    /// # Errors
    /// Fails without root.
    pub fn netns(&self, name: &str) -> Result<Netns> {
        Netns::create(format!("{}-{name}", self.name))
    }

    /// Runs `ipvlan-ctl` in the host's namespace with arguments given as words, and returns what it printed.
    ///
    /// # Errors
    /// Fails with its standard error if it does.
    pub fn ctl(&self, words: &str) -> Result<String> {
        let output = self.try_ctl(words)?;
        ensure!(output.status.success(), "ipvlan-ctl {words}: {}", stderr(&output));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `ipvlan-ctl` and returns how it ended.
    ///
    /// # Errors
    /// Fails if it can't be started.
    pub fn try_ctl(&self, words: &str) -> Result<Output> {
        self.host.output(self.ctl_command()?.args(words.split_whitespace()))
    }

    /// Runs `ipvlan-ctl --format json` and reads its answer.
    ///
    /// # Errors
    /// Fails if it does or if the answer isn't a `T`.
    pub fn ctl_json<T: DeserializeOwned>(&self, words: &str) -> Result<T> {
        let text = self.ctl(&format!("--format json {words}"))?;
        serde_json::from_str(&text)
            .with_context(|| format!("unexpected JSON from ipvlan-ctl {words}: {text}"))
    }

    /// `ipvlan-ctl` with this sandbox's directories; run it with [`Netns::output`] or [`Netns::spawn`] on the host.
    ///
    /// # Errors
    /// Fails if there is no such binary.
    pub fn ctl_command(&self) -> Result<Command> {
        let mut command = Command::new(self.ctl.clone().map_or_else(ctl_path, Ok)?);
        command.env("IPVLAN_ROOT", self.root.path()).env("IPVLAN_PIN_DIR", &self.pins);
        if let Some(capacity) = self.capacity {
            command.env("IPVLAN_CAPACITY", capacity.to_string());
        }
        Ok(command)
    }

    /// Where `ipvlan-ctl` keeps its state.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where `ipvlan-ctl` pins its maps and links.
    #[must_use]
    pub fn pins(&self) -> &Path {
        &self.pins
    }

    fn act(&self, words: &str) -> Result<()> {
        if self.narrate {
            println!("$ ipvlan-ctl {words}");
        }
        self.ctl(words).map(|_printed| ())
    }

    fn stock_slave(&self, endpoint: &Endpoint) -> Result<()> {
        let Endpoint { netns, network, ipv4, ipv6, name } = endpoint;
        // Made in the host and moved: a slave can't have the parent's name while it is beside it.
        self.host.ip_batch(&format!(
            "link add link {INTERFACE} name ipvl_{name} type ipvlan mode {} {}\n\
             link set ipvl_{name} netns {} name {INTERFACE}\n",
            network.mode,
            network.flag,
            netns.name()
        ))?;
        let mut lines = format!("addr add {ipv4}/24 dev {INTERFACE}\n");
        if network.has_ipv6() {
            lines += &format!("addr add {ipv6}/64 dev {INTERFACE} nodad\n");
        }
        lines += &format!("link set {INTERFACE} up\n");
        if !network.internal {
            let via =
                |gateway: IpAddr| if network.mode == "l2" { format!("via {gateway}") } else { String::new() };
            lines += &format!("route add default {} dev {INTERFACE}\n", via(network.ipv4(LAN).into()));
            if network.has_ipv6() {
                lines += &format!("route add ::/0 {} dev {INTERFACE}\n", via(network.ipv6(LAN).into()));
            }
        }
        netns.ip_batch(&lines)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Links that are only pinned would outlive the devices. What was never made can't be removed: not an error.
        let _ignored = fs::remove_dir_all(&self.pins);
    }
}

/// The arguments that make `network`.
fn create(network: &Network) -> String {
    let mut words = format!("network create --subnet {}/24 --gateway {}", network.ipv4(0), network.ipv4(LAN));
    if network.has_ipv6() {
        words += &format!(" --subnet {}/64 --gateway {}", network.ipv6(0), network.ipv6(LAN));
    }
    if network.internal {
        words += " --internal";
    }
    let Network { parent, mode, flag, .. } = network;
    words += &format!(" -o parent={parent} -o ipvlan_mode={mode} -o ipvlan_flag={flag}");
    if network.multicast != "on" {
        words += &format!(" -o multicast={}", network.multicast);
    }
    if let Some(rate) = network.multicast_rate {
        words += &format!(" -o multicast_rate={rate}");
    }
    if network.host_access {
        words += " --host-access";
    }
    if network.asks_all {
        words += " -o arp_suppress=off";
    }
    if network.snat {
        words += " -o snat=on";
    }
    if network.xdp != "off" {
        words += &format!(" -o xdp={}", network.xdp);
    }
    words += &format!(" {}", network.name);
    words
}

/// Makes `address` a neighbour at the parent's MAC, as somebody who knows ipvlan would.
///
/// # Errors
/// Fails if ip(8) does.
pub fn static_neighbor(netns: &Netns, address: &str) -> Result<()> {
    netns.ip_batch(&format!(
        "route replace {address} dev {INTERFACE}\nneigh replace {address} lladdr {} dev {INTERFACE} nud permanent\n",
        mac(PARENT_MAC)
    ))
}

/// A MAC address as ip(8) writes it.
#[must_use]
pub fn mac(bytes: Mac) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// `ipvlan-ctl`: where `IPVLAN_CTL` says, else beside this binary.
///
/// # Errors
/// Fails if it is at neither place.
pub fn ctl_path() -> Result<PathBuf> {
    if let Some(path) = env::var_os("IPVLAN_CTL") {
        return Ok(path.into());
    }
    let own = env::current_exe().context("find this binary")?;
    // Test binaries are one directory below, in deps.
    for directory in own.ancestors().skip(1).take(2) {
        let path = directory.join("ipvlan-ctl");
        if path.exists() {
            return Ok(path);
        }
    }
    bail!("no ipvlan-ctl beside {}: build it, or set IPVLAN_CTL to its path", own.display())
}
