//! AF_XDP sockets in copy mode: what is in their memory goes straight to the driver, past tc egress.

use std::{
    io,
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::socket::{MsgFlags, send},
};
use xdp::{
    CompletionRing, RingConfigBuilder, TxRing, Umem,
    nic::NicIndex,
    slab::{HeapSlab, Slab as _},
    socket::{SocketError, XdpSocket as Socket, XdpSocketBuilder},
    umem::{FrameSize, UmemCfgBuilder},
};

const FRAMES: u32 = 16;
/// A queue that a socket has left is free again when the kernel gets to it.
const RELEASE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// A socket that sends on one interface, and receives nothing.
pub struct XdpSocket {
    // Dropped before the memory that it sends from.
    socket: Socket,
    transmit: TxRing,
    completed: CompletionRing,
    memory: Umem,
}

impl XdpSocket {
    /// A socket on the first queue of `interface`, in the namespace of the calling thread.
    ///
    /// # Errors
    /// Fails without CAP_NET_RAW, `CONFIG_XDP_SOCKETS` or such an interface.
    pub fn bind_here(interface: &str) -> Result<Self> {
        let deadline = Instant::now() + RELEASE;
        loop {
            match Self::try_bind(interface) {
                Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(PAUSE),
                done => return done,
            }
        }
    }

    fn try_bind(interface: &str) -> Result<Self> {
        let ifindex = if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
        let memory =
            UmemCfgBuilder { frame_size: FrameSize::TwoK, frame_count: FRAMES, ..UmemCfgBuilder::default() };
        let memory = Umem::map(memory.build().map_err(|error| anyhow!("{error}"))?)
            .context("map memory to send from")?;
        let rings =
            RingConfigBuilder { rx_count: 0, tx_count: FRAMES, fill_count: FRAMES, completion_count: FRAMES };
        let mut builder = XdpSocketBuilder::new().context("open an AF_XDP socket")?;
        let (rings, mut flags) = builder
            .build_rings(&memory, rings.build().map_err(|error| anyhow!("{error}"))?)
            .context("make an AF_XDP socket's rings")?;
        flags.force_copy();
        let socket = builder
            .bind(NicIndex(ifindex), 0, flags)
            .with_context(|| format!("bind an AF_XDP socket to {interface}"))?;
        let transmit = rings.tx_ring.context("an AF_XDP socket without a ring to send by")?;
        Ok(Self { socket, transmit, completed: rings.completion_ring, memory })
    }

    /// Sends `frame`.
    ///
    /// # Errors
    /// Fails if the kernel can't send. Frames that the driver drops are sent.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.completed.dequeue(&mut self.memory, FRAMES as usize);
        // SAFETY: the packet goes back to the memory, which outlives it, when the kernel has sent it.
        let mut packet = unsafe { self.memory.alloc() }.context("all memory is being sent from")?;
        packet.insert(0, frame).map_err(|error| anyhow!("a frame of {} bytes: {error}", frame.len()))?;
        let mut packets = HeapSlab::with_capacity(1);
        packets.push_front(packet);
        // SAFETY: the memory is dropped after the socket.
        let queued = unsafe { self.transmit.send(&mut packets) };
        ensure!(queued == 1, "the ring to send by is full");
        match send(self.socket.as_raw_fd(), &[], MsgFlags::MSG_DONTWAIT) {
            // How a drop in the driver is reported.
            Ok(_) | Err(Errno::EBUSY | Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error).context("send a frame by AF_XDP"),
        }
    }
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<SocketError>() {
        Some(SocketError::Bind(error)) => error.kind() == io::ErrorKind::ResourceBusy,
        _ => false,
    })
}
