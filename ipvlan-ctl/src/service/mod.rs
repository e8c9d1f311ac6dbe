//! What the commands do. Every door to the controller leads here.

mod attach;
mod condition;
mod container;
mod endpoint;
mod error;
mod exec;
mod monitor;
mod names;
mod network;
mod parent;
mod plan;
mod preflight;
mod recover;
mod report;
mod root;
mod session;
mod slave;
mod upgrade;

pub use attach::{AttachRequest, Target};
pub use container::ContainerError;
pub use endpoint::{Attachment, EndpointStep};
pub use error::Error;
pub use exec::{Ran, exec, run};
pub use monitor::{Dropped, Monitor, Packet, Seen};
pub use network::{Foundation, NetworkStep};
pub use plan::{Failure, Plan, Step};
pub use preflight::Facts;
pub use report::{EndpointReport, NetworkReport, Report, StatsReport, SubnetReport};
pub use root::Root;
pub use session::Session;
pub use upgrade::Swapped;
