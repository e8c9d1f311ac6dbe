//! This version's programs for those of an older one, or of a wrong hand, while traffic goes on.

use std::collections::BTreeSet;

use super::{Error, Session};

/// A parent or an endpoint by its name, and what came of it.
pub type Swapped = (String, Result<Vec<Error>, Error>);

impl Session {
    /// Swaps the programs in on every parent and every slave, past errors. Each keeps its slot and its seal, and the kernel replaces
    /// one program at a time, so that the others go on accepting what it seals.
    pub fn upgrade(&mut self) -> Result<Vec<Swapped>, Error> {
        let mut swapped = Vec::new();
        let mut parents = BTreeSet::new();
        for network in self.store.networks()? {
            if parents.insert(network.parent) {
                let name = network.spec.parent.to_string();
                let result = self.foundation(network).and_then(|mut parent| parent.swap_programs());
                swapped.push((name, result.map(|()| Vec::new())));
            }
        }
        for endpoint in self.store.endpoints()? {
            let name = endpoint.name.to_string();
            let result = self.attachment(endpoint).and_then(|mut endpoint| endpoint.attach_programs());
            swapped.push((name, result.map(|()| Vec::new())));
        }
        Ok(swapped)
    }
}
