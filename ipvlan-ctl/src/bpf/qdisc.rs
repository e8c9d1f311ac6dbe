//! The clsact qdisc that classifiers hang on where the kernel has no TCX.

use std::io;

use aya::programs::{
    TcAttachType,
    tc::{self, TcError, TcHandle as FilterHandle},
};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{libc, net::if_::if_nametoindex};

use super::{
    BpfError,
    support::{has_tcx, name},
};

/// Whether a clsact qdisc has to be made first; false on kernels with TCX, which need none.
pub fn lacks_clsact(ifname: &str) -> Result<bool, BpfError> {
    let Ok(index) = if_nametoindex(ifname) else {
        return Ok(false);
    };
    if has_tcx() {
        return Ok(false);
    }
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = TcHandle::CLSACT;
    // Without echo, the kernel tells everybody but the one who asked.
    let first = exchange(RouteNetlinkMessage::GetQueueDiscipline(message), NLM_F_ECHO | NLM_F_ACK)
        .map_err(failed("look for it", ifname))?;
    Ok(!matches!(first, NetlinkPayload::InnerMessage(_)))
}

/// Makes the qdisc; one that is there is fine.
pub(super) fn ensure_clsact(ifname: &str) -> Result<(), BpfError> {
    match tc::qdisc_add_clsact(&name(ifname)) {
        Ok(()) => Ok(()),
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(error) => Err(failed("add it", ifname)(io::Error::other(error))),
    }
}

/// Removes the qdisc where no classifier hangs on it any more; returns whether it is gone. No such link is fine.
pub fn remove_unused_clsact(ifname: &str) -> Result<bool, BpfError> {
    let Ok(index) = if_nametoindex(ifname) else {
        return Ok(true);
    };
    if has_filters(ifname)? {
        return Ok(false);
    }
    let mut message = TcMessage::with_index(i32::try_from(index).unwrap_or_default());
    message.header.parent = TcHandle::CLSACT;
    message.attributes.push(TcAttribute::Kind("clsact".into()));
    match request(RouteNetlinkMessage::DelQueueDiscipline(message)) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) => {
            Err(failed("remove it", ifname)(error))
        }
        _ => Ok(true),
    }
}

/// Whether anything hangs on the link's clsact qdisc.
fn has_filters(ifname: &str) -> Result<bool, BpfError> {
    let Ok(index) = if_nametoindex(ifname) else {
        return Ok(false);
    };
    for side in [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS] {
        let mut message = TcMessage::with_index(i32::try_from(index).unwrap_or_default());
        message.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor: side };
        let first = exchange(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP)
            .map_err(failed("look at its filters", ifname))?;
        if matches!(first, NetlinkPayload::InnerMessage(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a classifier hangs on one side of the interface with number `ifindex`.
pub(super) fn has_filter(
    ifindex: u32,
    side: TcAttachType,
    priority: u16,
    handle: FilterHandle,
) -> Result<bool, BpfError> {
    let minor = if side == TcAttachType::Egress { TcHandle::MIN_EGRESS } else { TcHandle::MIN_INGRESS };
    let mut message = TcMessage::with_index(ifindex.cast_signed());
    message.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor };
    message.header.handle = u32::from(handle).into();
    message.header.info = u32::from(priority) << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    let first = exchange(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_ACK)
        .map_err(failed("look at its filters", &format!("number {ifindex}")))?;
    Ok(matches!(first, NetlinkPayload::InnerMessage(_)))
}

fn request(message: RouteNetlinkMessage) -> io::Result<()> {
    match exchange(message, NLM_F_ACK)? {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}

/// One request and the first message of its answer, in the calling thread's netns and without an async runtime.
fn exchange(message: RouteNetlinkMessage, flags: u16) -> io::Result<NetlinkPayload<RouteNetlinkMessage>> {
    let mut packet = NetlinkMessage::from(message);
    packet.header.flags = NLM_F_REQUEST | flags;
    packet.finalize();
    let mut buffer = vec![0; packet.buffer_len()];
    packet.serialize(&mut buffer);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.send_to(&buffer, &SocketAddr::new(0, 0), 0)?;
    let (reply, _) = socket.recv_from_full()?;
    let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply)
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(reply.payload)
}

fn failed(action: &'static str, ifname: &str) -> impl FnOnce(io::Error) -> BpfError {
    let ifname = ifname.to_owned();
    move |source| BpfError::Qdisc { action, ifname, source }
}
