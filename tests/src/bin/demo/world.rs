//! The sandbox that both halves of the demo act in.

use anyhow::Result;
use ipvlan_tests::{Endpoint, Maker, Network, Sandbox, sandbox::INTERFACE};

/// An ordinary network.
pub(crate) const WEB: Network = Network::bridge("web_net", 1);
/// A second one on the same parent.
pub(crate) const DB: Network = Network::bridge("db_net", 2);
/// A network without a way to the wire.
pub(crate) const VAULT: Network = Network::bridge("vault_net", 3).internal();
/// A network whose endpoints are kept from each other.
pub(crate) const LAB: Network = Network::bridge("lab_net", 4).private();

/// What the demo builds, for people.
pub(crate) const PICTURE: &str = "\
                     LAN host and gateway (.1)
                                │ wire
                       eth0, the parent (.2)
        ┌───────────────┬───────┴───────┬────────────────┐
     web_net         db_net         vault_net         lab_net
  192.168.1.0/24  192.168.2.0/24  192.168.3.0/24  192.168.4.0/24
    fd00:1::/64     fd00:2::/64     fd00:3::/64     fd00:4::/64
     (bridge)        (bridge)       (internal)       (private)
     web  .11         db  .11        vault .11       lab1 .11
     api  .12                                        lab2 .12";

/// A host with one parent, four networks and six endpoints.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) web: Endpoint,
    pub(crate) api: Endpoint,
    pub(crate) db: Endpoint,
    pub(crate) vault: Endpoint,
    pub(crate) lab1: Endpoint,
    pub(crate) lab2: Endpoint,
}

impl World {
    /// Makes the networks and their endpoints in `sandbox`.
    pub(crate) fn build(sandbox: Sandbox) -> Result<Self> {
        for network in [&WEB, &DB, &VAULT, &LAB] {
            sandbox.network(network)?;
        }
        Ok(Self {
            web: sandbox.endpoint(&WEB, "web", 11)?,
            api: sandbox.endpoint(&WEB, "api", 12)?,
            db: sandbox.endpoint(&DB, "db", 11)?,
            vault: sandbox.endpoint(&VAULT, "vault", 11)?,
            lab1: sandbox.endpoint(&LAB, "lab1", 11)?,
            lab2: sandbox.endpoint(&LAB, "lab2", 12)?,
            sandbox,
        })
    }

    /// Gives stock ipvlan the flag that `network` asks for. The kernel keeps one per parent, so the last network made
    /// decides for all of them; without this the comparison would be unfair to stock.
    pub(crate) fn prepare(&self, network: &Network) -> Result<()> {
        if self.sandbox.maker() == Maker::Stock {
            let flag = network.flag;
            self.web.netns.ip(&format!("link set {INTERFACE} type ipvlan mode l2 {flag}"))?;
        }
        Ok(())
    }
}
