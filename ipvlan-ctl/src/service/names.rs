//! Endpoints of a network know each other by name, by way of hosts files.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{Attachment, Error, Root, Session};
use crate::{
    hosts::{HostsError, HostsFile, entry},
    model::{Endpoint, Flag, Network, State},
};

/// Where `ip netns exec NAME` looks for the files that it mounts over those of /etc.
const NETNS_FILES: &str = "/etc/netns";

/// The hosts file of an endpoint: by the convention of ip-netns(8) where its namespace has a name, else one of our own, which
/// `run` and `exec` mount.
pub(super) fn hosts_file(root: &Root, endpoint: &Endpoint) -> HostsFile {
    let path = endpoint.netns.name().map_or_else(
        || root.hosts_dir().join(endpoint.slot.to_string()),
        |name| PathBuf::from_iter([Path::new(NETNS_FILES), name, Path::new("hosts")]),
    );
    HostsFile::new(path, root.dir())
}

impl Attachment<'_> {
    /// Writes the endpoint into the hosts files of its network, and its own. Without names the network still works, so that a file
    /// that can't be written is a warning.
    pub(super) fn add_names(&mut self) -> Result<(), Error> {
        let failed = self.session.write_names(&self.network, &self.endpoint, true)?;
        failed.iter().for_each(|error| self.session.warn(error.to_string()));
        Ok(())
    }

    /// Takes the endpoint out of the hosts files of its network, and its own away.
    pub(super) fn remove_names(&mut self) -> Result<(), Error> {
        let failed = self.session.write_names(&self.network, &self.endpoint, false)?;
        let own = hosts_file(&self.session.root, &self.endpoint);
        for error in failed {
            if error.path == own.path() {
                return Err(error.into());
            }
            self.session.warn(error.to_string());
        }
        Ok(())
    }
}

impl Session {
    /// Writes every hosts file that `endpoint` concerns, with or without it; returns what couldn't be written.
    fn write_names(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        present: bool,
    ) -> Result<Vec<HostsError>, Error> {
        let networks = self.store.networks()?;
        let mut endpoints = self.store.endpoints()?;
        endpoints.retain(|other| other.state == State::Up && other.slot != endpoint.slot);
        if present {
            endpoints.push(endpoint.clone());
        }
        let file = |endpoint: &Endpoint| hosts_file(&self.root, endpoint);
        let mut files = vec![file(endpoint)];
        for other in endpoints.iter().filter(|other| other.network == network.id).map(file) {
            if !files.contains(&other) {
                files.push(other);
            }
        }
        let failed = files.iter().filter_map(|file| {
            let members = endpoints.iter().filter(|member| hosts_file(&self.root, member) == *file);
            file.write(&entries(members, &endpoints, &networks)).err()
        });
        Ok(failed.collect())
    }
}

/// What `members`, who share a hosts file, call each other and those in their networks.
fn entries<'e>(
    members: impl Iterator<Item = &'e Endpoint>,
    endpoints: &'e [Endpoint],
    networks: &[Network],
) -> Vec<String> {
    let is_private = |id| networks.iter().any(|it| it.id == id && it.spec.flag == Flag::Private);
    let members: Vec<_> = members.collect();
    let reaches = |member: &Endpoint, other: &Endpoint| {
        member.slot == other.slot || member.network == other.network && !is_private(member.network)
    };
    let known = endpoints.iter().filter(|other| members.iter().any(|member| reaches(member, other)));
    known
        .flat_map(|endpoint| {
            let (ipv4, ipv6) = (endpoint.addresses.ipv4, endpoint.addresses.ipv6);
            let addresses = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6));
            addresses.map(|address| entry(address, endpoint.name.as_str()))
        })
        .collect()
}
