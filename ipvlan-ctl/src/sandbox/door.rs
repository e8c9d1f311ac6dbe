//! The ways out of an interface that a program with CAP_NET_RAW has.

use anyhow::Result;

use super::{Netns, packet::PacketSocket, xdp::XdpSocket};

/// How a frame leaves its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Through the queueing layer and so past the programs on tc egress.
    Queue,
    /// Straight to the driver, with `PACKET_QDISC_BYPASS`: no tc program on the sending device sees the frame.
    Bypass,
    /// Straight to the driver too, out of an AF_XDP socket's memory: such a frame says of itself not even what protocol it is.
    Xdp,
}

impl Door {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Bypass, Self::Xdp];
}

/// A socket that sends frames as they are.
pub enum Sender {
    /// Of the queue, or past it.
    Packet(PacketSocket),
    /// With memory that the kernel sends from.
    Xdp(Box<XdpSocket>),
}

impl Sender {
    /// A socket that sends on `interface` by `door`.
    ///
    /// # Errors
    /// Fails without CAP_NET_RAW or such an interface.
    pub fn new(netns: &Netns, interface: &str, door: Door) -> Result<Self> {
        netns.enter(|| Self::here(interface, door))
    }

    /// The same in the namespace of the calling thread.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn here(interface: &str, door: Door) -> Result<Self> {
        Ok(match door {
            Door::Queue => Self::Packet(PacketSocket::sender_here(interface)?),
            Door::Bypass => Self::Packet(PacketSocket::bypassing_here(interface)?),
            Door::Xdp => Self::Xdp(Box::new(XdpSocket::bind_here(interface)?)),
        })
    }

    /// Sends `frame`.
    ///
    /// # Errors
    /// Fails if the kernel can't send. Frames that a program or the driver drops are sent.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        match self {
            Self::Packet(socket) => socket.send(frame),
            Self::Xdp(socket) => socket.send(frame),
        }
    }
}
