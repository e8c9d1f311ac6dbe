//! Links, addresses and routes of one network namespace, over a blocking rtnetlink socket.

mod addr;
mod changes;
mod link;
mod neighbour;
mod netns;
mod route;
mod slaves;
mod standing;

use std::{future::Future, io};

pub use changes::changes;
pub use link::{Link, NewSlave};
pub use netns::{Netns, NetnsError};
use rtnetlink::packet_core::ErrorMessage;
pub use slaves::SlaveStanding;
pub use standing::Standing;
use tokio::runtime::Runtime;

/// The kernel refused a request.
#[derive(Debug, thiserror::Error)]
#[error("can't {action}: {source}")]
pub struct NetlinkError {
    /// What was to be done.
    pub action: String,
    /// Why it wasn't.
    pub source: io::Error,
}

impl NetlinkError {
    fn new(action: impl Into<String>, source: io::Error) -> Self {
        Self { action: action.into(), source }
    }

    /// Whether the kernel refused with this errno.
    #[must_use]
    pub fn is(&self, errno: nix::errno::Errno) -> bool {
        self.source.raw_os_error() == Some(errno as i32)
    }
}

/// A socket bound to the namespace that it was opened in, wherever it is used from.
#[derive(Debug)]
pub struct Netlink {
    runtime: Runtime,
    handle: rtnetlink::Handle,
}

impl Netlink {
    /// A socket in the calling thread's namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        let open = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            let guard = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection()?;
            runtime.spawn(connection);
            drop(guard);
            Ok(Self { runtime, handle })
        };
        open().map_err(|source| NetlinkError::new("open a netlink socket", source))
    }

    /// A socket in `netns`.
    pub fn open_in(netns: &Netns) -> Result<Self, NetlinkError> {
        netns.run(Self::open).map_err(|error| {
            NetlinkError::new(format!("enter {}", netns.path().display()), io::Error::other(error))
        })?
    }

    fn request<T>(
        &self,
        action: impl FnOnce() -> String,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, NetlinkError> {
        self.runtime.block_on(request).map_err(|error| NetlinkError::new(action(), io_error(error)))
    }
}

fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => ErrorMessage::to_io(&message),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_why() {
        let error = NetlinkError::new("create it", io::Error::from_raw_os_error(17));
        assert!(error.is(nix::errno::Errno::EEXIST));
        assert_eq!(error.to_string(), "can't create it: File exists (os error 17)");
    }
}
