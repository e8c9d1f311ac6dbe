//! A packet socket for ARP, or for IPv6.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, bind, recv, send, socket,
    },
};

/// More than any message of neighbour discovery that answers a probe.
const LARGEST: usize = 1500;

pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket on an interface.
    pub(super) fn open(ifindex: u32, ipv4: bool) -> io::Result<Self> {
        let protocol = if ipv4 { libc::ETH_P_ARP } else { libc::ETH_P_IPV6 };
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &link_address(ifindex, protocol as u16)?)?;
        Ok(Self(socket))
    }

    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
            // The queue is full: as if the wire had lost it.
            Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next frame, if one has come.
    pub(super) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0; LARGEST];
        match recv(self.0.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where a packet socket is bound, or sends to: an interface, and an EtherType or `ETH_P_ALL`.
///
/// # Errors
/// Doesn't, in practice.
pub fn link_address(ifindex: u32, protocol: u16) -> io::Result<LinkAddr> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is to a whole sockaddr_ll with its family set, and nix copies it.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    address.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
