//! Clears away what a killed command left.

use tracing::debug;

use super::{Error, Session};
use crate::{
    model::{Name, State},
    netlink::Netns,
    store::Glance,
};

impl Session {
    /// Removes every endpoint that isn't complete, whose namespace is gone, or that its engine has given back, and every network that
    /// isn't complete. What can't be removed is a warning: it mustn't keep the user from other work.
    pub(super) fn repair(&mut self) -> Result<(), Error> {
        let parents = self.store.parents()?;
        let glances = self.store.glances()?;
        let up = glances.iter().filter(|glance| glance.state == State::Up);
        let alive = Netns::alive(&up.map(|glance| &glance.netns).collect::<Vec<_>>())?;
        for Glance { slot, state, is_owned, netns } in glances {
            let lives = alive.contains(&netns.cookie);
            // Only an engine gives a slave back, on the host.
            if state == State::Up && lives && !is_owned {
                continue;
            }
            let Some(endpoint) = self.store.endpoint_at(slot)? else { continue };
            let remains = match state {
                State::Up => lives && !self.is_on_host(&endpoint, &parents)?,
                State::Offered => self.settle_endpoint(&endpoint, &parents)?,
                State::Creating | State::Closing => false,
            };
            if remains {
                continue;
            }
            let name = endpoint.name.clone();
            let left = self.tear_down_endpoint(endpoint);
            self.note_repair("endpoint", name, left);
        }
        for network in self.store.networks()? {
            if network.state == State::Up || self.store.has_endpoints(network.id)? {
                continue;
            }
            let name = network.spec.name.clone();
            let left = self.tear_down_network(network);
            self.note_repair("network", name, left);
        }
        Ok(())
    }

    fn note_repair(&mut self, what: &str, name: Name, left: Result<Vec<Error>, Error>) {
        let left = left.unwrap_or_else(|error| vec![error]);
        debug!(what, %name, left = left.len(), "repair: clear away");
        for error in &left {
            self.warn(format!("clearing away {what} '{name}': {error}"));
        }
        if left.is_empty() {
            self.note_cleared(name);
        }
    }
}
