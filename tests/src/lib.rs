//! What the demo and the suites are made of: a sandbox of network namespaces, frames, and watchers that say where a
//! frame came out.

pub mod door;
pub mod frame;
pub mod harness;
pub mod netns;
pub mod network;
pub mod packet;
pub mod plugin;
pub mod ring;
pub mod sandbox;
pub mod snapshot;
pub mod stats;
pub mod watch;
pub mod xdp;

pub use door::{Door, Sender};
pub use netns::Netns;
pub use network::Network;
pub use plugin::Plugin;
pub use ring::Ring;
pub use sandbox::{Endpoint, Maker, Sandbox};
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use watch::{Marker, Watch};
