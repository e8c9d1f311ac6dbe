//! What can go wrong between us and the kernel's BPF.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError};

/// An error of the data path's set-up. Each names what was being done.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The pin directory isn't on a BPF file system.
    #[error("`{}` is not on a BPF file system; mount one: mount -t bpf bpf /sys/fs/bpf", .0.display())]
    NotBpfFs(PathBuf),
    /// A pin couldn't be made, read or removed.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Pin {
        /// What was being done.
        action: &'static str,
        /// To which pin.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A pinned map isn't what its name says.
    #[error("pinned map `{}` has another layout than this version's; remove it while no network exists", .0.display())]
    Layout(PathBuf),
    /// Something of another version is pinned.
    #[error("`{}` was pinned by an ipvlan-ctl whose maps have another layout than v{known}, the one that this ipvlan-ctl knows", found.display())]
    OtherVersion {
        /// What is there.
        found: PathBuf,
        /// This version's number.
        known: u32,
    },
    /// Nothing is pinned that programs could log to.
    #[cfg(feature = "log")]
    #[error("there is no log: no network exists")]
    NoLog,
    /// aya-log refused the ring buffer.
    #[cfg(feature = "log")]
    #[error("cannot read the log: {0}")]
    Log(#[from] aya_log::Error),
    /// The object or a map was refused.
    #[error("cannot load the programs' maps: {0}")]
    Load(#[from] EbpfError),
    /// A map has no room left.
    #[error("map {map} is full: all of its {entries} entries are taken")]
    Full {
        /// The map's name.
        map: &'static str,
        /// How many it holds.
        entries: u32,
    },
    /// A map operation was refused.
    #[error("map {map}: cannot {action}: {source}")]
    Map {
        /// The map's name.
        map: &'static str,
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: MapError,
    },
    /// A program was refused by the verifier, or its place by the kernel.
    #[error("program {program}: cannot {action}{}: {source}", ifname.as_ref().map_or(String::new(), |it| format!(" on `{it}`")))]
    Program {
        /// The program's name.
        program: &'static str,
        /// What was being done.
        action: &'static str,
        /// The link it was meant for.
        ifname: Option<String>,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The parent takes no XDP program.
    #[error("`{ifname}` takes no XDP program this way: {source}")]
    Xdp {
        /// The parent.
        ifname: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This kernel keeps a socket's netns, or a frame's route, where the programs don't look.
    #[error(
        "cannot find a socket's network namespace or a frame's route in this kernel, so frames that skip the endpoints' programs could not be told from the host's"
    )]
    SocketNetns,
    /// The clsact qdisc couldn't be made or removed.
    #[error("clsact qdisc on `{ifname}`: cannot {action}: {source}")]
    Qdisc {
        /// What was being done.
        action: &'static str,
        /// The link.
        ifname: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// What the kernel says against a program, or against its place on `ifname`.
pub(super) fn refused<E: std::error::Error + Send + Sync + 'static>(
    program: &'static str,
    action: &'static str,
    ifname: Option<&str>,
) -> impl FnOnce(E) -> BpfError {
    let ifname = ifname.map(str::to_owned);
    move |source| BpfError::Program { program, action, ifname, source: Box::new(source) }
}
