//! Endpoints of a network know each other by name, by way of hosts files.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{Attachment, Error, Root};
use crate::{
    hosts::{HostsFiles, entry},
    model::{Endpoint, Flag, State},
};

/// Where `ip netns exec NAME` looks for the files that it mounts over those of /etc.
const NETNS_FILES: &str = "/etc/netns";

/// Where the hosts file of an endpoint is: by the convention of ip-netns(8) where its namespace has a name, else with our state, for
/// `run` and `exec` to mount.
pub(super) fn hosts_path(root: &Root, endpoint: &Endpoint) -> PathBuf {
    endpoint.netns.name().map_or_else(
        || root.hosts_dir().join(endpoint.slot.to_string()),
        |name| PathBuf::from_iter([Path::new(NETNS_FILES), name, Path::new("hosts")]),
    )
}

impl Attachment<'_> {
    /// Writes the hosts files that the endpoint concerns, with or without it. A file that can't be written is a warning: all else
    /// works without names, and an endpoint must be able to go.
    pub(super) fn write_names(&mut self, present: bool) -> Result<(), Error> {
        // An engine names its own.
        if self.endpoint.owner.is_some() {
            return Ok(());
        }
        let networks = self.session.store.networks()?;
        let private = networks.iter().filter(|network| network.spec.flag == Flag::Private);
        let private: Vec<_> = private.map(|network| network.id).collect();
        let mut endpoints = self.session.store.endpoints()?;
        endpoints.retain(|other| {
            other.state == State::Up && other.owner.is_none() && other.slot != self.endpoint.slot
        });
        if present {
            endpoints.push(self.endpoint.clone());
        }
        // Endpoints in one namespace share a file. As strings, since paths are compared part by part.
        let path = |endpoint| hosts_path(&self.session.root, endpoint).into_os_string();
        let own = path(&self.endpoint);
        let mut paths = BTreeMap::from([(own.clone(), Vec::new())]);
        for endpoint in &endpoints {
            paths.entry(path(endpoint)).or_default().push(endpoint);
        }
        let files = HostsFiles::new(self.session.root.dir());
        // Most files say the same.
        let mut texts = BTreeMap::new();
        for (path, members) in paths {
            if path != own && members.iter().all(|member| member.network != self.network.id) {
                continue;
            }
            let (alone, among): (Vec<&Endpoint>, Vec<_>) =
                members.iter().partition(|member| private.contains(&member.network));
            let alone: BTreeSet<_> = alone.iter().map(|member| member.slot).collect();
            let among: BTreeSet<_> = among.iter().map(|member| member.network).collect();
            let text = texts.entry((alone, among)).or_insert_with_key(|(alone, among)| {
                let reached =
                    endpoints.iter().filter(|it| alone.contains(&it.slot) || among.contains(&it.network));
                reached.map(entries).collect::<String>()
            });
            if let Err(error) = files.write(Path::new(&path), text) {
                self.session.warn(error.to_string());
            }
        }
        Ok(())
    }
}

fn entries(endpoint: &Endpoint) -> String {
    let (ipv4, ipv6) = (endpoint.addresses.ipv4, endpoint.addresses.ipv6);
    let addresses = ipv4.map(IpAddr::V4).into_iter().chain(ipv6.map(IpAddr::V6));
    addresses.map(|address| entry(address, endpoint.name.as_str())).collect()
}
