//! Clears away what a killed command left.

use super::{Error, Session};
use crate::{model::State, netlink::Netns};

impl Session {
    /// Removes every endpoint that isn't complete or whose namespace is gone, and every network that isn't complete.
    /// What can't be removed is a warning: it mustn't keep the user from other work.
    pub(super) fn repair(&mut self) -> Result<(), Error> {
        for endpoint in self.store.endpoints()? {
            if endpoint.state == State::Up && Netns::find(&endpoint.netns).is_some() {
                continue;
            }
            let name = endpoint.name.clone();
            for error in self.tear_down_endpoint(endpoint)? {
                self.warn(format!("clearing away endpoint '{name}': {error}"));
            }
        }
        let endpoints = self.store.endpoints()?;
        for network in self.store.networks()? {
            let used = endpoints.iter().any(|endpoint| endpoint.network == network.id);
            if network.state == State::Up || used {
                continue;
            }
            let name = network.spec.name.clone();
            for error in self.tear_down_network(network)? {
                self.warn(format!("clearing away network '{name}': {error}"));
            }
        }
        Ok(())
    }
}
