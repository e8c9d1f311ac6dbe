//! What can go wrong, said once: what, and with which value.

use std::{io, net::IpAddr, path::PathBuf};

use ipnet::IpNet;

use super::{ContainerError, Upper, preflight::MINIMUM_KERNEL};
use crate::{
    bpf::BpfError,
    ipam::Exhausted,
    model::{Flag, Invalid, Mode, Owner, Slot, Xdp},
    netlink::{NetlinkError, NetnsError},
    store::StoreError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that can't be used at all.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// rtnetlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A network namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Programs and maps.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// A container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A full subnet.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),

    /// A sandbox for attacks.
    #[error("the attacks can't be tried: {0:#}")]
    Attack(anyhow::Error),
    /// A measurement.
    #[error("it can't be measured: {0:#}")]
    Bench(anyhow::Error),
    /// The answer to a question.
    #[error("can't read the answer: {0}")]
    Answer(io::Error),
    /// Capabilities are missing.
    #[error("not permitted: {} missing", .0.join(", "))]
    NotPermitted(Vec<&'static str>),
    /// The kernel is older than the programs need.
    #[error("kernel too old: found {found}, need {}.{} or newer", MINIMUM_KERNEL.0, MINIMUM_KERNEL.1)]
    KernelTooOld {
        /// What `uname -r` says.
        found: String,
    },
    /// The kernel can't make ipvlan slaves.
    #[error("this kernel has no ipvlan ({release})")]
    NoIpvlan {
        /// What `uname -r` says.
        release: String,
    },
    /// No lasting place for pins.
    #[error("no BPF file system at {path}, and one mounted in this mount namespace would not last")]
    PinsWouldVanish {
        /// The pin directory.
        path: PathBuf,
    },
    /// The root directory.
    #[error("can't use state directory {path}: {source}")]
    Root {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that was asked for.
    #[error("can't write {}: {source}", path.display())]
    Write {
        /// The file, or its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket that calls come by.
    #[error("can't listen at {}: {source}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody listens there.
    #[error("another server listens at {}", .0.display())]
    ListenInUse(PathBuf),
    /// A file that the kernel shows.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Programs that an engine's own move would take off.
    #[error(
        "kernel {release} has no TCX: an interface loses its programs on the way into a container, and would not be enforced there"
    )]
    NoHandover {
        /// What `uname -r` says.
        release: String,
    },
    /// The command of `run`.
    #[error("can't run '{command}': {source}")]
    Command {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },

    /// An engine manages the endpoint.
    #[error("endpoint '{endpoint}' is {owner}'s", owner = .owner.engine)]
    OwnedEndpoint {
        /// The endpoint.
        endpoint: String,
        /// Whose it is.
        owner: Owner,
    },
    /// No network has this name.
    #[error("network '{0}' doesn't exist")]
    NoNetwork(String),
    /// A network has this name already.
    #[error("network '{0}' exists already")]
    NetworkExists(String),
    /// An engine manages it.
    #[error("network '{network}' is {owner}'s", owner = .owner.engine)]
    Owned {
        /// The network.
        network: String,
        /// Whose it is.
        owner: Owner,
    },
    /// Endpoints are attached.
    #[error("network '{network}' has endpoints attached: {}", .endpoints.join(", "))]
    NetworkInUse {
        /// The network.
        network: String,
        /// Their names.
        endpoints: Vec<String>,
    },
    /// Two networks would share addresses.
    #[error("subnet {subnet} overlaps {other} of network '{network}' on {place}")]
    Overlap {
        /// The new subnet.
        subnet: IpNet,
        /// The subnet that exists.
        other: IpNet,
        /// The network that has it.
        network: String,
        /// Its parent, and how the new network's stands to it.
        place: String,
    },
    /// The parent works in another mode.
    #[error("parent {parent} is in mode {mode} for network '{network}', and a parent has one mode")]
    OtherMode {
        /// The parent.
        parent: String,
        /// Its mode.
        mode: Mode,
        /// The network that set it.
        network: String,
    },

    /// The parent has another XDP setting.
    #[error("parent {parent} has xdp={xdp} by network '{network}', not xdp={asked}")]
    OtherXdp {
        /// The parent.
        parent: String,
        /// The network that is there.
        network: String,
        /// What it has.
        xdp: Xdp,
        /// What was asked for.
        asked: Xdp,
    },
    /// The parent's networks send their frames by way of the switch, or this one alone would.
    #[error("parent {parent} carries network '{network}' with ipvlan_flag={flag}, which goes with no vepa network beside it", flag = flag.as_str())]
    OtherFlag {
        /// The parent.
        parent: String,
        /// The network that is there.
        network: String,
        /// Its flag.
        flag: Flag,
    },
    /// The parent has no programs.
    #[error(
        "the programs of network '{network}' are not on its parent {parent}; nothing would enforce its isolation"
    )]
    NotEnforced {
        /// The parent.
        parent: String,
        /// The network.
        network: String,
    },
    /// The networks' pins are elsewhere.
    #[error("the networks here have their pins in {}", pin_dir.display())]
    OtherPins {
        /// Where they are.
        pin_dir: PathBuf,
    },
    /// Somebody on the wire has the address.
    #[error("address {address} is in use on the wire, by {mac}")]
    AddressOnWire {
        /// The address.
        address: IpAddr,
        /// Who answered.
        mac: String,
    },
    /// No interface has the parent's name.
    #[error("parent interface '{parent}' doesn't exist")]
    NoParent {
        /// The name.
        parent: String,
        /// Interfaces that could be one.
        candidates: Vec<String>,
    },
    /// The interface that a VLAN is to lie on.
    #[error("parent interface '{base}' doesn't exist, which {parent} would be a VLAN of")]
    NoVlanBase {
        /// The VLAN.
        parent: String,
        /// The interface.
        base: String,
    },
    /// The kernel brings no VLAN up on an interface that is down.
    #[error("parent {parent} can't go up: the interface below it is down")]
    BaseDown {
        /// The VLAN.
        parent: String,
    },
    /// Networks and the host use all subnets that one would be chosen from.
    #[error("no free subnet is left to choose from")]
    NoSubnet,
    /// An interface that can't be a parent.
    #[error("{parent} can't be a parent: {why}")]
    NotAParent {
        /// The interface.
        parent: String,
        /// Why.
        why: String,
    },
    /// The interface that the network was made on is gone.
    #[error("parent {parent} of network '{network}' is gone, or another interface has its name now")]
    ParentGone {
        /// The parent.
        parent: String,
        /// The network.
        network: String,
    },
    /// Another driver takes all frames of the parent.
    #[error("{}", busy(parent, macvlans))]
    ParentBusy {
        /// The parent.
        parent: String,
        /// What macvlan has on it.
        macvlans: Vec<Upper>,
    },
    /// The slave would send larger frames than its parent.
    #[error("mtu {mtu} is larger than {parent_mtu}, the mtu of {parent}")]
    MtuTooLarge {
        /// The network's.
        mtu: u32,
        /// The parent.
        parent: String,
        /// The parent's.
        parent_mtu: u32,
    },

    /// All slots are taken.
    #[error("all {capacity} places for endpoints and parents are taken")]
    NoSlot {
        /// How many there are.
        capacity: Slot,
    },
    /// The shared maps exist, with another size.
    #[error("capacity {asked} can't be had: the maps that all networks share were made for {capacity}")]
    OtherCapacity {
        /// What was asked for.
        asked: Slot,
        /// What the maps have room for.
        capacity: Slot,
    },

    /// No endpoint has this name.
    #[error("endpoint '{0}' doesn't exist")]
    NoEndpoint(String),
    /// An endpoint has this name already.
    #[error("endpoint '{name}' exists already, in network '{network}'")]
    EndpointExists {
        /// The name.
        name: String,
        /// Its network.
        network: String,
    },
    /// An address that an endpoint has.
    #[error("address {address} is in use by endpoint '{endpoint}'")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The endpoint that has it.
        endpoint: String,
    },
    /// An address that the host has.
    #[error("address {address} is the host's own, on {parent}")]
    AddressOfHost {
        /// The address.
        address: IpAddr,
        /// The interface.
        parent: String,
    },
    /// The interface name is taken.
    #[error("interface {ifname} exists already in network namespace '{netns}'")]
    IfNameTaken {
        /// The name.
        ifname: String,
        /// The namespace.
        netns: String,
    },
    /// The host's own namespace.
    #[error("network namespace '{0}' is the host's own")]
    HostNetns(String),
    /// The namespace went away during the command.
    #[error("network namespace '{0}' is gone")]
    NetnsGone(String),
    /// Somebody inside has removed the slave.
    #[error("the slave of endpoint '{endpoint}' is gone from network namespace '{netns}'")]
    SlaveGone {
        /// The endpoint.
        endpoint: String,
        /// Its namespace.
        netns: String,
    },
    /// Somebody inside has moved the slave where it can't be found.
    #[error(
        "the slave of endpoint '{endpoint}' was moved out of network namespace '{netns}': it lives on as interface number {ifindex} in one that can't be found"
    )]
    SlaveHidden {
        /// The endpoint.
        endpoint: String,
        /// Its namespace.
        netns: String,
        /// The slave's number.
        ifindex: u32,
    },
    /// Somebody inside has interfered with the slave while it was made.
    #[error("the slave of endpoint '{endpoint}' was changed by somebody in network namespace '{netns}'")]
    Tampered {
        /// The endpoint.
        endpoint: String,
        /// Its namespace.
        netns: String,
    },
    /// Neither an endpoint nor a parent.
    #[error("'{0}' is neither an endpoint nor a parent")]
    NoStats(String),
    /// No drop has this reason.
    #[error("'{0}' is no reason for a drop")]
    NoReason(String),
    /// The events have one reader.
    #[error("another 'ipvlan-ctl monitor' runs, and the events have one reader")]
    MonitorRuns,
    /// The runtime or its signals.
    #[error("can't wait for events: {0}")]
    Wait(io::Error),
    /// A name that the monitor doesn't know.
    #[error("'{name}' is neither an endpoint nor a parent")]
    NotMonitored {
        /// The name.
        name: String,
        /// Names that it knows.
        known: Vec<String>,
    },
}

fn busy(parent: &str, macvlans: &[Upper]) -> String {
    if macvlans.is_empty() {
        return format!("parent {parent} is held by another driver, such as a bridge or a bond");
    }
    let names: Vec<_> = macvlans.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    format!("parent {parent} carries macvlan ({names}), and an interface carries macvlan or ipvlan, not both")
}
