//! What the user can do about an error.

use ipvlan_common::{DropReason, schema::MAX_CAPACITY};

use super::{Error, Upper};
use crate::{
    bpf::BpfError,
    netlink::{Netns, NetnsError},
    store::StoreError,
};

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Invalid(invalid) => return invalid.hint(),
            Self::Container(error) => return error.hint(),
            Self::Store(StoreError::Open { .. }) | Self::NotPermitted(_) => {
                "run as root, for instance with sudo".into()
            }
            Self::Store(StoreError::Damaged { .. }) => {
                "put a copy of it back; or move it away: 'ipvlan-ctl reconcile' shows what is left of its networks".into()
            }
            Self::Store(StoreError::Newer { .. }) => "use the newer ipvlan-ctl that wrote it".into(),
            Self::Netns(NetnsError::Missing(_) | NetnsError::NotOne(_)) => match Netns::names() {
                names if names.is_empty() => {
                    "no network namespace has a name: 'ip netns add NAME' makes one".into()
                }
                names => format!("named network namespaces: {}", names.join(", ")),
            },
            Self::Exhausted(_) => "detach an endpoint, or create a network with a larger subnet".into(),
            Self::NoSlot { .. } | Self::Bpf(BpfError::Full { .. }) => format!(
                "detach an endpoint; or remove all networks and give the first one a larger --capacity, up to {MAX_CAPACITY}"
            ),
            Self::OtherCapacity { .. } => {
                "leave --capacity out; or remove all networks, and give it with the first one".into()
            }
            Self::KernelTooOld { .. } => "boot a newer kernel; 6.6 or newer is best".into(),
            Self::NoIpvlan { .. } => {
                "'modprobe ipvlan' loads it, where the kernel was built with CONFIG_IPVLAN".into()
            }
            Self::PinsWouldVanish { .. } => {
                "instead of 'ip netns exec NAME', which makes one, use 'nsenter --net=/run/netns/NAME'".into()
            }
            Self::Root { .. } => "choose another one with --root, or run as root".into(),
            Self::NoNetwork(_) => "'ipvlan-ctl network ls' lists the networks".into(),
            Self::ListenInUse(_) => "stop the other one first, or choose another --socket".into(),
            Self::NoHandover { .. } => {
                "boot Linux 6.6 or newer; or start the container with --network none, then: ipvlan-ctl attach --container".into()
            }
            Self::Owned { owner, .. } => format!(
                "use 'docker network connect' and 'docker network rm' with {}; what Docker has forgotten goes with 'ipvlan-ctl network rm --force'",
                owner.id.get(..12).unwrap_or(&owner.id)
            ),
            Self::OwnedEndpoint { .. } => {
                "use 'docker network disconnect'; what Docker has forgotten goes with --force".into()
            }
            Self::NetworkExists(_) => "choose another name, or remove it with 'ipvlan-ctl network rm'".into(),
            Self::NetworkInUse { endpoints, .. } => {
                format!("first: ipvlan-ctl detach {}; or use --force", endpoints.join(" "))
            }
            Self::Overlap { .. } => {
                "choose a subnet that no network on this parent uses, nor on its VLANs or what it is a VLAN of".into()
            },
            Self::NotEnforced { .. } => "'ipvlan-ctl upgrade' puts them back, or says what hinders it".into(),
            Self::OtherPins { pin_dir } => format!("use --pin-dir {}", pin_dir.display()),
            Self::OtherFlag { .. } => "give the vepa networks a parent of their own".into(),
            Self::OtherXdp { .. } => "leave the option out to take what the parent has".into(),
            Self::Bpf(BpfError::Xdp { .. }) => {
                "use -o xdp=auto, or free the interface of another XDP program".into()
            }
            Self::OtherMode { .. } => "use the same ipvlan_mode, or another parent".into(),
            Self::NoParent { candidates, .. } if candidates.is_empty() => {
                "no interface here can be a parent".into()
            }
            Self::NoParent { candidates, .. } => {
                format!("interfaces that can be one: {}", candidates.join(", "))
            }
            Self::AddressOnWire { .. } => {
                "give another address, a free --ip-range to the network, or --no-probe to use it all the same"
                    .into()
            }
            Self::BaseDown { .. } => "bring it up, with 'ip link set NAME up'".into(),
            Self::NoSubnet => "give one, as in --subnet 10.1.0.0/24".into(),
            Self::ParentGone { parent, network } => {
                format!(
                    "the network works again once {parent} is back with its MAC address; or remove it: ipvlan-ctl network rm {network}"
                )
            }
            Self::ParentBusy { macvlans, .. } if macvlans.is_empty() => {
                "take it away from there, or use another parent".into()
            }
            Self::ParentBusy { macvlans, .. } => {
                let removals: Vec<_> = macvlans.iter().map(Upper::removal).collect();
                format!("use another parent, or remove what is there: {}", removals.join("; "))
            }
            Self::SlaveHidden { endpoint, .. } => format!(
                "it stays enforced; end the processes that hold the namespace, then: ipvlan-ctl detach {endpoint}"
            ),
            Self::SlaveGone { endpoint, .. } => {
                format!("detach it with 'ipvlan-ctl detach {endpoint}' and attach it again")
            }
            Self::Bpf(BpfError::OtherVersion { .. }) => {
                "remove its endpoints and networks with the ipvlan-ctl that made them, then make them again"
                    .into()
            }
            Self::NoEndpoint(_) => "'ipvlan-ctl ps' lists the endpoints".into(),
            Self::NoStats(_) => "'ipvlan-ctl ps' lists the endpoints; networks are for --networks".into(),
            Self::NotMonitored { known, .. } if known.is_empty() => {
                "there are none yet: 'ipvlan-ctl network create' makes a network".into()
            }
            Self::NotMonitored { known, .. } => format!("endpoints and parents: {}", known.join(", ")),
            Self::NoReason(_) => {
                let names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
                format!("reasons: {}", names.join(", "))
            }
            Self::MonitorRuns => {
                "stop the other one first; --endpoint and --reason choose what one shows".into()
            }
            Self::EndpointExists { name, .. } => {
                format!("choose another --name; or first: ipvlan-ctl detach {name}")
            }
            Self::AddressTaken { .. } | Self::AddressOfHost { .. } => {
                "choose another address, or leave it out to get a free one".into()
            }
            Self::IfNameTaken { .. } => "choose another --ifname".into(),
            Self::HostNetns(_) => {
                "an endpoint belongs in a namespace of its own: 'ip netns add NAME' makes one".into()
            }
            _ => return None,
        })
    }
}
