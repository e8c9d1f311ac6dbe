//! Looks at the machine. Changes nothing, and goes on past what it may not see.

use std::{collections::BTreeSet, fs, io, path::Path};

use super::{kernel, parent::ParentFindings};
use crate::{
    bpf::{self, BpfError},
    model::IfName,
    netlink::Netlink,
    service::{Error, Facts, Root, parent::check_pins, preflight::check_pin_dir},
    store::{Store, StoreError},
};

/// Whether the kernel has a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is loaded, or built in.
    Loaded,
    /// The kernel loads it by itself once it is needed.
    Loadable,
    /// It isn't there.
    Missing,
    /// It couldn't be found out.
    Unknown,
}

/// A number below `/proc/sys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// What it is.
    Value(u32),
    /// The kernel was built without what it is for.
    Absent,
    /// It may not be read.
    Unreadable,
}

/// The BPF file system for the pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BpfFs {
    /// It is there.
    Mounted,
    /// The first command mounts it.
    Mountable,
    /// One mounted from here would vanish with the command's mount namespace.
    WouldVanish,
    /// The directory isn't on one, nor where one is mounted.
    Elsewhere,
}

/// What became of looking at something of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It isn't there yet.
    Absent,
    /// It is there, and good.
    Good,
    /// It can't be used, and why.
    Bad {
        /// What is wrong.
        error: String,
        /// What to do.
        hint: Option<String>,
    },
    /// It may not be read.
    Unreadable,
}

/// What was found, for [`judge`](super::judge()).
#[derive(Debug, Clone)]
pub struct Findings {
    /// The kernel, and this process.
    pub facts: Facts,
    /// ipvlan.
    pub ipvlan: Presence,
    /// Whether the kernel has netfilter, and with it mode l3s.
    pub netfilter: bool,
    /// Whether the kernel has TCX.
    pub tcx: bool,
    /// The modules that stand in for TCX.
    pub classifier: [(&'static str, Presence); 2],
    /// Whether the kernel describes its types.
    pub btf: bool,
    /// Where the pins are to be.
    pub pin_dir: String,
    /// What of a file system is there.
    pub bpf_fs: BpfFs,
    /// `net.core.bpf_jit_enable`.
    pub jit: Setting,
    /// `net.core.bpf_jit_harden`.
    pub jit_harden: Setting,
    /// `kernel.unprivileged_bpf_disabled`.
    pub unprivileged_bpf_disabled: Setting,
    /// Where the state is.
    pub state_dir: String,
    /// The store in it.
    pub state: Looked,
    /// The pins.
    pub pins: Looked,
    /// The parents asked for; where none were, those in use, and physical interfaces.
    pub parents: Vec<ParentFindings>,
    /// Why no interface could be looked at.
    pub interfaces: Result<(), String>,
}

impl Findings {
    /// Looks at this machine, and at the interfaces called `parents`.
    #[must_use]
    pub fn gather(root: &Root, parents: &[String]) -> Self {
        let facts = Facts::gather();
        let netlink = Netlink::open();
        let (state, used) = look_at_store(root);
        let (parents, interfaces) = match netlink.as_ref().map(|netlink| interfaces(netlink, parents, &used))
        {
            Ok(Ok(parents)) => (parents, Ok(())),
            Ok(Err(error)) => (Vec::new(), Err(error.to_string())),
            Err(error) => (Vec::new(), Err(error.to_string())),
        };
        let module = |name| kernel::module(&facts.release, name);
        Self {
            ipvlan: match module("ipvlan") {
                // No file of the module is there that the probe could have the kernel load.
                Presence::Missing | Presence::Unknown => probe_ipvlan(netlink.as_ref().ok()),
                known => known,
            },
            netfilter: Path::new("/proc/net/netfilter").exists(),
            tcx: bpf::has_tcx(),
            classifier: ["sch_ingress", "cls_bpf"].map(|name| (name, module(name))),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            pin_dir: root.pin_dir().display().to_string(),
            bpf_fs: bpf_fs(root.pin_dir()),
            jit: kernel::setting("net/core/bpf_jit_enable"),
            jit_harden: kernel::setting("net/core/bpf_jit_harden"),
            unprivileged_bpf_disabled: kernel::setting("kernel/unprivileged_bpf_disabled"),
            state_dir: root.dir().display().to_string(),
            state,
            pins: look(bpf::has_pins(root.pin_dir()).map_err(Error::from)),
            parents,
            interfaces,
            facts,
        }
    }
}

fn probe_ipvlan(netlink: Option<&Netlink>) -> Presence {
    match netlink.map(Netlink::has_ipvlan) {
        Some(Ok(true)) => Presence::Loaded,
        Some(Ok(false)) => Presence::Missing,
        // The kernel lets only a network's administrator ask.
        Some(Err(_)) | None => Presence::Unknown,
    }
}

fn bpf_fs(pin_dir: &Path) -> BpfFs {
    if bpf::on_bpf_fs(pin_dir) {
        BpfFs::Mounted
    } else if !bpf::is_mountable(pin_dir) {
        BpfFs::Elsewhere
    } else if check_pin_dir(pin_dir).is_err() {
        BpfFs::WouldVanish
    } else {
        BpfFs::Mountable
    }
}

/// The store, and the names of the parents in it.
fn look_at_store(root: &Root) -> (Looked, BTreeSet<String>) {
    let mut used = BTreeSet::new();
    let mut read = || {
        let Some(store) = Store::open_existing(&root.store())? else { return Ok(false) };
        used = store.parents()?.into_iter().map(|parent| parent.name.to_string()).collect();
        check_pins(&store, root).map(|_| true)
    };
    (look(read()), used)
}

fn look(result: Result<bool, Error>) -> Looked {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match result {
        Ok(false) => Looked::Absent,
        Ok(true) => Looked::Good,
        Err(Error::Store(StoreError::Open { source, .. }) | Error::Bpf(BpfError::Pin { source, .. }))
            if denied(&source) =>
        {
            Looked::Unreadable
        }
        Err(error) => Looked::Bad { hint: error.hint(), error: error.to_string() },
    }
}

fn interfaces(
    netlink: &Netlink,
    asked: &[String],
    used: &BTreeSet<String>,
) -> Result<Vec<ParentFindings>, Error> {
    let all = netlink.standings()?;
    let find = |name: &str| all.iter().find(|standing| standing.link.name == name);
    let physical = |name: &str| {
        find(name).is_some_and(|it| it.link.kind.is_empty() && !it.link.loopback && it.link.mac.is_some())
    };
    let names: Vec<&str> = if asked.is_empty() {
        let names = all.iter().map(|it| it.link.name.as_str());
        let gone = used.iter().map(String::as_str).filter(|name| find(name).is_none());
        names.filter(|name| used.contains(*name) || physical(name)).chain(gone).collect()
    } else {
        asked.iter().map(String::as_str).collect()
    };
    let gather =
        |name: &&str| ParentFindings::gather(name, find(name), [used.contains(*name), !asked.is_empty()]);
    Ok(names.iter().map(gather).collect())
}

/// What a link below `/sys/class/net` leads to, if that is the interface meant: the directory shows the namespace that it was mounted in.
pub(super) fn sysfs_of(name: &str, index: u32) -> Option<std::path::PathBuf> {
    // The name becomes part of a path.
    let name = IfName::parse(name).ok()?;
    let directory = Path::new("/sys/class/net").join(name.to_string());
    let found = fs::read_to_string(directory.join("ifindex")).ok()?;
    (found.trim().parse() == Ok(index)).then_some(directory)
}
