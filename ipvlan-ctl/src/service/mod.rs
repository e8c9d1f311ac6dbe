//! What the commands do. Every door to the controller leads here.

mod attach;
mod condition;
pub mod doctor;
mod endpoint;
mod error;
mod exec;
mod made;
mod monitor;
mod network;
mod parent;
mod plan;
mod preflight;
mod reconcile;
mod recover;
mod report;
mod root;
mod session;
mod slave;
mod stats;
mod survey;
mod upgrade;

pub use attach::{AttachRequest, Target};
pub use endpoint::{Attachment, EndpointStep};
pub use error::Error;
pub use exec::{Ran, run};
pub use monitor::{Dropped, Monitor, Packet, Seen};
pub use network::{Foundation, NetworkStep};
pub use plan::{Failure, Plan, Step};
pub use preflight::Facts;
pub use reconcile::{Reconciled, reconcile};
pub use report::{EndpointReport, NetworkReport, Report, SubnetReport};
pub use root::Root;
pub use session::Session;
pub use stats::{Rates, StatsReport};
pub use survey::{Finding, Kind, Outcome};
pub use upgrade::Swapped;
