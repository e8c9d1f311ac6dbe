//! What the demo and the suites are made of: the controller's sandbox, what a test needs, and what enforcement leaves behind.

pub mod harness;
pub mod memory;
pub mod plugin;
pub mod snapshot;

pub use ipvlan_ctl::sandbox::{
    self, Door, Endpoint, Maker, Marker, Netns, Network, Ring, Sandbox, Sender, Stats, Watch, door, frame,
    netns, network, offload, packet, ring, stats, watch, xdp,
};
pub use plugin::Plugin;
pub use snapshot::Snapshot;
