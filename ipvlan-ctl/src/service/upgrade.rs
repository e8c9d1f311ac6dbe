//! This version's programs for those of an older one, or of a wrong hand, while traffic goes on.

use std::collections::BTreeSet;

use super::{Error, Session, progress};

/// What came of the programs on one parent, with those that it has on `lo`, or on one endpoint's slave.
#[derive(Debug)]
pub struct Swapped {
    /// The name of the parent interface or of the endpoint.
    pub name: String,
    /// `parent` or `endpoint`.
    pub kind: &'static str,
    /// Why they weren't swapped, if they weren't.
    pub result: Result<(), Error>,
}

impl Session {
    /// Swaps the programs in on every parent and every slave, past errors. Each keeps its slot and its key, and the kernel
    /// replaces one program at a time, so that the others go on accepting what it seals.
    ///
    /// # Errors
    /// Where there is nothing that could be swapped, since the shared maps can't be used.
    pub fn upgrade(&mut self) -> Result<Vec<Swapped>, Error> {
        let networks = self.store.networks()?;
        if !networks.is_empty() {
            self.dataplane()?;
        }
        let mut swapped = Vec::new();
        let mut parents = BTreeSet::new();
        let networks: Vec<_> = networks.into_iter().filter(|it| parents.insert(it.parent)).collect();
        let endpoints = self.store.endpoints()?;
        let total = networks.len() + endpoints.len();
        for network in networks {
            let name = network.parent_name.to_string();
            progress::note("swap", swapped.len(), total, format!("parent {name}"));
            let result = self.foundation(network).and_then(|mut parent| parent.attach_programs());
            swapped.push(Swapped { name, kind: "parent", result });
        }
        for endpoint in endpoints {
            let name = endpoint.name.to_string();
            progress::note("swap", swapped.len(), total, format!("endpoint {name}"));
            let result = self.attachment(endpoint).and_then(|mut endpoint| endpoint.attach_programs());
            swapped.push(Swapped { name, kind: "endpoint", result });
        }
        Ok(swapped)
    }
}
