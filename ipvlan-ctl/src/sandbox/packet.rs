//! Packet sockets: frames sent as they are, and frames as a device hands them up.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, recv, sendto, socket},
};

use super::Netns;
use crate::wire::link_address;

/// EtherType of IPv4.
pub const ETH_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETH_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETH_IPV6: u16 = 0x86DD;
/// Not a type but all of them: such a socket listens in front of every program on the device.
const ETH_ALL: u16 = libc::ETH_P_ALL as u16;

/// A raw socket bound to one interface.
#[derive(Debug)]
pub struct PacketSocket {
    pub(crate) file: OwnedFd,
    ifindex: u32,
}

impl PacketSocket {
    /// A socket that sends on `interface`, by way of its queue, and receives nothing.
    ///
    /// # Errors
    /// Fails without CAP_NET_RAW or such an interface.
    pub fn sender(netns: &Netns, interface: &str) -> Result<Self> {
        netns.enter(|| Self::sender_here(interface))
    }

    /// The same in the namespace of the calling thread.
    ///
    /// # Errors
    /// As for [`Self::sender`].
    pub fn sender_here(interface: &str) -> Result<Self> {
        Self::bound(interface, 0)
    }

    /// The same past the queue and tc egress, in the namespace of the calling thread.
    ///
    /// # Errors
    /// Fails without CAP_NET_RAW or such an interface.
    pub fn bypassing_here(interface: &str) -> Result<Self> {
        let socket = Self::sender_here(interface)?;
        socket.set(libc::PACKET_QDISC_BYPASS).context("set PACKET_QDISC_BYPASS")?;
        Ok(socket)
    }

    /// A socket that receives what comes in on `interface` before any program sees it.
    ///
    /// # Errors
    /// Fails without CAP_NET_RAW or such an interface.
    pub fn wiretap(netns: &Netns, interface: &str) -> Result<Self> {
        let socket = netns.enter(|| Self::bound(interface, ETH_ALL))?;
        // Since 4.20.
        socket.set(libc::PACKET_IGNORE_OUTGOING).context("set PACKET_IGNORE_OUTGOING")?;
        Ok(socket)
    }

    /// A socket that receives the frames of one EtherType which tc ingress on `interface` has let in.
    ///
    /// The kernel serves the taps of one protocol after tc ingress and the rx handler, next to the protocol's own
    /// input function: what this sees is what the stack gets.
    ///
    /// # Errors
    /// Fails without CAP_NET_RAW or such an interface.
    pub fn accepted(netns: &Netns, interface: &str, ethertype: u16) -> Result<Self> {
        netns.enter(|| Self::bound(interface, ethertype))
    }

    /// From here on receives only frames with `prefix` where the payload of UDP over IPv4 without options begins, so that no other
    /// traffic fills the socket's buffer.
    ///
    /// # Errors
    /// Fails if the kernel refuses the filter.
    pub fn only(&self, prefix: [u8; 4]) -> Result<()> {
        const PAYLOAD: u32 = 14 + 20 + 8;
        let op = |code: u32, jf, k| libc::sock_filter { code: code as u16, jt: 0, jf, k };
        let mut filter = [
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, PAYLOAD),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, u32::from_be_bytes(prefix)),
            op(libc::BPF_RET | libc::BPF_K, 0, u32::MAX),
            op(libc::BPF_RET | libc::BPF_K, 0, 0),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        self.set_to(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program).context("attach a filter")
    }

    /// Sends `frame`, with its own EtherType as the packet's protocol.
    ///
    /// # Errors
    /// Fails if the kernel can't send. Frames that a program or the driver drops are sent.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.send_as(frame, ethertype(frame)?)
    }

    /// Sends `frame` with `protocol` as the packet's protocol, by which ipvlan finds the receiver.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub fn send_as(&self, frame: &[u8], protocol: u16) -> Result<()> {
        let sent = self.send_bytes(frame, protocol, MsgFlags::empty())?;
        ensure!(sent.is_none_or(|sent| sent == frame.len()), "sent {sent:?} of {} bytes", frame.len());
        Ok(())
    }

    /// How much the kernel says to have sent; `None` where the frame was dropped.
    pub(crate) fn send_bytes(&self, bytes: &[u8], protocol: u16, flags: MsgFlags) -> Result<Option<usize>> {
        // In the address, not left to the kernel: ipvlan devices of older kernels can't read it off the frame.
        let address = link_address(self.ifindex, protocol)?;
        match sendto(self.file.as_raw_fd(), bytes, &address, flags) {
            Ok(sent) => Ok(Some(sent)),
            // How a drop in the driver or in tc is reported, and by ipvlan that the host has no route in modes l3 and l3s.
            Err(Errno::ENOBUFS | Errno::ENETUNREACH | Errno::EHOSTUNREACH) => Ok(None),
            Err(error) => Err(error).context("send a frame"),
        }
    }

    /// The next frame that has arrived, if any.
    ///
    /// # Errors
    /// Fails if the socket has an error, e.g. because its interface is gone.
    pub fn receive(&self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; 65_536];
        match recv(self.file.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            // The interface was set down; the queue may still hold frames.
            Err(Errno::EAGAIN | Errno::ENETDOWN) => Ok(None),
            Err(error) => Err(error).context("receive a frame"),
        }
    }

    fn bound(interface: &str, protocol: u16) -> Result<Self> {
        let ifindex = if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
            .context("open a packet socket")?;
        bind(socket.as_raw_fd(), &link_address(ifindex, protocol)?)
            .with_context(|| format!("bind a packet socket to {interface}"))?;
        Ok(Self { file: socket, ifindex })
    }

    fn set(&self, option: libc::c_int) -> Result<()> {
        let on: libc::c_int = 1;
        self.set_to(libc::SOL_PACKET, option, &on)
    }

    pub(crate) fn set_to<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> Result<()> {
        // SAFETY: the pointer and the length describe `value`, which outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.file.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast(),
                size_of_val(value) as libc::socklen_t,
            )
        };
        Errno::result(result)?;
        Ok(())
    }
}

/// The EtherType that a frame gives.
pub(crate) fn ethertype(frame: &[u8]) -> Result<u16> {
    let [.., high, low] = frame.first_chunk::<14>().context("a frame without an Ethernet header")?;
    Ok(u16::from_be_bytes([*high, *low]))
}
