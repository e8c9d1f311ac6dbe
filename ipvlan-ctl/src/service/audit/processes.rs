//! Processes that the programs don't contain: privileged in an endpoint's namespace, and in no user namespace.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path};

/// What lets a process make slaves, add addresses, or take programs off, with the number of its bit.
const POWERS: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN"), (39, "CAP_BPF")];

/// A process with such capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privileged {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Which of them it has.
    pub capabilities: Vec<&'static str>,
}

/// Device and inode, by which a namespace's file is known.
type Identity = (u64, u64);

/// The privileged processes of this machine, by their network namespaces.
pub(super) struct Processes(BTreeMap<Identity, Vec<Privileged>>);

impl Processes {
    /// Looks at all of them once. One that ends meanwhile is none.
    pub(super) fn gather() -> Self {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let own = identity(Path::new("/proc/self/ns/user"));
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let path = entry.path();
            let user = identity(&path.join("ns/user"));
            let (Some(netns), true) = (identity(&path.join("ns/net")), own.is_some() && user == own) else {
                continue;
            };
            let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
            let capabilities = powers(&status);
            if !capabilities.is_empty() {
                let name = field(&status, "Name:").to_owned();
                found.entry(netns).or_default().push(Privileged { pid, name, capabilities });
            }
        }
        found.values_mut().for_each(|processes| processes.sort_by_key(|process| process.pid));
        Self(found)
    }

    /// Those in the namespace at `netns`, by number.
    pub(super) fn inside(&self, netns: &Path) -> &[Privileged] {
        identity(netns).and_then(|netns| self.0.get(&netns)).map_or(&[], Vec::as_slice)
    }
}

fn identity(namespace: &Path) -> Option<Identity> {
    fs::metadata(namespace).ok().map(|file| (file.dev(), file.ino()))
}

/// Which powers the text of a process' `status` gives it.
fn powers(status: &str) -> Vec<&'static str> {
    let effective = u64::from_str_radix(field(status, "CapEff:"), 16).unwrap_or(0);
    POWERS.iter().filter(|(bit, _)| effective & (1 << bit) != 0).map(|(_, name)| *name).collect()
}

fn field<'s>(status: &'s str, name: &str) -> &'s str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_read_off_the_status() {
        let status = |effective| format!("Name:\tsleep\nCapPrm:\tffffffffffffffff\nCapEff:\t{effective}\n");
        assert_eq!(powers(&status("0000000000000000")), Vec::<&str>::new());
        // What containers have by default, CAP_NET_RAW among it.
        assert_eq!(powers(&status("00000000a80425fb")), Vec::<&str>::new());
        assert_eq!(powers(&status("0000000000001000")), ["CAP_NET_ADMIN"]);
        assert_eq!(powers(&status("000001ffffffffff")), ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_BPF"]);
        assert_eq!(field(&status("0"), "Name:"), "sleep");
    }

    #[test]
    fn a_namespace_that_is_gone_has_none() {
        assert_eq!(Processes::gather().inside(Path::new("/proc/0/ns/net")), []);
    }
}
