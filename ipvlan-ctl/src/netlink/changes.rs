//! What the kernel tells of by itself.

use futures_util::{Stream, StreamExt as _};
use rtnetlink::MulticastGroup;

use super::NetlinkError;

/// Yields whenever an interface of the calling thread's namespace changes, or gets an address or loses one; and whenever a slave of one
/// comes or goes, in whichever namespace: the kernel says that its parent has changed (`netdev_upper_dev_unlink`, `rtnetlink_event`,
/// Linux 6.1 and 6.12). To be polled in the runtime that it was made in.
pub fn changes() -> Result<impl Stream<Item = ()> + Send + Unpin, NetlinkError> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, changes) = rtnetlink::new_multicast_connection(&groups)
        .map_err(|source| NetlinkError::new("watch interfaces and addresses", source))?;
    tokio::spawn(connection);
    // The connection ends with its handle.
    Ok(changes.map(move |_change| drop(handle.clone())))
}
