//! A packet socket that sends out of memory which it shares with the kernel, `PACKET_TX_RING`: of each frame all behind the Ethernet
//! header stays in that memory while the frame is on its way, and the sender can change it there.

use std::{
    num::NonZeroUsize,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    sys::{
        mman::{MapFlags, ProtFlags, mmap, munmap},
        socket::MsgFlags,
    },
};

use super::{
    Netns,
    packet::{PacketSocket, ethertype},
};

/// Slots of a ring, one frame each.
pub const SLOTS: usize = 64;
const SLOT_LEN: usize = 2048;
const LEN: NonZeroUsize = NonZeroUsize::new(SLOTS * SLOT_LEN).unwrap();
const BLOCK_LEN: usize = 2 * SLOT_LEN;
/// Where a slot has its frame.
const DATA: usize = size_of::<libc::tpacket2_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// A socket that sends on one interface, by way of its queue, and receives nothing.
#[derive(Debug)]
pub struct Ring {
    socket: PacketSocket,
    memory: NonNull<u8>,
    next: usize,
}

impl Ring {
    /// A socket that sends on `interface`.
    ///
    /// # Errors
    /// Fails without CAP_NET_RAW or such an interface.
    pub fn new(netns: &Netns, interface: &str) -> Result<Self> {
        let socket = PacketSocket::sender(netns, interface)?;
        let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
        socket.set_to(libc::SOL_PACKET, libc::PACKET_VERSION, &version).context("set PACKET_VERSION")?;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK_LEN as u32,
            tp_block_nr: (LEN.get() / BLOCK_LEN) as u32,
            tp_frame_size: SLOT_LEN as u32,
            tp_frame_nr: SLOTS as u32,
        };
        socket.set_to(libc::SOL_PACKET, libc::PACKET_TX_RING, &request).context("set PACKET_TX_RING")?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, which lies over no other.
        let memory = unsafe { mmap(None, LEN, protection, MapFlags::MAP_SHARED, &socket.file, 0) };
        Ok(Self { memory: memory.context("map a ring")?.cast(), socket, next: 0 })
    }

    /// Sends `frame` out of the next slot, whose number it returns. Doesn't wait until the frame has left.
    ///
    /// # Errors
    /// Fails if the kernel can't send, or hasn't sent what was in this slot before. Frames that a program or the driver drops are sent.
    pub fn send(&mut self, frame: &[u8]) -> Result<usize> {
        let protocol = ethertype(frame)?;
        let slot = self.next;
        ensure!(self.status(slot).load(Ordering::Acquire) == libc::TP_STATUS_AVAILABLE, "the ring is full");
        self.overwrite(slot, 0, frame)?;
        let header = self.slot(slot).cast::<libc::tpacket2_hdr>();
        // SAFETY: inside the mapping, at the start of a slot.
        let length = unsafe { &raw mut (*header).tp_len };
        // SAFETY: as above; the kernel reads it after the status was set.
        unsafe { length.write(frame.len() as u32) };
        self.status(slot).store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
        self.next = (slot + 1) % SLOTS;
        self.socket.send_bytes(&[], protocol, MsgFlags::MSG_DONTWAIT)?;
        Ok(slot)
    }

    /// Writes `bytes` into the frame in `slot`, sent or not.
    ///
    /// # Errors
    /// Fails where the slot ends before.
    pub fn overwrite(&mut self, slot: usize, offset: usize, bytes: &[u8]) -> Result<()> {
        ensure!(slot < SLOTS && DATA + offset + bytes.len() <= SLOT_LEN, "a slot is too small for that");
        // SAFETY: inside the slot, as was just checked.
        let place = unsafe { self.slot(slot).add(DATA + offset) };
        // SAFETY: as above; no reference points into it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }

    fn slot(&self, slot: usize) -> *mut u8 {
        // SAFETY: callers' slots are below SLOTS, so this is inside the mapping.
        unsafe { self.memory.add(slot * SLOT_LEN) }.as_ptr()
    }

    /// Whose turn it is.
    fn status(&self, slot: usize) -> &AtomicU32 {
        // SAFETY: each slot begins with its status, which is aligned and lives as long as the mapping; the kernel changes it as a whole.
        unsafe { AtomicU32::from_ptr(self.slot(slot).cast()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, which nothing borrows any more.
        let _ignored = unsafe { munmap(self.memory.cast(), LEN.get()) };
    }
}
