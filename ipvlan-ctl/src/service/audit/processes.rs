//! Processes that the programs don't contain: privileged in an endpoint's namespace, and in no user namespace.

use std::{fs, path::Path};

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

/// The privileged processes in the network namespace at `netns`, by number. One that ends meanwhile is none.
pub(super) fn privileged(netns: &Path) -> Vec<Privileged> {
    let identity = |path: &Path| nix::sys::stat::stat(path).ok().map(|it| (it.st_dev, it.st_ino));
    let (Some(netns), Some(user)) = (identity(netns), identity(Path::new("/proc/self/ns/user"))) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let path = entry.path();
        let is_inside = identity(&path.join("ns/net")) == Some(netns);
        if !is_inside || identity(&path.join("ns/user")) != Some(user) {
            continue;
        }
        let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
        let capabilities = powers(&status);
        if !capabilities.is_empty() {
            found.push(Privileged { pid, name: field(&status, "Name:").to_owned(), capabilities });
        }
    }
    found.sort_by_key(|process| process.pid);
    found
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
        assert_eq!(privileged(Path::new("/proc/0/ns/net")), Vec::new());
    }
}
